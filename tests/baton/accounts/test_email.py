"""The canonical form of e-mail addresses."""

import unicodedata

import pytest

from chalicelib.baton.accounts import email
from chalicelib.baton.accounts.email import canonical_email
from chalicelib.baton.accounts.refusals import InvalidEmail


@pytest.mark.parametrize(
    ("sent", "canonical"),
    [
        ("alice@example.com", "alice@example.com"),
        ("  Alice.Smith@EXAMPLE.com\t", "alice.smith@example.com"),
        ("\N{FULLWIDTH LATIN SMALL LETTER A}lice@example.com", "alice@example.com"),
        ("alice@ex\N{LATIN SMALL LIGATURE FI}.com", "alice@exfi.com"),
        ("\N{NO-BREAK SPACE}alice@example.com\N{IDEOGRAPHIC SPACE}", "alice@example.com"),
        ("a+tag!#$%&'*/=?^_`{|}~-@example.com", "a+tag!#$%&'*/=?^_`{|}~-@example.com"),
        ("J\u00dcRGEN@B\u00dcCHER.example", "j\u00fcrgen@xn--bcher-kva.example"),
        ("ju\u0308rgen@example.com", "j\u00fcrgen@example.com"),
        ("1@2.example", "1@2.example"),
        ("alice@xn--bcher-kva.example", "alice@xn--bcher-kva.example"),
    ],
)
def test_spellings_of_one_address_have_one_canonical_form(sent: str, canonical: str) -> None:
    """The form is NFKC, trimmed and completely in lower case."""
    assert canonical_email(sent) == canonical


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "alice",
        "@example.com",
        "alice@",
        "alice@localhost",
        "alice@example..com",
        "alice@.example.com",
        "alice@example.com.",
        ".alice@example.com",
        "alice.@example.com",
        "al..ice@example.com",
        "al ice@example.com",
        "alice@exa mple.com",
        "alice@bob@example.com",
        '"alice"@example.com',
        "alice@[192.0.2.1]",
        "alice@192.0.2.1",
        "alice@-example.com",
        "alice@example-.com",
        "alice@exa_mple.com",
        "alice\0@example.com",
        "alice\r\n@example.com",
        "alice\N{ZERO WIDTH SPACE}@example.com",
        "alice@example\N{SOFT HYPHEN}.com",
        "alice\N{RIGHT-TO-LEFT OVERRIDE}@example.com",
        "alice\ud800@example.com",
        "alice@example.\udfff",
        "alice\N{PARTY POPPER}@example.com",
        "Alice <alice@example.com>",
        "a" * 65 + "@example.com",
        "alice@" + "a" * 64 + ".com",
    ],
)
def test_an_invalid_address_is_refused(sent: str) -> None:
    """The address is canonicalised first and then validated."""
    with pytest.raises(InvalidEmail):
        canonical_email(sent)


@pytest.mark.parametrize("later", ["\u1e9e", "\u1c90", "\ua7cb"])
def test_a_capital_that_is_later_than_unicode_3_2_is_refused(later: str) -> None:
    """Bug: `lower` turned it into a letter of 3.2 in a Python that has it, so the form depended on the version."""
    with pytest.raises(InvalidEmail):
        canonical_email(f"al{later}ce@example.com")


def test_an_address_has_at_most_254_bytes() -> None:
    """The limit counts the bytes of the canonical form."""
    local, label = "a" * 64, "b" * 63
    domain = f"{label}.{label}.{'c' * 57}.com"
    longest = f"{local}@{domain}"
    assert len(longest) == 254
    assert canonical_email(longest) == longest
    with pytest.raises(InvalidEmail):
        canonical_email(f"{local}@{domain}m")
    with pytest.raises(InvalidEmail):
        canonical_email("alice@" + ".".join(["\u00e9" * 50] * 5) + ".com")
    wide = longest.translate({ord("b"): "\N{MATHEMATICAL BOLD SMALL B}"})
    assert canonical_email(wide) == longest


def test_the_canonical_form_does_not_change_when_canonicalised_again() -> None:
    """The test has every Unicode character that the canonical form changes, and every combining mark."""
    changing = (
        character
        for character in map(chr, range(0x110000))
        if unicodedata.normalize("NFKC", character).lower() != character or unicodedata.combining(character)
    )
    for character in changing:
        for sent in (f"a{character}b@example.com", f"a{character}\u0308b@example.com"):
            try:
                canonical = canonical_email(sent)
            except InvalidEmail:
                continue
            assert canonical_email(canonical) == canonical, hex(ord(character))


def test_characters_are_composed_after_lower_casing() -> None:
    """Unicode has a single character for a small t with diaeresis, but none for the capital letter."""
    assert canonical_email("T\u0308@example.com") == "\u1e97@example.com"


def test_a_too_long_address_is_refused_before_normalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """NFKC takes quadratic time on hostile input, so it must not get a long address."""

    def normalised(*_: object) -> str:
        pytest.fail("normalised")

    with monkeypatch.context() as patch:
        patch.setattr(email, "nfkc", normalised)
        with pytest.raises(InvalidEmail):
            canonical_email("a" + "\u0300\u0316" * 254 + "@example.com")
