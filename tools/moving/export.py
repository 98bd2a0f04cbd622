"""Export every account with its password hash. All data is encrypted in the format of ``age`` before it is written."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import msgspec

from chalicelib.baton import errors
from chalicelib.baton.federation.providers import Providers
from chalicelib.baton.keys.ring import CannotDecrypt, Ring
from chalicelib.baton.lineages.model import Status
from tools.moving.identities import member_of
from tools.moving.line import Line, PasswordMember, TotpMember
from tools.moving.scan import Stored


class BadRecipient(ValueError):
    """A recipient is not a public key of the encryption tool ``age``."""


def line_of(stored: Stored, ring: Ring, providers: Providers) -> Line:
    """Return an account as a line of the export. Raises ``Unavailable`` if a stored secret does not decrypt."""
    user = stored.user
    totp = user.factors.totp if user.factors.on else None
    try:
        return Line(
            v=1,
            source_id=user.account,
            email=user.email or None,
            email_verified=user.verified_at is not None,
            password=None
            if user.password_hash is None
            else PasswordMember(ring.decrypt_for(user.password_hash, account=user.account).decode()),
            created_at=user.created_at,
            disabled=stored.account_state.status is Status.DISABLED,
            totp=None
            if totp is None
            else TotpMember(
                base64.b32encode(ring.decrypt_for(totp.sealed, account=user.account, kind="totp")).decode().rstrip("=")
            ),
            identities=[
                member_of(code, stored.identities[linked.index], providers, ring)
                for code, linked in user.identities.items()
                if linked.index in stored.identities  # a missing identity was unlinked since the read
            ],
            migrate=user.migrate and user.password_hash is None,
        )
    except CannotDecrypt:
        raise errors.Unavailable(f"a stored secret of account {user.account} does not decrypt") from None


def written(line: Line) -> bytes:
    """Return a line as the bytes for the file. Members that are null, false or empty are left out."""
    named = msgspec.to_builtins(line).items()
    members = {name: value for name, value in named if value is not False and value not in (None, [], "")}
    return msgspec.json.encode(members) + b"\n"


class _Stream(io.RawIOBase):
    """The lines as a file object, which the encryption library ``pyrage`` reads."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines, self._rest = lines, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type] # any buffer
        while not self._rest:
            line = next(self._lines, None)
            if line is None:
                return 0
            self._rest = line
        taken = self._rest[: len(view)]
        view[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)


def recipients_of(words: list[str]) -> list[object]:
    """Parse public keys of the program ``age``. Raises ``BadRecipient`` if a word is not a public key."""
    import pyrage  # type: ignore[import-untyped] # noqa: PLC0415 - a tool of operators

    try:
        return [pyrage.x25519.Recipient.from_str(word) for word in words]
    except pyrage.RecipientError:
        raise BadRecipient("a recipient is a public key of age, such as age1…: `age-keygen` makes one") from None


class Exported(msgspec.Struct):
    """How many accounts an export has written so far."""

    count: int = 0


def export(file: Path, recipients: list[object], lines: Iterator[Line], exported: Exported) -> None:
    """Write the lines, encrypted, to a new file. If this fails, delete the new file.

    Raises ``FileExistsError`` if ``file`` exists: the existing file stays unchanged.
    """
    import pyrage  # noqa: PLC0415 - a tool of operators

    def counted() -> Iterator[bytes]:
        for line in lines:
            yield written(line)
            exported.count += 1

    with file.open("xb") as out:
        file.chmod(0o600)
        try:
            pyrage.encrypt_io(_Stream(counted()), out, recipients)
        except BaseException:
            file.unlink()
            raise
