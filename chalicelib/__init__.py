"""Baton: a login backend for mobile apps, on AWS Chalice and DynamoDB."""

# The content of baton/VERSION. It is a constant here, because reading a file slows the cold start. A test compares
# this constant with the file.
__version__ = "0.1.0-dev"

import sys

# On Python before 3.13, the package for passkeys needs typing_extensions. If msgspec finds typing_extensions, msgspec
# imports it at every cold start. These lines hide typing_extensions while msgspec is imported, so msgspec uses
# ``typing`` instead.
if "typing_extensions" not in sys.modules:
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]
    import msgspec  # noqa: F401

    del sys.modules["typing_extensions"]
