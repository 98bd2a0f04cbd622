"""What a snapshot of the started function should hold (Lambda SnapStart): all that is imported late elsewhere.

Code alone. Nothing is asked, opened or drawn here, so that environments restored from one snapshot share no key, no
credential, no connection and no random state: keys and clients are made at the first request of each.
"""

import importlib
from typing import Final

LATE: Final = (
    "argon2.exceptions",
    "argon2.low_level",
    "base64",
    "botocore.config",
    "botocore.credentials",
    "botocore.exceptions",
    "botocore.session",
    "botocore.utils",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "difflib",
    "html",
    "idna",
    "ipaddress",
    "ssl",
)
"""Late everywhere else, since a start without a snapshot pays for every one of them."""


def import_late_modules() -> None:
    """Import it, before the snapshot is taken."""
    for module in LATE:
        importlib.import_module(module)
