"""Check the strength of new passwords (NIST SP 800-63B-4 section 3.1.1.2). No I/O, except for the block list.

Baton checks three rules, in this order. There are no composition rules, such as "at least one digit".

1. **Length**: at least 15 characters (code points), both as typed and in the normal form (NFKC). Where every client
   requires a second factor, 8 are enough.
2. **Block list** (``block_list.py``): the whole password is not a password that attackers try first.
3. **Context** (``context_words.py``): the whole password is not made from the address or the name of the service.

The rules compare the password as a whole. A longer password may contain a common word: NIST forbids the comparison of
parts. An earlier version of Baton counted common words, and refused good passphrases ("acrobat on a violet unicycle").
A fourth rule is in ``breach.py``, because it needs the network.
"""

from chalicelib.baton import policy
from chalicelib.baton.factors.block_list import is_blocked
from chalicelib.baton.factors.context_words import is_made_of, words_of
from chalicelib.baton.factors.normal_form import nfkc
from chalicelib.baton.factors.refusals import ContainsContext, TooCommon, TooShort


def check_strength(
    password: str, *, email: str, product: str = "", characters_min: int = policy.PASSWORD_CHARACTERS_MIN
) -> None:
    """Refuse a weak password.

    - ``password``: as typed. ``normalise`` has accepted it, so it has at most 1,024 bytes.
    - ``email``: a canonical address.
    - ``product``: the name of the service in the client registry.
    - ``characters_min``: the least length, in code points.

    Raises:
        TooShort: the password as typed, or its normal form, has fewer than ``characters_min`` characters.
        TooCommon: the block list refuses the password.
        ContainsContext: the whole password is made from the address or the name of the service.

    """
    normal = nfkc(password)
    if min(len(password), len(normal)) < characters_min:
        raise TooShort(characters_min=characters_min)
    folded = normal.casefold()
    if is_blocked(folded) or (normal != password and is_blocked(password.casefold())):
        raise TooCommon
    if is_made_of(folded, words_of(email, product=product)):
        raise ContainsContext
