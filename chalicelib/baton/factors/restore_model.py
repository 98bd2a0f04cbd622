"""A restore key, with which the owner of a phone is logged in on the next phone. No I/O.

A restore key is a WebAuthn credential, but Baton never treats it as a passkey. The platform copies the restore key to
the new phone. For each device key, Baton stores at most one restore key. The restore key works only while the login
that made it is live, so Baton need not delete the restore key when that login ends. A later login with the same device
key needs a new restore key.
"""

from collections.abc import Collection, Mapping

from msgspec import Struct


class RestoreKey(Struct, frozen=True):
    """A restore key. ``public_key`` is a COSE key, which is not secret. ``made_at`` is in seconds."""

    credential_id: bytes
    public_key: bytes
    made_at: int


def without_login(restore: Mapping[str, RestoreKey], devices: Collection[str | None]) -> tuple[str, ...]:
    """Return the key ids of the devices that have a restore key, but no live or ended login in the account state.

    ``restore`` has each restore key under the key id of its device. ``devices`` are the key ids of all logins in the
    account state, also of ended logins.
    """
    return tuple(sorted(restore.keys() - set(devices)))
