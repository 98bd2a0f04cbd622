"""``tools.operate provider-key apple FILE``: set the private key with which this deployment proves itself to Apple."""

import secrets
import time
from pathlib import Path

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.federation.apple_key import FILE_BYTES_MAX, NoKey, keep_key, read_key_file, stored_key
from chalicelib.baton.federation.ports import ProviderTokens
from chalicelib.baton.federation.providers import Providers
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import NONCE_BYTES
from chalicelib.baton.lineages.assurance import APPLE_CODE


class SetProviderKey(Struct, frozen=True, kw_only=True):
    """Store the private key for Apple from a file, encrypted with the key ring. No output contains the private key."""

    key_ring: KeyRing
    tokens: ProviderTokens
    providers: Providers

    def __call__(self, file: str) -> str:
        """Store the key, and return the line to print.

        Raises ``NotFound`` if no provider is Apple, or if the file has no private key for Apple.
        """
        row = next((one for one in self.providers.by_name.values() if one.code == APPLE_CODE), None)
        if row is None:
            raise errors.NotFound("chalicelib/providers.toml has no provider of kind apple")
        try:
            with Path(file).open("rb") as opened:
                private = read_key_file(opened.read(FILE_BYTES_MAX + 1))
        except OSError as error:
            raise errors.NotFound(f"{file} cannot be read: {type(error).__name__}") from None
        except NoKey as wrong:
            raise errors.NotFound(f"{file}: {wrong}") from None
        ring = self.key_ring.current(now=int(time.time()))
        keep_key(self.tokens, row.key_id, private, ring=ring, nonce=secrets.token_bytes(NONCE_BYTES))
        return (
            f"ok: the key {row.key_id} of team {row.team_id} is stored, encrypted; the next login with Apple uses it. "
            f"next: delete {file}"
        )


def key_problem(tokens: ProviderTokens, key_ring: KeyRing, key_id: str, *, now: int) -> str:
    """Return why the stored Apple key cannot be used, or an empty text. ``key_id``: the id in ``providers.toml``."""
    try:
        key = stored_key(tokens, ring=key_ring.current(now=now))
    except NoKey as missing:
        return str(missing)
    return "" if key.kid == key_id else f"the stored key is {key.kid}, and providers.toml names {key_id}"
