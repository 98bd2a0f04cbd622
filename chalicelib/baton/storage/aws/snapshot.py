"""Import the lazily imported modules before Lambda SnapStart takes its snapshot.

Only modules are imported. Environments that are restored from one snapshot must not share a key, a credential, a
connection or a random state. Each environment makes them at its first request.
"""

import importlib
from typing import Final

LATE: Final = (
    "argon2.exceptions",
    "argon2.low_level",
    "base64",
    "bcrypt",
    "botocore.config",
    "botocore.credentials",
    "botocore.exceptions",
    "botocore.session",
    "botocore.utils",
    "chalicelib.baton.accounts.migration",
    "chalicelib.baton.accounts.operate",
    "chalicelib.baton.assembly",
    "chalicelib.baton.attestation.anchors",
    "chalicelib.baton.attestation.app_attest",
    "chalicelib.baton.attestation.judge",
    "chalicelib.baton.attestation.key_attestation",
    "chalicelib.baton.attestation.revocations",
    "chalicelib.baton.background",
    "chalicelib.baton.browser.cookies",
    "chalicelib.baton.browser.pages",
    "chalicelib.baton.browser.sessions",
    "chalicelib.baton.browser_assembly",
    "chalicelib.baton.factors.credentials",
    "chalicelib.baton.factors.hashes.argon2_hash",
    "chalicelib.baton.factors.hashes.bcrypt_hash",
    "chalicelib.baton.factors.hashes.firebase_hash",
    "chalicelib.baton.factors.hashes.kinds",
    "chalicelib.baton.factors.hashes.pbkdf2_hash",
    "chalicelib.baton.factors.hashes.scrypt_hash",
    "chalicelib.baton.federation.apple",
    "chalicelib.baton.federation.apple_tokens",
    "chalicelib.baton.federation.providers",
    "chalicelib.baton.http.arguments",
    "chalicelib.baton.keys.daily",
    "chalicelib.baton.keys.strict_json",
    "chalicelib.baton.mail.notices",
    "chalicelib.baton.mail.suppression",
    "chalicelib.baton.storage.aws.cognito",
    "chalicelib.baton.storage.dynamodb.identities",
    "chalicelib.baton.storage.dynamodb.provider_tokens",
    "chalicelib.baton.storage.dynamodb.waiting_tokens",
    "chalicelib.baton.storage.fetch",
    "chalicelib.baton.tokens.narrow",
    "cryptography.exceptions",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "cryptography.hazmat.primitives.ciphers",
    "cryptography.hazmat.primitives.serialization",
    "cryptography.hazmat.primitives.twofactor.totp",
    "difflib",
    "html",
    "http.client",
    "idna",
    "ipaddress",
    "ssl",
    "threading",
    "webauthn.authentication.verify_authentication_response",
    "webauthn.helpers",
    "webauthn.helpers.exceptions",
    "webauthn.helpers.structs",
    "webauthn.registration.verify_registration_response",
)
"""Other modules import these lazily, because each of them would slow a start without a snapshot."""


def import_late_modules() -> None:
    """Import the modules of ``LATE``, before the snapshot is taken."""
    for module in LATE:
        importlib.import_module(module)
