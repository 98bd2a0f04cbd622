"""The relying party of WebAuthn in the client registry, and the apps that may use its passkeys. No I/O.

All clients share one RP ID, so one passkey serves every app of a deployment. Each client accepts only its own origins
(``factors.passkey_challenge.origins_of``).
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

RELATED_LABELS_MAX: Final = 5
"""The maximum number of labels of related origins: every browser reads this many (WebAuthn Level 3, section 5.11)."""
HOST: Final = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
_ORIGIN: Final = re.compile(rf"https://({HOST.pattern})(:[0-9]{{1,5}})?|http://localhost(:[0-9]{{1,5}})?")
_NAME_CHARACTERS_MAX: Final = 64
_APP_ID: Final = re.compile(r"[A-Z0-9]{10}\.[A-Za-z0-9.-]{1,155}")
_PACKAGE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+")
_CERTIFICATE: Final = re.compile(r"[0-9a-f]{64}")
_APPLE_MEMBERS: Final = ("app_ids", "environments", "categories")
_ANDROID_MEMBERS: Final = ("packages", "security", "boot", "boot_keys")
_MEMBERS: Final = {"rp_id", "rp_name", "origins", "enroll_url", "manage_url"}
_SECOND_LEVEL_CHARACTERS_MAX: Final = 3
"""The maximum length of the second level of a public suffix, such as ``co`` in ``co.uk``, in characters."""


class RelyingParty(Struct, frozen=True):
    """The table ``[webauthn]``. ``enroll_url`` and ``manage_url`` are pages to add and manage passkeys, or empty."""

    rp_id: str
    rp_name: str
    origins: tuple[str, ...]
    enroll_url: str = ""
    manage_url: str = ""

    @property
    def related(self) -> tuple[str, ...]:
        """Return the origins outside the RP ID. The RP ID's well-known file must list them (WebAuthn Level 3, 5.11)."""
        return tuple(one for one in self.origins if not _within(_host(one), self.rp_id))


class Apps(Struct, frozen=True):
    """The web origins of a client, the ids of its iOS apps, and the certificates of its Android packages.

    ``packages`` maps the name of each package to the SHA-256 digests of its signing certificates, 32 bytes each.
    """

    web_origins: tuple[str, ...] = ()
    app_ids: tuple[str, ...] = ()
    packages: Mapping[str, tuple[bytes, ...]] = {}


def read_relying_party(table: object, problems: list[str]) -> RelyingParty | None:
    """Read the table ``[webauthn]``. Return ``None`` if the table is missing or invalid.

    Add the problems of the table to ``problems``.
    """
    if table is None:
        return None
    if not isinstance(table, dict):
        problems.append("webauthn is not a table: write [webauthn]")
        return None
    wrong = [f"{name} is not known" for name in sorted(table.keys() - _MEMBERS)]
    rp_id, rp_name, origins = table.get("rp_id"), table.get("rp_name"), table.get("origins", [])
    if not (isinstance(rp_id, str) and (rp_id == "localhost" or HOST.fullmatch(rp_id))):
        wrong.append("rp_id is the domain of the passkeys in lower case, such as example.com")
    if not (isinstance(rp_name, str) and 0 < len(rp_name) <= _NAME_CHARACTERS_MAX and rp_name.isprintable()):
        wrong.append(f"rp_name is a name of at most {_NAME_CHARACTERS_MAX} characters, without line ends")
    if not _are_texts(origins, _ORIGIN):
        wrong.append("origins is a list of origins, such as https://example.com, without a path")
    for name in ("enroll_url", "manage_url"):
        url = table.get(name, "")
        if not (isinstance(url, str) and (not url or url.startswith("https://"))):
            wrong.append(f"{name} is the https URL of a page, or is left out")
    if not wrong:
        party = RelyingParty(**{**table, "origins": tuple(origins)})
        labels = {_label(_host(one)) for one in party.related}
        if len(labels) <= RELATED_LABELS_MAX:
            return party
        wrong.append(f"origins outside rp_id have more than {RELATED_LABELS_MAX} labels: browsers read only this many")
    problems += [f"webauthn.{one}" for one in wrong]
    return None


def read_apps(row: Any, party: RelyingParty | None, problems: list[str]) -> Apps:  # noqa: ANN401 - any TOML value
    """Read ``webauthn_origins``, ``apple`` and ``android`` of a client. Add their problems to ``problems``."""
    if not isinstance(row, dict):
        return Apps()
    apple, android, web_origins = row.get("apple", {}), row.get("android", {}), row.get("webauthn_origins", [])
    if not (isinstance(web_origins, list) and all(party and one in party.origins for one in web_origins)):
        problems.append("webauthn_origins is a list of origins of the table [webauthn]")
        return Apps()
    for name, table, known in (("apple", apple, _APPLE_MEMBERS), ("android", android, _ANDROID_MEMBERS)):
        if not isinstance(table, dict) or table.keys() - set(known):
            problems.append(f"{name} is a table with the members {', '.join(known)}")
            return Apps()
    app_ids, packages = apple.get("app_ids", []), android.get("packages", {})
    if not _are_texts(app_ids, _APP_ID):
        problems.append("apple.app_ids is a list of the form TEAM123456.com.example.app")
    certificates: dict[str, tuple[bytes, ...]] = {}
    for package, listed in packages.items() if isinstance(packages, dict) else [("", None)]:
        plain = [one.replace(":", "").lower() for one in listed if isinstance(one, str)] if listed else []
        if not (
            _PACKAGE.fullmatch(package) and listed and len(plain) == len(listed) and _are_texts(plain, _CERTIFICATE)
        ):
            problems.append("android.packages has the SHA-256 of the signing certificates, in hex, for each package")
            continue
        certificates[package] = tuple(bytes.fromhex(one) for one in plain)
    return Apps(tuple(web_origins), tuple(app_ids), certificates) if not problems else Apps()


def _are_texts(value: object, form: re.Pattern[str]) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and form.fullmatch(one) for one in value)


def _host(origin: str) -> str:
    return origin.partition("://")[2].partition(":")[0]


def _within(host: str, rp_id: str) -> bool:
    return host == rp_id or host.endswith(f".{rp_id}")


def _label(host: str) -> str:
    """Return the label by which browsers count related origins.

    The label is estimated, without the list of public suffixes.
    """
    parts = host.split(".")
    second_level = len(parts) > 2 and len(parts[-2]) <= _SECOND_LEVEL_CHARACTERS_MAX  # noqa: PLR2004 - a.co.uk
    return parts[-3] if second_level else parts[max(0, len(parts) - 2)]
