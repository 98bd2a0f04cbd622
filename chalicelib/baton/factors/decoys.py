"""Decoys: the hashes against which Baton checks a password if no hash is stored for the address. No I/O.

After an import, many accounts have hashes of other systems until their owners log in. The check of such a hash does not
take the same time as the check of Baton's hash. If Baton used its own hash for every unknown address, the time would
reveal which addresses have accounts. So the setting ``BATON_DECOYS`` gives unknown addresses the same mixture of
hashes. Example: ``bcrypt12=41/60,fbscrypt=3/5`` means that 41 percent of the accounts have bcrypt of cost 12 now, and
60 percent had it after the import.

1. A point from 0 to 100 derives from the account id, which derives from the address. So an address always has the same
point.
2. Each kind of hash has a range of points. In the example, the range of bcrypt12 begins at 0, and the range of fbscrypt
begins at 60. These numbers come from the shares after the import. The length of a range is the present share of its
kind.
3. An address whose point is in no range gets Baton's own hash.

When a present share falls, its range becomes shorter, but begins at the same point. So an address can leave a range,
but never enters another range. To a client that measures the time repeatedly, such an address looks like a person who
has logged in since the import.
"""

import math
import re

from msgspec import Struct

from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.base64url import decode_base64url

_PERCENT = r"([0-9]{1,3}(?:\.[0-9]{1,2})?)"
_ROW = re.compile(rf"([a-z0-9-]{{1,64}})={_PERCENT}(?:/{_PERCENT})?")
_POINT_BYTES = 6
_WHOLE = 100.0


class DecoyProblem(ValueError):
    """The setting ``BATON_DECOYS`` is invalid."""


class Range(Struct, frozen=True):
    """The points of a kind of hash: from ``begin`` to ``begin`` + ``share``.

    ``share``: the percentage of accounts that have this kind now. ``first``: the percentage after the import.
    ``decoy``: a hash of this kind.
    """

    name: str
    begin: float
    share: float
    first: float
    decoy: str


class Decoys(Struct, frozen=True):
    """The decoys of a deployment."""

    ranges: tuple[Range, ...] = ()

    def of(self, account: AccountId) -> str | None:
        """Return the decoy for an account id. ``None``: the decoy is a hash of Baton's own kind."""
        if not self.ranges:
            return None
        # The first byte of an id is the version of its root secret. The rest is an HMAC.
        point = int.from_bytes(decode_base64url(account)[1 : 1 + _POINT_BYTES]) / 256**_POINT_BYTES * _WHOLE
        return next((one.decoy for one in self.ranges if one.begin <= point < one.begin + one.share), None)


def read_decoys(words: tuple[str, ...]) -> Decoys:
    """Read the rows of ``BATON_DECOYS``.

    Raises ``DecoyProblem`` if a row is invalid, if two rows have the same kind, or if the shares after the import
    exceed 100 percent in all.
    """
    if not words:
        return Decoys()
    from chalicelib.baton.factors.hashes.kinds import decoy_of  # noqa: PLC0415 - cold start: only with this setting

    ranges: list[Range] = []
    begin = 0.0
    for word in words:
        match = _ROW.fullmatch(word)
        if match is None:
            message = f"{word!r} is not kind=percent or kind=percent/percent after the import"
            raise DecoyProblem(message)
        name, share = match[1], float(match[2])
        first = float(match[3]) if match[3] else share
        if share > first:
            message = f"{word!r}: the percent now is more than the percent after the import"
            raise DecoyProblem(message)
        if name in {one.name for one in ranges}:
            message = f"{name!r} is listed twice"
            raise DecoyProblem(message)
        try:
            decoy = decoy_of(name)
        except ValueError as wrong:
            message = f"{name!r}: {wrong}"
            raise DecoyProblem(message) from None
        ranges.append(Range(name, begin, share, first, decoy))
        begin += first
    if begin > _WHOLE:
        message = "the percents after the import are more than 100 in all"
        raise DecoyProblem(message)
    return Decoys(tuple(ranges))


def write_decoys(now: dict[str, float], before: Decoys) -> str:
    """Return the new ``BATON_DECOYS``. ``now``: kind of hash -> share in percent. ``before``: the old setting.

    A row is ``kind=present share/share after the import``. The rules for the two numbers:

    - The second number is the second number in ``before`` or the present share, whichever is larger.
    - A kind that no account has any more keeps its row, with 0 as the first number. So the other ranges do not move.
    - If the second numbers exceed 100 in all, each becomes the present share. The row of a kind that no account has is
      then removed.
    """
    shares = {name: part for name, share in sorted(now.items()) if (part := math.floor(share * 100) / 100)}
    firsts = {one.name: one.first for one in before.ranges}
    rows = {
        name: (shares.get(name, 0.0), max(firsts.get(name, 0.0), shares.get(name, 0.0))) for name in (*firsts, *shares)
    }
    if sum(first for _, first in rows.values()) > _WHOLE:
        rows = {name: (share, share) for name, share in shares.items()}
    return ",".join(f"{name}={share:.4g}/{first:.4g}" for name, (share, first) in rows.items())
