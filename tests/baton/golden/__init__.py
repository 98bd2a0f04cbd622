"""Golden values: the output of the program, recorded byte for byte. Moving code must not change them."""

import tools  # noqa: F401 - puts clients/python on the path, which pytest has from pyproject.toml
