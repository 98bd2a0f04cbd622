"""The breach check: whether a password leaked from another service (NIST SP 800-63B-4 section 3.1.1.2).

Baton queries Pwned Passwords with k-anonymity: Baton sends the first 5 hexadecimal characters of the password's SHA-1.
The answer has a row for each leaked password whose SHA-1 begins with these 5 characters. A row has the other characters
of the SHA-1, and how often the password leaked. The service adds rows with the count 0 as padding. So the service
learns only 20 bits of the SHA-1, and the size of the answer reveals nothing to a listener.

One deadline applies to the whole check. If there is no usable answer in time, the password is accepted: another
service's failure must not stop a registration. The event ``breach_check_unavailable`` counts such failures.
"""

import hashlib
import re

from msgspec import Struct

from chalicelib.baton.events.ports import Log
from chalicelib.baton.factors.ports import Fetch, NotFetched
from chalicelib.baton.factors.refusals import Breached
from chalicelib.baton.policy import BREACH_ANSWER_BYTES_MAX, BREACH_CHECK_MAX_S

PWNED_PASSWORDS = "https://api.pwnedpasswords.com"

_PREFIX_CHARACTERS = 5
_HEADERS = {"Add-Padding": "true", "Accept": "text/plain", "User-Agent": "Baton"}
"""The service refuses a request without a user agent."""

_ANSWER = re.compile(rb"(?:[0-9A-Fa-f]{35}:[0-9]{1,12}(?:\r?\n|\Z))+")


class BreachCheck(Struct, frozen=True, kw_only=True):
    """Refuse passwords that leaked. If the service gives no usable answer in time, accept the password."""

    fetch: Fetch
    log: Log
    url: str = PWNED_PASSWORDS

    def __call__(self, secret: bytes) -> None:
        """Check a normalised password. Raises ``Breached``."""
        digest = hashlib.sha1(secret, usedforsecurity=False).hexdigest().upper()
        prefix, suffix = digest[:_PREFIX_CHARACTERS], digest[_PREFIX_CHARACTERS:]
        answer = self.fetch(
            f"{self.url}/range/{prefix}",
            headers=_HEADERS,
            within_s=BREACH_CHECK_MAX_S,
            bytes_max=BREACH_ANSWER_BYTES_MAX,
        )
        listed = None if isinstance(answer, NotFetched) else is_listed(answer, suffix)
        if listed:
            raise Breached
        if listed is None:
            reason = answer.reason if isinstance(answer, NotFetched) else "not an answer of this service"
            self.log.record("breach_check_unavailable", reason=reason)


def is_listed(answer: bytes, suffix: str) -> bool | None:
    """Check whether an answer lists the suffix of a SHA-1 with a count above 0.

    ``None``: the answer does not have the format of Pwned Passwords.
    """
    if not _ANSWER.fullmatch(answer):
        return None
    rows = re.findall(rb"^%s:([0-9]+)" % suffix.encode(), answer, re.IGNORECASE | re.MULTILINE)
    return any(int(count) > 0 for count in rows)
