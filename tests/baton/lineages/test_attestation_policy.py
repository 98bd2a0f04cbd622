"""The keys about attestation in a client's row: accepted values, and values that prevent the start."""

import pytest

from chalicelib.baton.lineages.attestation_policy import AttestationPolicy
from chalicelib.baton.lineages.clients import Clients, RegistryProblems
from chalicelib.baton.lineages.model import Attestation

ROW = '[client.app]\ncode = 1\nmechanism = "exchange"\nform = "jwt"\nbinding = "required"\nscope = "account"\n'
APPLE = 'apple = { app_ids = ["TEAM123456.com.example.app"] }\n'
ANDROID = f'android = {{ packages = {{ "com.example.app" = ["{"0f" * 32}"] }} }}\n'
KEY = "ab" * 32


def policy(text: str) -> AttestationPolicy:
    """Read the policy of a client."""
    client = Clients.from_toml(ROW + text).get("app")
    assert client is not None
    return client.attestation


def test_without_the_keys_nothing_is_judged() -> None:
    """The default is ``off``, also for a client whose apps use passkeys."""
    assert policy("") == policy(APPLE + ANDROID) == AttestationPolicy()
    assert policy('attestation = "off"\n') == AttestationPolicy()


@pytest.mark.parametrize("rule", ["report", "required"])
@pytest.mark.parametrize("apps", [APPLE, ANDROID, APPLE + ANDROID])
def test_a_policy_needs_one_app(rule: str, apps: str) -> None:
    """The app may be of either platform."""
    assert policy(f'attestation = "{rule}"\n{apps}') == AttestationPolicy(rule=rule)  # type: ignore[arg-type]


def test_every_key_is_read() -> None:
    """The test uses values that are not the default."""
    apple = APPLE.replace(" }\n", ', environments = ["development", "production"], categories = [2, 4] }\n')
    keys = f', security = "strongbox", boot = "verified", boot_keys = ["{KEY}"] }}\n'
    read = policy(f'attestation = "report"\n{apple}{ANDROID.removesuffix(" }" + chr(10))}{keys}')
    assert read == AttestationPolicy(
        rule="report",
        environments=frozenset({"development", "production"}),
        categories=frozenset({2, 4}),
        security=Attestation.STRONGBOX,
        boot_keys=(bytes.fromhex(KEY),),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('attestation = "on"\n' + APPLE, "attestation is one of off, report, required"),
        ("attestation = true\n" + APPLE, "attestation is one of"),
        ('attestation = "report"\n', "needs apple.app_ids or android.packages"),
        ('attestation = "required"\n', "needs apple.app_ids or android.packages"),
        (APPLE.replace(" }\n", ", environments = [] }\n"), "apple.environments is a list"),
        (APPLE.replace(" }\n", ', environments = "production" }\n'), "apple.environments is a list"),
        (APPLE.replace(" }\n", ', environments = ["sandbox"] }\n'), "apple.environments is a list"),
        (APPLE.replace(" }\n", ", categories = [7] }\n"), "apple.categories is a list of 1, 2, 3, 4, 5, 6, 10"),
        (APPLE.replace(" }\n", ", categories = [true] }\n"), "apple.categories is a list"),
        (APPLE.replace(" }\n", ", categories = 4 }\n"), "apple.categories is a list"),
        (ANDROID.replace(" } }\n", ' }, security = "software" }\n'), "android.security is one of tee, strongbox"),
        (ANDROID.replace(" } }\n", " }, security = [] }\n"), "android.security is one of"),
        (ANDROID.replace(" } }\n", ' }, boot = "any" }\n'), 'android.boot is "verified"'),
        (ANDROID.replace(" } }\n", ' }, boot_keys = ["AB"] }\n'), "android.boot_keys is a list"),
        (ANDROID.replace(" } }\n", ' }, bootkeys = ["AB"] }\n'), "android is a table with the members packages"),
    ],
)
def test_a_wrong_value_stops_the_start(text: str, problem: str) -> None:
    """The message names the client and the key."""
    with pytest.raises(RegistryProblems) as refused:
        Clients.from_toml(ROW + text)
    assert any(one.startswith("client registry: client.app: ") and problem in one for one in refused.value.problems)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (ROW.replace('binding = "required"', 'binding = "optional"'), 'needs binding = "required"'),
        (
            ROW.replace('"exchange"', '"session"').replace('"jwt"', '"opaque"').replace('"required"', '"optional"')
            + 'delivery = "cookie"\n',
            "a browser has no evidence",
        ),
    ],
)
def test_required_needs_a_key_of_the_device(row: str, problem: str) -> None:
    """A client with optional binding may only have ``report``. A browser never has such a key."""
    with pytest.raises(RegistryProblems, match=problem):
        Clients.from_toml(f'{row}attestation = "required"\n{APPLE}')
    optional = ROW.replace('binding = "required"', 'binding = "optional"')
    assert Clients.from_toml(f'{optional}attestation = "report"\n{APPLE}').get("app")
