"""Find Baton's member of Signature-Input among others and write it in canonical form."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.baton.proof import signature_input
from chalicelib.baton.proof.refusals import SignatureDefective
from chalicelib.baton.proof.signature_input import (
    HTTPSIG,
    TAG,
    InputDefective,
    find_input,
    read_signature,
    signature_missing,
)
from chalicelib.baton.proof.structured_fields import NotStructured
from chalicelib.baton.routing import Message

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
        (f"{OURS}, again{OURS}", "two signatures with the tag"),
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


USUAL = 'baton=("@method" "@path");created=1;keyid="k";nonce="n";tag="baton"'
PIECES = [
    *('"', "\\", "(", ")", " ", ";", "=", ",", "0", "-0", "01", "-1", "1.5", "?1", "@", "k", "é", "\t", "", '("', '")'),
    *('"@query-param"', ';created=2;created="x"', ';tag="baton"', ';tag="other"', ';x="a)b;c=1"', '"a b"', "()"),
]


def outcome(read: Callable[[], object]) -> object:
    """Return the result of reading: the value, or the class and the words of the refusal."""
    try:
        return read()
    except (InputDefective, NotStructured, SignatureDefective) as refused:
        return type(refused), str(refused)


@given(st.lists(st.tuples(st.integers(0, len(USUAL)), st.sampled_from(PIECES), st.integers(0, 3)), max_size=4))
def test_a_plain_field_is_read_in_one_step_as_step_by_step(changes: list[tuple[int, str, int]]) -> None:
    """The fast way gives the same result as the parser of structured fields, or leaves the field to the parser."""
    text = USUAL
    for at, piece, left_out in changes:
        text = text[:at] + piece + text[at + left_out :]
    plain = signature_input._find_plain(text, TAG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signature_input, "_find_plain", lambda *_: None)
        assert plain is None or plain == find_input(text)


def test_the_usual_field_is_read_in_one_step() -> None:
    """A control of the test above: the usual field is read in the fast way.

    A field with parameters of components is left to the parser.
    """
    assert signature_input._find_plain(USUAL, TAG) == find_input(USUAL) is not None
    assert signature_input._find_plain(OURS, TAG) is None


def test_components_without_a_space_between_them_are_no_list() -> None:
    """The fast way and the parser refuse them (RFC 9651 section 4.2.1.2)."""
    joined = USUAL.replace('" "', '""', 1)
    assert joined != USUAL
    with pytest.raises(NotStructured):
        find_input(joined)


def test_a_parameter_twice_is_refused() -> None:
    """A parameter that is repeated in one line is refused. Otherwise Baton would check only one of two times."""
    with pytest.raises(NotStructured):
        find_input(USUAL.replace(";created=1", ";created=1;created=2"))


def test_a_request_without_any_signature_is_told_the_tag_of_its_scheme() -> None:
    """For Baton's own scheme, the error describes the whole signature. For ``HTTPSig``, it names the tag."""
    message = Message("GET", "localhost", "/me", (), {}, b"")
    assert "detail" not in signature_missing(message).members
    assert 'tag="httpsig-oauth"' in str(signature_missing(message, HTTPSIG).members["detail"])


def test_a_component_with_a_space_is_one_component() -> None:
    """No header field has such a name. Read as two names, it would stand for components that were not signed."""
    spaced = find_input(USUAL.replace('"@path"', '"a b"'))
    assert spaced is not None
    assert spaced.components == ('"@method"', '"a b"')


@given(st.from_regex(r"baton=:[A-Za-z0-9+/]{0,12}={0,3}:?( |,x)?", fullmatch=True))
def test_a_plain_value_is_read_in_one_step_as_step_by_step(value: str) -> None:
    """Every spelling of the signature gives the same bytes, or the same refusal."""
    message = Message("GET", "localhost", "/me", (), {"signature-input": (USUAL,), "signature": (value,)}, b"")

    def read() -> object:
        found = read_signature(message)
        return found and found.value

    short = outcome(read)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signature_input, "_PLAIN_VALUE", re.compile("(?!)"))
        assert short == outcome(read)
