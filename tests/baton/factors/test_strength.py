"""New passwords: the passwords that attackers try first are refused, and good passphrases never are."""

import functools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.baton import policy
from chalicelib.baton.factors import block_list, context_words
from chalicelib.baton.factors.normal_form import nfkc, normalise
from chalicelib.baton.factors.refusals import ContainsContext, TooCommon, TooShort, WeakPassword
from chalicelib.baton.factors.strength import check_strength
from tests.vectors import load

EMAIL = "ada.lovelace@analytical.example"
ROSE = "rose.fields@river.io"
JAPANESE = "\u732b\u306f\u6bce\u65e5\u5e8a\u3067\u9577\u304f\u7720\u308b\u304b\u3082\u3057\u308c\u306d"
"""Fifteen characters. The text means: a cat that sleeps in bed all day."""
LIGATURE = "\ufdfa"
"""One character that becomes eighteen in NFKC."""
WORDS = " ".join(load("eff_large_wordlist")["rows"]).split()
BAD = {
    "adalovelace2026!!!!": ContainsContext,
    "passwordpassword": TooCommon,
    "aaaaaaaaaaaaaaaa": TooCommon,
    "111222333444555": TooCommon,
    "1234567890123456": TooCommon,
    "qwertyuiopasdfgh": TooCommon,
    "1qaz2wsx3edc4rfv": TooCommon,
    "abcabcabcabcabcabc": TooCommon,
    "zyxwvutsrqponmlkj": TooCommon,
    "correct horse battery staple": TooCommon,
    "CorrectHorseBatteryStaple": TooCommon,
    "may-the-force-be-with-you": TooCommon,
    "sunshine sunshine": TooCommon,
    "P@ssw0rdP@ssw0rd": TooCommon,
    LIGATURE: TooShort,
    "ada.lovelace@analytical.example": ContainsContext,
    "Lovelace-Analytical": ContainsContext,
    "B4T0N-b4t0n-b4t0n-1999": ContainsContext,
}
"""Bad passwords of ``EMAIL``, each with the error of the rules that need no network."""
LEFT_TO_THE_BREACH_CHECK = ("monkey dragon football", "Password123456789!")
"""Two more bad passwords: common words in a row, and a word with a usual addition."""


def test_a_good_passphrase_of_common_words_is_accepted() -> None:
    """An earlier estimator gave no value to common words, and refused this passphrase."""
    check_strength("acrobat on a violet unicycle", email=EMAIL)


def test_the_name_of_a_person_inside_a_word_is_no_context() -> None:
    """The local part ``rose`` is inside the word "prose". Only the whole password is compared."""
    check_strength("prose about volcanic umbrellas", email=ROSE)
    check_strength("prose about volcanic umbrellas", email="rose@example.com")


def test_the_length_counts_what_the_person_typed() -> None:
    """One typed character that NFKC makes eighteen counts as one character."""
    assert len(nfkc(LIGATURE)) == 18
    with pytest.raises(TooShort):
        check_strength(LIGATURE, email=EMAIL)


def test_the_length_counts_what_is_left_of_it() -> None:
    """If NFKC composes fifteen typed characters to fewer, the fewer characters count."""
    decomposed = "cafe\u0301 au lait n"
    assert (len(decomposed), len(nfkc(decomposed))) == (15, 14)
    with pytest.raises(TooShort):
        check_strength(decomposed, email=EMAIL)
    check_strength(decomposed + "n", email=EMAIL)


def test_a_listed_number_is_too_common() -> None:
    """An earlier list did not have this number, and treated repeated digits as hard to guess."""
    with pytest.raises(TooCommon):
        check_strength("111222333444555", email=EMAIL)


@pytest.mark.parametrize("email", [EMAIL, ROSE])
def test_no_random_passphrase_is_refused(email: str) -> None:
    """The test draws 10,000 passphrases of three to six words from EFF's list."""
    assert len(set(WORDS)) == 7776
    drawn = random.Random(20261129)
    passphrases = [
        drawn.choice((" ", "-", "")).join(drawn.choice(WORDS) for _ in range(drawn.randint(3, 6)))
        for _ in range(10_000)
    ]
    refused = []
    for passphrase in passphrases:
        try:
            check_strength(passphrase, email=email)
        except WeakPassword as refusal:
            if len(passphrase) >= policy.PASSWORD_CHARACTERS_MIN:
                refused.append((passphrase, refusal))
    assert refused == []


@pytest.mark.parametrize("password", BAD, ids=ascii)
def test_a_bad_password_is_refused(password: str) -> None:
    """Eighteen of the twenty bad passwords are refused, each for the right reason."""
    with pytest.raises(BAD[password]):
        check_strength(password, email=EMAIL)


@pytest.mark.parametrize("password", LEFT_TO_THE_BREACH_CHECK)
def test_the_whole_password_is_compared_and_no_part_of_it(password: str) -> None:
    """These are the other two of the twenty. Only the breach check refuses them (test_breach.py)."""
    assert len(BAD) + len(LEFT_TO_THE_BREACH_CHECK) == 20
    check_strength(password, email=EMAIL)


@pytest.mark.parametrize(
    "password",
    [
        "velvet anchor piano tundra",
        "831947502938475",
        "ja8dh2lskdj3kfm",
        "%^&~;:<>[]{}=?*",
        "my dog barks at night",
        JAPANESE,
        "Xk9 " * 4 + "and then something else",
        "aaaaaaaaaaaaaaa but then some words follow",
        "x" * 40 + "q7#mK2!v",
        "the baton is handed over",
        "AdaLovelace was velvet tundra",
    ],
)
def test_an_honest_password_passes(password: str) -> None:
    """There are no rules of composition: any fifteen unpredictable characters are accepted."""
    check_strength(password, email=EMAIL)


class TestLength:
    """The minimum length, in code points."""

    def test_fifteen_characters_at_least(self) -> None:
        """Characters are counted, not bytes."""
        honest = "velvet anchor pi"
        check_strength(honest[:15], email=EMAIL)
        with pytest.raises(TooShort):
            check_strength(honest[:14], email=EMAIL)
        check_strength(JAPANESE, email=EMAIL)
        with pytest.raises(TooShort):
            check_strength(JAPANESE[:14], email=EMAIL)

    def test_the_least_length_is_given(self) -> None:
        """The length depends on the deployment. The other rules are the same."""
        check_strength("vel7#pi!", email=EMAIL, characters_min=8)
        for password, refusal in {"vel7#pi": TooShort, "password": TooCommon, "ada12345": ContainsContext}.items():
            with pytest.raises(refusal):
                check_strength(password, email=EMAIL, characters_min=8)

    def test_the_reason_has_the_number(self) -> None:
        """An app can say how many characters are needed."""
        with pytest.raises(TooShort) as refusal:
            check_strength("short", email=EMAIL)
        assert refusal.value.members == {"characters_min": policy.PASSWORD_CHARACTERS_MIN}
        with pytest.raises(TooShort) as refusal:
            check_strength("short", email=EMAIL, characters_min=8)
        assert refusal.value.members == {"characters_min": 8}


class TestBlockList:
    """The passwords that attackers try first."""

    @pytest.mark.parametrize(
        "password", ["thisismypassword", "This Is My Password", "manchester_united", "to be, or not to be"]
    )
    def test_a_listed_password_is_too_common(self, password: str) -> None:
        """The password is refused in any case, with or without its separators."""
        with pytest.raises(TooCommon):
            check_strength(password, email=EMAIL)

    def test_an_entry_is_compared_as_it_is_too(self) -> None:
        """Some entries of the list contain separators."""
        assert "friend of emily" in block_list._listed()
        with pytest.raises(TooCommon):
            check_strength("Friend of Emily", email=EMAIL)

    @pytest.mark.parametrize(
        "password",
        [
            "!!!!!!!!!!!!!!!",
            "---------------",
            "               ",
            "x9x9x9x9x9x9x9x9",
            "k3#k3#k3#k3#k3#k3#",
            "k3#" * 100,
            "k3#k3#k3#k3#k3#k",
            "sunshinesunshinesun",
            "abcdefghijkl" * 85,
        ],
    )
    def test_a_repetition_of_little_is_too_common(self, password: str) -> None:
        """The unit is listed, short, or a sequence. The last repetition may be incomplete."""
        with pytest.raises(TooCommon):
            check_strength(password, email=EMAIL)

    def test_a_long_unit_may_be_repeated(self) -> None:
        """A long unit is strong by its own length."""
        check_strength("k3#vQ9!z k3#vQ9!z", email=EMAIL)
        with pytest.raises(TooCommon):
            check_strength("k3#vQ9! k3#vQ9!", email=EMAIL)

    def test_fewer_than_five_different_characters_are_too_common(self) -> None:
        """The typed characters are compared too, because NFKC can make one character a whole sentence."""
        check_strength("acbdeecadbbcade", email=EMAIL)
        for password in ("acbdaacadbbcada", "Acb-daac Adbb_cada", LIGATURE * 15):
            with pytest.raises(TooCommon):
                check_strength(password, email=EMAIL)

    @pytest.mark.parametrize(
        "password",
        [
            "987654321098765",
            "abcdefghijklmnop",
            "lkjhgfdsapoiuytrewq",
            "1q2w3e4r5t6y7u8i",
            "!@#$%^&*()!@#$%",
            "aabbccddeeffgghh",
            "qwertyuiop-asdfgh",
        ],
    )
    def test_two_runs_are_too_common(self, password: str) -> None:
        """A run follows the alphabet or a keyboard, in either direction, and may repeat a character."""
        with pytest.raises(TooCommon):
            check_strength(password, email=EMAIL)

    def test_three_runs_are_left_to_the_breach_check(self) -> None:
        """The rule refuses at most two runs."""
        check_strength("qwerty56789zxcvb", email=EMAIL)

    def test_the_list_has_the_entries_of_its_sources(self) -> None:
        """It has 16,293 entries of Django and zxcvbn, and the phrases. All are folded and have at least 8 characters.

        No entry is a comment.
        """
        listed = block_list._listed()
        assert len(listed) > 16_293
        assert all(len(entry) >= block_list.LISTED_CHARACTERS_MIN and entry == entry.casefold() for entry in listed)
        assert not any(entry.startswith("# ") or "licence" in entry for entry in listed)
        assert {"password", "trustno1", "correcthorsebatterystaple"} <= listed


class TestContext:
    """Passwords that are made from facts about the person."""

    @pytest.mark.parametrize(
        "password",
        [
            "2026!!!!AdaLovelace",
            "ada.lovelace ada.lovelace",
            "analytical.example",
            "ANALYTICAL123456789",
            "lovelacelovelace",
            "lovelace analytical",
            "@d@l0v31@c3.......!",
            "ada-lovelac3-1987",
            "adalovelase12345",
            "123456789012345ada",
            "baton-baton-baton-1",
        ],
    )
    def test_a_password_made_of_the_address_is_refused(self, password: str) -> None:
        """The whole password is an address part, or has it between digits and punctuation.

        Look-alikes and up to two edits are found too.
        """
        with pytest.raises(ContainsContext):
            check_strength(password, email=EMAIL)

    def test_more_than_two_edits_are_enough(self) -> None:
        """A short word is refused only if the password equals it."""
        check_strength("adXlXvelXce 12345", email=EMAIL)
        check_strength("rosa123456781234", email="rose@example.com")

    def test_every_part_of_an_address_is_context(self) -> None:
        """Each part of the local part and of the domain counts as a word."""
        for password in ("Brzeczyszczykiewicz1!", "chrzaszczyzewoszyce1!"):
            with pytest.raises(ContainsContext):
                check_strength(password, email="g.brzeczyszczykiewicz@chrzaszczyzewoszyce.example")

    def test_short_parts_of_an_address_are_no_context(self) -> None:
        """With a short part, the other characters decide the strength."""
        check_strength("li831947502938475", email="li@io.example")

    def test_an_a_label_is_read(self) -> None:
        """People type the Unicode form of their domain, so this form is compared too."""
        with pytest.raises(ContainsContext):
            check_strength("1234567 B\u00fccherregal 89", email="ada@xn--bcherregal-9db.example")


@given(text=st.text("ab", max_size=24))
def test_the_period_is_the_shortest_unit(text: str) -> None:
    """The result is compared with that of a simple implementation of the definition."""
    units = (length for length in range(1, len(text) // 2 + 1) if (text[:length] * len(text))[: len(text)] == text)
    assert block_list._period(text) == next(units, None)


@given(text=st.text("abc", max_size=12), word=st.text("abc", min_size=8, max_size=12))
def test_two_edits_are_two_edits(text: str, word: str) -> None:
    """The result is compared with that of a simple implementation of Levenshtein's definition."""

    @functools.cache
    def distance(here: int, there: int) -> int:
        if not (here and there):
            return here + there
        replaced = distance(here - 1, there - 1) + (text[here - 1] != word[there - 1])
        return min(replaced, distance(here - 1, there) + 1, distance(here, there - 1) + 1)

    assert context_words._is_near(text, word) == (distance(len(text), len(word)) <= 2)


@pytest.mark.parametrize("password", [LIGATURE * 341, "a" * 1024, "ab" * 512, "\u0300\u0316" * 256])
def test_a_hostile_password_is_judged(password: str) -> None:
    """The test has the longest texts that a password can become: 6,138 characters."""
    assert len(normalise(password)) > 0
    with pytest.raises(TooCommon):
        check_strength(password, email=EMAIL)


def test_a_password_made_from_the_name_of_the_product_is_refused() -> None:
    """The name is in the client registry, and every attacker of the service can find it."""
    check_strength("Lantern Harbour!", email=EMAIL)
    with pytest.raises(ContainsContext):
        check_strength("Lantern Harbour!", email=EMAIL, product="Lantern Harbour")
