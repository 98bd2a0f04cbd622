"""Baton: a login backend for mobile apps, on AWS Chalice and DynamoDB."""

# The content of baton/VERSION: a constant, because reading a file slows the cold start. A test compares the two.
__version__ = "0.1.0-dev"

import sys

# On Python before 3.13, the package for passkeys needs typing_extensions. msgspec would import it too, if it finds it,
# at every cold start. Here it does not find it, and uses ``typing``, as it does without that package.
if "typing_extensions" not in sys.modules:
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]
    import msgspec  # noqa: F401

    del sys.modules["typing_extensions"]
