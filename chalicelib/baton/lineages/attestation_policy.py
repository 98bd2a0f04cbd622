"""The attestation rules of a client, and the function that reads them from the client registry. No I/O."""

import re
from collections.abc import Iterator
from typing import Any, Final, Literal, cast, get_args

from msgspec import Struct

from chalicelib.baton.lineages.model import Attestation
from chalicelib.baton.lineages.relying_party import Apps

AttestationRule = Literal["off", "report", "required"]

_ENVIRONMENTS: Final = ("production", "development")
_CATEGORIES: Final = (1, 2, 3, 4, 5, 6, 10)
"""Apple's validation categories: platform, TestFlight, development, App Store, enterprise, Developer ID, none."""
_SECURITY: Final = {"tee": Attestation.TEE, "strongbox": Attestation.STRONGBOX}
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class AttestationPolicy(Struct, frozen=True):
    """The attestation rules of a client.

    - ``rule``: evidence is ignored (``off``), judged and reported (``report``), or required for a login (``required``).
    - ``environments``: the accepted environments of App Attest.
    - ``categories``: the accepted validation categories of App Attest. If it is empty, every category is accepted.
    - ``security``: the lowest accepted security level of an Android key.
    - ``boot_keys``: the verified boot keys of accepted Android systems other than the system of the phone's maker.
    """

    rule: AttestationRule = "off"
    environments: frozenset[str] = frozenset({"production"})
    categories: frozenset[int] = frozenset()
    security: Attestation = Attestation.TEE
    boot_keys: tuple[bytes, ...] = ()


def read_attestation(row: Any, apps: Apps, problems: list[str]) -> AttestationPolicy:  # noqa: ANN401 - any TOML value
    """Read the attestation rules of a client from its row.

    If the rules have problems, add them to ``problems`` and return the default policy. If ``problems`` has an entry
    before the call, only return the default policy.
    """
    if problems or not isinstance(row, dict):
        return AttestationPolicy()
    apple, android = row.get("apple", {}), row.get("android", {})
    wrong = [*_rule_problems(row, apps), *_apple_problems(apple), *_android_problems(android)]
    if wrong:
        problems += wrong
        return AttestationPolicy()
    return AttestationPolicy(
        rule=cast("AttestationRule", row.get("attestation", "off")),
        environments=frozenset(apple.get("environments", ["production"])),
        categories=frozenset(apple.get("categories", [])),
        security=_SECURITY[android.get("security", "tee")],
        boot_keys=tuple(bytes.fromhex(one) for one in android.get("boot_keys", [])),
    )


def _rule_problems(row: dict[str, Any], apps: Apps) -> Iterator[str]:
    rule = row.get("attestation", "off")
    if rule not in get_args(AttestationRule):
        yield f"attestation is one of {', '.join(get_args(AttestationRule))}"
        return
    if rule == "off":
        return
    if not (apps.app_ids or apps.packages):
        yield f'attestation = "{rule}" needs apple.app_ids or android.packages: no app could prove anything'
    if row.get("delivery", "body") == "cookie":
        yield f'attestation = "{rule}" is for apps: a browser has no evidence'
    if rule == "required" and row.get("binding") != "required":
        yield 'attestation = "required" needs binding = "required": evidence is about the key of a device'


def _apple_problems(table: dict[str, Any]) -> Iterator[str]:
    environments, categories = table.get("environments", ["production"]), table.get("categories", [])
    if not (isinstance(environments, list) and environments and all(one in _ENVIRONMENTS for one in environments)):
        yield f"apple.environments is a list of {' and '.join(_ENVIRONMENTS)}"
    numbers = isinstance(categories, list) and all(type(one) is int and one in _CATEGORIES for one in categories)
    if not numbers:
        yield f"apple.categories is a list of {', '.join(map(str, _CATEGORIES))}"


def _android_problems(table: dict[str, Any]) -> Iterator[str]:
    security = table.get("security", "tee")
    if not isinstance(security, str) or security not in _SECURITY:
        yield f"android.security is one of {', '.join(_SECURITY)}"
    if table.get("boot", "verified") != "verified":
        yield 'android.boot is "verified", or is left out; android.boot_keys lists the keys of other systems'
    keys = table.get("boot_keys", [])
    if not (isinstance(keys, list) and all(isinstance(one, str) and _DIGEST.fullmatch(one) for one in keys)):
        yield "android.boot_keys is a list of verified boot keys, 64 characters of hex in lower case each"
