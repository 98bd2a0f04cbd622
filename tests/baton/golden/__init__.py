"""Golden values: what leaves the program, recorded to the byte, so that moving code changes none of it."""

import tools  # noqa: F401 - puts clients/python on the path, which pytest has from pyproject.toml
