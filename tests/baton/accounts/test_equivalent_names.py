"""Different spellings of one address, host or key belong to one account."""

from collections.abc import Callable

import pytest

from chalicelib.baton.accounts.email import canonical_email
from chalicelib.baton.accounts.refusals import InvalidEmail
from tests.baton.wire.conversation import Device

SAME: dict[str, list[str]] = {
    "ada@xn--exmple-4ya.org": [
        "ada@ex\u00fcmple.org",
        "ada@exu\u0308mple.org",  # NFD
        "ADA@EX\u00dcMPLE.ORG",
        "ada@XN--EXMPLE-4YA.org",
        "\uff41\uff44\uff41\uff20\uff45\uff58\u00fc\uff4d\uff50\uff4c\uff45\uff0e\uff4f\uff52\uff47",  # full width
        "ada@ex\u00fcmple\u3002org",  # the full stop of a Japanese keyboard
        "ada@ex\u00fcmple\uff61org",
        " ada@ex\u00fcmple.org\u3000",
    ],
    "ada@xn--strae-oqa.example": ["ada@stra\u00dfe.example", "ada@STRA\u00dfE.example"],
    "ada@xn--hxajbheg2az3al.xn--jxalpdlp": [
        "ada@\u03c0\u03b1\u03c1\u03ac\u03b4\u03b5\u03b9\u03b3\u03bc\u03b1.\u03b4\u03bf\u03ba\u03b9\u03bc\u03ae",
        "ada@\u03a0\u0391\u03a1\u0386\u0394\u0395\u0399\u0393\u039c\u0391.\u0394\u039f\u039a\u0399\u039c\u0389",
    ],
    # The lower case of a capital sigma depends on its context, and a domain has no context (UTS 46 section 4).
    "ada@xn--mxa9aa.example": ["ada@\u03c3\u03c3\u03b1.example", "ada@\u03a3\u03a3\u0391.example"],
    "ada@xn--wgv71a119e.jp": ["ada@\u65e5\u672c\u8a9e.jp", "ada@\u65e5\u672c\u8a9e\uff0eJP"],
    "ada@xn--4dbrk0ce.example": ["ada@\u05d9\u05e9\u05e8\u05d0\u05dc.example"],
    "ada@xn--parallel-koa.cat": ["ada@paral\u00b7lel.cat", "ada@PARAL\u00b7LEL.cat"],
    "ada@xn--mgba3gch31f060k.example": [
        "ada@\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.example",
    ],
    "j\u00fcrgen@example.com": ["J\u00dcRGEN@example.com", "ju\u0308rgen@EXAMPLE.com"],
}
"""Canonical address -> its other spellings."""


@pytest.mark.parametrize("canonical", SAME)
def test_spellings_of_one_internationalised_domain_give_one_address(canonical: str) -> None:
    """The A-label form is canonical (UTS 46, nontransitional). Before the fix, each spelling was another account."""
    expected = canonical_email(SAME[canonical][0])
    assert expected == canonical
    for spelling in [*SAME[canonical], canonical]:
        assert canonical_email(spelling) == canonical, spelling


def test_different_domains_stay_different() -> None:
    """Each of these is another domain in DNS. IDNA 2003 made some of them equal, so two people had one account."""
    domains = ["stra\u00dfe.example", "strasse.example", "ex\u00fcmple.org", "exumple.org", "\u0435xample.org"]
    domains += ["example.org", "\u03bf\u03c2.example", "\u03bf\u03c3.example", "xn--exmple-4y.org", "ex\u00fcmple.com"]
    assert len({canonical_email(f"ada@{domain}") for domain in domains}) == len(domains)


@pytest.mark.parametrize(
    "domain",
    [
        "example.com.",  # RFC 5321 section 4.1.2: a domain has no final dot
        "ex\u00fcmple.org.",
        "ex\u00fcmple..org",
        "\u3002ex\u00fcmple.org",
        "ex\u00fcm ple.org",
        "ex\u00fcm_ple.org",
        "-ex\u00fcmple.org",
        "ex\u00fcmple-.org",
        "ab--ex\u00fcmple.org",
        "\u0308ex\u00fcmple.org",  # begins with a combining mark
        "\u05d0a.example",  # left to right within right to left (RFC 5893 section 2)
        "a\u05d0.example",
        "\u05d0\u0661\u06f1.example",
        "ex\u00fcm\u200dple.org",  # a joiner in an invalid position (RFC 5892 A.2)
        "ex\u00fcm\u00adple.org",
        "ex\u00fcm\u200bple.org",
        "ex\u00fcm\ufe0fple.org",
        "\u2603.example",
        "\U0001f511.example",
        "a\u00b7b.example",
        "ex\u00fcmple@example.org",
        "ex\u00fcmple",
        "\u00fc" * 60 + ".example",  # more than 63 bytes as an A-label
        "\u1e9e.example",  # later than Unicode 3.2: only its A-label is accepted
        "\ud800\u00fc.example",
    ],
)
def test_an_invalid_internationalised_domain_is_refused_with_a_reason(domain: str) -> None:
    """The sentence names the invalid part and says how to write a domain that Baton cannot encode."""
    with pytest.raises(InvalidEmail) as refused:
        canonical_email(f"ada@{domain}")
    detail = str(refused.value.members["detail"])
    assert refused.value.members["pointer"] == "/email"
    assert "domain" in detail
    assert domain not in detail
    assert domain not in refused.value.reason


@pytest.mark.parametrize("local", ["", ".ada", "a b", '"ada"', "a" * 65, "\u200b", "\U0001f511", "\U0001e030"])
def test_the_refusal_of_an_invalid_local_part_names_it(local: str) -> None:
    """The local part is the part before the @."""
    with pytest.raises(InvalidEmail) as refused:
        canonical_email(f"{local}@example.com")
    assert "before `@`" in str(refused.value.members["detail"])


def test_two_spellings_of_a_domain_are_one_account(make_device: Callable[..., Device]) -> None:
    """One spelling registers. The other spelling logs in, and cannot register. The account shows the A-label."""
    device = make_device(client_id="simple", bound=False)
    assert device.register("test@ex\u00fcmple.org").status == 201
    assert device.login("test@xn--exmple-4ya.org").status == 200
    assert device.login("TEST@EXU\u0308MPLE\uff0eorg").status == 200
    assert device.register("test@xn--exmple-4ya.org").code == "account_exists"
    assert device.login("test@ex\u00fcmple.org").status == 200
    assert device.get("/me").members["email"] == "test@xn--exmple-4ya.org"


def test_a_password_with_the_domain_is_refused_in_either_spelling(make_device: Callable[..., Device]) -> None:
    """A person types the Unicode form of the domain, which the A-label does not contain. Both forms are compared."""
    device = make_device(client_id="simple", bound=False)
    said = device.register("test@ex\u00fcmple-verein.org", password="ex\u00fcmple verein 12345")
    assert said.code == "contains_context"
