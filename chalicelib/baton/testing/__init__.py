"""The test kit for teams. The Lambda zip does not contain this folder, and the deployed modules do not import it."""

import pytest

# pytest shows the values of a failed assertion only in modules that are registered before their first import.
pytest.register_assert_rewrite("chalicelib.baton.testing.contract")
