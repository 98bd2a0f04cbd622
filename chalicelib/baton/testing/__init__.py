"""The test kit for teams. ``make package`` leaves this folder out of the zip, and nothing else of Baton imports it."""

import pytest

# pytest shows the values of a failed assertion only in modules that are registered before their first import.
pytest.register_assert_rewrite("chalicelib.baton.testing.contract")
