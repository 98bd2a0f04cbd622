"""Find Baton's member of Signature-Input among others and write it in canonical form."""

import pytest

from chalicelib.baton.proof.signature_input import InputDefective, find_input
from chalicelib.baton.proof.structured_fields import NotStructured

OURS = 'baton=("@method" "@query-param";name="a%20b" "authorization");created=1;keyid="k";nonce="n n";tag="baton"'


def test_the_usual_member_is_read_and_is_already_canonical() -> None:
    """The result has component identifiers, parameters in order, and the value of ``@signature-params``."""
    found = find_input(OURS)
    assert found is not None
    assert found.label == "baton"
    assert found.components == ('"@method"', '"@query-param";name="a%20b"', '"authorization"')
    assert list(found.parameters.items()) == [
        ("created", 1),
        ("keyid", "k"),
        ("nonce", "n n"),
        ("tag", "baton"),
    ]
    assert found.written == OURS.removeprefix("baton=")


def test_another_spelling_is_written_in_canonical_form() -> None:
    """RFC 9421 section 2.5: both sides build the value of ``@signature-params`` themselves."""
    spaced = OURS.replace('" "', '"   "').replace(";created=1", "; created=1").replace("a%20b", r"a\"b\\")
    found = find_input(f"{spaced}\t")
    assert found is not None
    assert found.written == OURS.removeprefix("baton=").replace("a%20b", r"a\"b\\")


def test_batons_member_is_found_among_others() -> None:
    """Members with another tag, without a tag and of other types are ignored."""
    other = 'x=("é")'.replace("é", "e") + ';tag="other", y=1, z=(tok);sf'
    assert find_input(f"{other}, {OURS}") == find_input(OURS)
    assert find_input(other) is None
    assert find_input("") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{OURS}, again{OURS}", "two of our tag"),
        ('a=1;tag="baton"', "no list of components"),
        ('a=("x");tag="baton";z=:AQ==:', "a parameter's type"),
        ('a=("x");tag=baton', "a parameter's type"),
        ('a=("x";sf);tag="baton"', "a component's parameters"),
        ('a=("x";name="y");tag="baton"', "a component's parameters"),
        ('a=("@query-param");tag="baton"', "a component's parameters"),
        ('a=("@query-param";name=y);tag="baton"', "a component's parameters"),
        ('a=("@query-param";name="y";sf);tag="baton"', "a component's parameters"),
        ('a=(@1);tag="baton"', "a component's parameters"),
        ('a=(x);tag="baton"', "a component's parameters"),
    ],
)
def test_a_member_outside_the_profile_is_refused(text: str, reason: str) -> None:
    """The log has one of a few fixed reasons."""
    with pytest.raises(InputDefective) as refused:
        find_input(text)
    assert refused.value.reason == reason


def test_a_field_that_is_not_a_dictionary_is_refused() -> None:
    """The refusal names the position of the error."""
    with pytest.raises(NotStructured, match="at character 17"):
        find_input('baton=("@method","@path")')
