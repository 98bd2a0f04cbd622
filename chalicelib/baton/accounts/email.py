"""The canonical form of e-mail addresses. No I/O.

Accounts are found by the canonical form, so every version of Python must make the same form. The form depends only on
Unicode 3.2.0 (``factors.normal_form``). A domain with newer characters must be sent as A-labels (``xn--...``).
"""

import re

from chalicelib.baton.accounts.refusals import InvalidEmail
from chalicelib.baton.factors.normal_form import category, nfkc
from chalicelib.baton.policy import EMAIL_BYTES_MAX

_RAW_BYTES_MAX = 4 * EMAIL_BYTES_MAX
"""The maximum length of an address as it is sent, before it is made canonical, in bytes.

Baton checks this limit before it computes the canonical form. The canonical form of a longer address is nearly always
too long too. Exceptions: an address with blanks at its ends, and a domain with long runs of combining characters.
"""
_LOCAL_BYTES_MAX = 64
_LABEL_BYTES_MAX = 63
_LOCAL_ASCII = frozenset("abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~")
_LABEL_ASCII = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""The letters and marks with the property Default_Ignorable_Code_Point (UAX 44). They are invisible."""
_IN_DOMAINS_BESIDES = frozenset("\u3002\u00b7\u0375\u05f3\u05f4\u30fb\u200c\u200d")
"""The characters outside ASCII that a domain may have besides letters, marks and numbers.

They are the ideographic full stop, and characters that are valid only in some contexts (RFC 5892 appendix A). The
library ``idna`` checks the context.
"""


def canonical_email(email: str) -> str:
    """Return the canonical form of an address: NFKC, trimmed, lower case, the domain as A-labels.

    Raises ``InvalidEmail`` if one of these conditions is false:

    - The canonical form is a dot-atom, ``@`` and a domain of at least two labels.
    - It has at most 254 bytes of UTF-8.
    - Each character outside ASCII is a visible letter, mark or number. An invisible character would make a second
      address that looks the same. The domain may also have the characters ``_IN_DOMAINS_BESIDES``.

    Source: RFC 5321 4.1.2, RFC 6531 3.3. For domains: UTS 46 (nontransitional), RFC 5891.
    """
    if len(email.encode(errors="surrogatepass")) > _RAW_BYTES_MAX:
        raise _invalid("too long to be normalised", _TOO_LONG)
    local, _, domain = nfkc(email).strip().partition("@")
    # ``lower`` uses the Unicode version of this Python. So first refuse characters that Unicode 3.2.0 does not have:
    # ``lower`` could turn such a character into a character that Unicode 3.2.0 has.
    if not all(character.isascii() or _is_letter(character) for character in local):
        raise _invalid("local part", _LOCAL)
    # NFKC again: lower-casing can result in a form that NFKC changes, and the canonical form must be stable.
    local, domain = nfkc(local.lower()), _canonical_domain(domain)
    if not _is_local(local):
        raise _invalid("local part", _LOCAL)
    if not _is_domain(domain):
        raise _invalid("domain", _DOMAIN)
    canonical = f"{local}@{domain}"
    if len(canonical.encode()) > EMAIL_BYTES_MAX:
        raise _invalid("over 254 bytes", _TOO_LONG)
    return canonical


_TOO_LONG = f"The e-mail address has more than {EMAIL_BYTES_MAX} bytes. Use a shorter one."
_LOCAL = (
    f"The part before `@` of the e-mail address must have 1 to {_LOCAL_BYTES_MAX} bytes: letters, digits and "
    "`!#$%&'*+-/=?^_{|}~`, with single dots between them. Correct it."
)
_DOMAIN = (
    "The domain of the e-mail address must have at least two labels of letters, digits and hyphens, with single dots "
    "between them. Correct it."
)
_INTERNATIONALISED_DOMAIN = (
    "The domain of the e-mail address is not a valid internationalised domain name (UTS 46). Correct it, or send its "
    "A-label form (`xn--...`)."
)


def _invalid(reason: str, detail: str) -> InvalidEmail:
    return InvalidEmail(reason, pointer="/email", detail=detail)


def _canonical_domain(domain: str) -> str:
    """Map a domain by UTS 46 and return its labels as A-labels. An ASCII label is only lower-cased.

    In a domain outside ASCII, UTS 46 maps the case. ``str.lower`` has two lower-case forms of a capital sigma, so it is
    not used for such a domain.
    """
    if domain.isascii():
        return domain.lower()
    import idna  # noqa: PLC0415 - cold start, and few addresses need it

    if not all(character.isascii() or _may_stand_in_a_domain(character) for character in domain):
        raise _invalid("a character of no domain", _INTERNATIONALISED_DOMAIN)
    try:
        labels = idna.uts46_remap(domain).split(".")
        return ".".join(label if label.isascii() else idna.alabel(label).decode() for label in labels)
    except idna.IDNAError:
        raise _invalid("not an internationalised domain", _INTERNATIONALISED_DOMAIN) from None


def _is_local(local: str) -> bool:
    return 0 < len(local.encode(errors="surrogatepass")) <= _LOCAL_BYTES_MAX and all(
        atom and all(character in _LOCAL_ASCII or _is_letter(character) for character in atom)
        for atom in local.split(".")
    )


def _is_domain(domain: str) -> bool:
    labels = domain.split(".")
    return len(labels) > 1 and not labels[-1].isdecimal() and all(_is_label(label) for label in labels)


def _is_label(label: str) -> bool:
    return (
        0 < len(label) <= _LABEL_BYTES_MAX
        and not (label.startswith("-") or label.endswith("-"))
        and _LABEL_ASCII.issuperset(label)
    )


def _is_letter(character: str) -> bool:
    return not character.isascii() and category(character)[0] in "LMN" and not _INVISIBLE.match(character)


def _may_stand_in_a_domain(character: str) -> bool:
    return character in _IN_DOMAINS_BESIDES or _is_letter(character)
