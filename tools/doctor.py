"""``make doctor``: check the environment of Baton, and print a remedy for each problem. Exit 1 if there is a problem.

Without STAGE it checks the development server of `make dev` on PORT. With STAGE=dev it checks the deployment of this
stage, with the settings of .chalice/config.json and the credentials of the environment. The command changes nothing.
"""

import email.utils
import json
import os
import platform
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.message import Message
from importlib.metadata import PackageNotFoundError, version
from typing import Final, TextIO
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from chalicelib import __version__
from chalicelib.baton import errors
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.policy import (
    DAY_S,
    ISSUED_AHEAD_MAX_S,
    ROOT_ROTATED_AFTER_S,
    SIGNATURE_WINDOW_S,
    SIGNING_KEY_ROTATED_AFTER_S,
)
from chalicelib.baton.settings import Settings, SettingsProblems, read_settings, unknown_settings
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.attestations import StoredAttestations
from chalicelib.baton.storage.dynamodb.database import EXPIRY, KEYS, SWEPT, DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.key_ring import KeyRing
from chalicelib.baton.storage.dynamodb.key_wrapping import KmsWrapper, LocalWrapper
from chalicelib.baton.storage.dynamodb.provider_tokens import StoredProviderTokens
from tools import aws, well_known
from tools.doctor_attestation import attestation_rows
from tools.doctor_federation import federation_rows
from tools.doctor_mail import mail_rows
from tools.printed import counted
from tools.stages import UnknownStage, enter

PATIENCE_S: Final = 5
PARTS: Final = (
    "versions",
    "settings",
    "reach",
    "clock",
    "tables",
    "keys",
    "attestation",
    "federation",
    "mail",
    "passkeys",
    "browsers",
)
"""The parts of the output, in this order."""
DISTRIBUTIONS: Final = ("chalice", "botocore", "cryptography", "argon2-cffi", "msgspec")
GRACE_S: Final = 2 * DAY_S
NETWORK: Final = "check AWS_DEFAULT_REGION, AWS_ENDPOINT_URL and the network"
OPERATE: Final = ".venv/bin/python -m tools.operate"


class Row(Struct, frozen=True):
    """The result of one check. ``remedy`` is empty if there is no problem."""

    part: str
    name: str
    found: str
    remedy: str = ""


def versions() -> Iterator[Row]:
    """List the versions of Python and of the packages."""
    supported = sys.version_info >= (3, 11)
    yield Row("versions", "Baton", __version__)
    yield Row("versions", "Python", platform.python_version(), "" if supported else "install Python 3.11 or newer")
    for name in DISTRIBUTIONS:
        try:
            yield Row("versions", name, version(name))
        except PackageNotFoundError:
            yield Row("versions", name, "not installed", "make clean test")


def settings_rows(settings: Settings) -> Iterator[Row]:
    """List the settings, without secrets. For resource servers, clients and providers, list only the names."""
    shown = msgspec.structs.asdict(settings) | {
        "resource_servers": ", ".join(settings.resource_servers),
        "registry": ", ".join(client.id for client in settings.registry),
        "providers": ", ".join(settings.providers.by_name) if settings.providers else "",
        "origin_secret": "set" if settings.origin_secret else "",
    }
    for name, value in shown.items():
        listed = ", ".join(sorted(value)) if isinstance(value, frozenset | tuple) else str(value)
        yield Row("settings", name, listed or "-")


def clock_row(name: str, there: int | None, here: float) -> Row:
    """Compare the clock of a server (Baton or DynamoDB) with the clock of this machine.

    If the clocks differ by more than 1 minute, the row has a remedy. The remedy also names what Baton refuses because
    of the difference: tokens or signatures.
    """
    if there is None:
        return Row("clock", name, "no time in the answer", "check that this is the address of Baton")
    ahead_s = round(there - here)
    found = (
        "the same as on this machine"
        if abs(ahead_s) <= 2
        else f"{abs(ahead_s)} s {'ahead of' if ahead_s > 0 else 'behind'} this machine"
    )
    return Row("clock", name, found, "" if abs(ahead_s) <= ISSUED_AHEAD_MAX_S else _clock_mend(ahead_s))


def _clock_mend(ahead_s: int) -> str:
    refused = "signatures" if abs(ahead_s) > SIGNATURE_WINDOW_S else "tokens"
    return f"timedatectl set-ntp true (Baton refuses {refused} of this machine)"


def endpoint(issuer: str, *, remedy: str) -> Iterator[Row]:
    """Read time, health and public keys from the URL that apps call."""
    asked: Mapping[str, str] = {"time": "/time", "health": "/health", "public keys": "/.well-known/jwks.json"}
    for name, path in asked.items():
        status, body, date = fetch(issuer + path)
        if status == 200:
            yield Row("reach", name, f"{issuer}{path}")
        else:
            yield Row("reach", name, f"{issuer}{path}: {status or body}", remedy)
        if name == "time" and status:
            told = body_member(body, "server_time") or date
            yield clock_row(issuer, told, time.time())
        if not status:
            return


def public_files(settings: Settings) -> Iterator[Row]:
    """Fetch the files in ``/.well-known/`` of the apps' websites, and compare them with the client registry.

    Phones and browsers read these files before they offer a passkey.
    """
    remedy = f"{OPERATE} well-known DIR, and serve the files: docs/baton/passkeys.md"
    for url, problem in well_known.findings(settings.registry):
        yield Row(
            "passkeys", url.rpartition("/")[2], f"{url}: {problem}" if problem else url, remedy if problem else ""
        )


def browser_rows(settings: Settings) -> Iterator[Row]:
    """Check the settings for cookie clients, for a CDN, and for servers that state the IP address of a person."""
    host = urlsplit(settings.issuer).hostname or ""
    if settings.registry.by_cookie and host.endswith(".amazonaws.com"):
        remedy = (
            "use a domain of your own: every other page is of another site" if settings.registry.cookie_origins else ""
        )
        yield Row("browsers", "site", f"{host} is a site of its own: only pages that the API serves work", remedy)
    if settings.origin_secret is not None:
        yield Row("browsers", "source", "CloudFront-Viewer-Address, if the request has the secret of the CDN")
    elif settings.registry.by_cookie:
        advice = "as the gateway sees it. Behind a CDN, set BATON_ORIGIN_SECRET, or every person has the CDN's address"
        yield Row("browsers", "source", advice)
    for client in settings.registry:
        if client.trusted_sources:
            networks = ", ".join(client.trusted_sources)
            yield Row("browsers", f"client {client.id}", f"Baton-Client-Address counts from {networks}")


def body_member(body: str, name: str) -> int | None:
    """Return an integer member of a JSON answer. ``None``: the answer has no such integer."""
    try:
        value = json.loads(body).get(name)
    except (json.JSONDecodeError, AttributeError):
        return None
    return value if isinstance(value, int) else None


def fetch(url: str) -> tuple[int, str, int | None]:
    """Get a URL. Return status, body and the time of the Date field. Without an answer: 0, the reason, ``None``."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310 - https, or localhost: settings.py
            return answer.status, answer.read(65_536).decode(errors="replace"), _date(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(65_536).decode(errors="replace"), _date(error.headers)
    except (urllib.error.URLError, OSError) as error:
        return 0, f"no answer ({getattr(error, 'reason', error)})", None


def _date(headers: Mapping[str, str] | Message) -> int | None:
    """Return the time of the Date field, or else of ``x-amzn-remapped-date``. ``None``: both fields are missing.

    ``x-amzn-remapped-date`` is the name that API Gateway gives to the function's Date field.
    """
    value = headers.get("date") or headers.get("x-amzn-remapped-date")
    return int(email.utils.parsedate_to_datetime(value).timestamp()) if value else None


def remedy_for(reason: str, otherwise: str) -> str:
    """Return the remedy for the error code at the end of ``reason``.

    Codes for wrong credentials, denied access and no network have remedies of their own. Without such a code, return
    ``otherwise``.
    """
    code = reason.rpartition(": ")[2]
    if code.startswith(aws.UNKNOWN_CREDENTIALS) or "Credential" in code or "Token" in code:
        return aws.CREDENTIALS
    if "AccessDenied" in code:
        return "use credentials that are allowed to read this"
    if code.endswith(("ConnectionError", "TimeoutError")):
        return NETWORK
    return otherwise


def table_rows(tables: Tables, dynamodb: AwsClient, *, deploy: str) -> Iterator[Row]:
    """Check that every table exists, with the required keys and TTL attribute."""
    for table, keys in KEYS.items():
        name = tables.name(table)
        try:
            answer = dynamodb.call("describe_table", TableName=name)
            expiry = dynamodb.call("describe_time_to_live", TableName=name)["TimeToLiveDescription"]
        except errors.Unavailable as trouble:
            yield Row("tables", name, trouble.reason, remedy_for(trouble.reason, deploy))
            continue
        described, remedy = answer["Table"], deploy
        problems = []
        if tuple(part["AttributeName"] for part in described["KeySchema"]) != keys:
            problems.append(f"its key is not {' and '.join(keys)}")
        if described["TableStatus"] not in {"ACTIVE", "UPDATING"}:
            problems.append(f"it is {described['TableStatus']}")
        swept_by = expiry.get("AttributeName") if expiry["TimeToLiveStatus"] in {"ENABLED", "ENABLING"} else None
        if table in SWEPT and swept_by != EXPIRY:
            problems.append(f"TTL does not delete by {EXPIRY}")
            # A deployment does not correct the TTL: CloudFormation does not see changes that were made by hand.
            remedy = (
                f"aws dynamodb update-time-to-live --table-name {name} "
                f"--time-to-live-specification Enabled=true,AttributeName={EXPIRY}"
            )
        found = "; ".join(problems) or f"{described['TableStatus'].lower()}, {counted(described['ItemCount'], 'item')}"
        yield Row("tables", name, found, remedy if problems else "")
        if table == "users":
            date = _date(answer["ResponseMetadata"]["HTTPHeaders"])
            yield clock_row("DynamoDB", date, time.time())


def key_rows(current: Callable[[], Ring], *, now: int) -> Iterator[Row]:
    """Decrypt the key ring and check the age of its keys."""
    try:
        ring = current()
        signer = ring.signer(now)
    except errors.Unavailable as trouble:
        absent = "absent" in trouble.reason
        remedy = f"{OPERATE} make-ring" if absent else "docs/baton/runbooks/kms-key-lost.md"
        yield Row("keys", "key ring", trouble.reason, remedy_for(trouble.reason, remedy))
        return
    yield Row(
        "keys",
        "key ring",
        f"revision {ring.revision}, {counted(len(ring.signing), 'signing key')}, {counted(len(ring.roots), 'root')}",
    )
    # The next key waits in the key ring. Its age shows whether the rotation has stopped.
    newest = ring.signing[-1].made_at
    yield age_row("newest signing key", newest, SIGNING_KEY_ROTATED_AFTER_S, "rotate-signing-key", now=now)
    yield Row("keys", "signing key", f"in use for {(now - max(signer.signs_from, signer.made_at)) // DAY_S} days")
    yield age_row("root", ring.root_for_new(now).made_at, ROOT_ROTATED_AFTER_S, "rotate-root", now=now)
    waiting = [key for key in ring.signing if key.signs_from > now]
    if waiting:
        yield Row("keys", "next key", f"in use in {waiting[0].signs_from - now} s")
    not_before = (
        time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ring.not_before)) if ring.not_before else "never raised"
    )
    yield Row("keys", "not-before", not_before)


def age_row(name: str, made_at: int, rotated_after_s: int, command: str, *, now: int) -> Row:
    """Return a row with the age of a key. ``command`` is its remedy if the rotation is more than two days late."""
    old = now - made_at > rotated_after_s + GRACE_S
    return Row("keys", name, f"{counted((now - made_at) // DAY_S, 'day')} old", f"{OPERATE} {command}" if old else "")


def examine(stage: str | None) -> Iterator[Row]:
    """Run all checks. If the settings are invalid, report only the versions and the problems of the settings.

    With no stage and no ``BATON_ISSUER``, check only versions, unknown ``BATON_`` variables and the development server.
    """
    yield from versions()
    if stage is None and "BATON_ISSUER" not in os.environ:
        for problem in unknown_settings(os.environ):
            yield Row("settings", problem.split()[0], problem, "correct its name in the environment, or remove it")
        port = os.environ.get("PORT") or "8000"
        yield from endpoint(
            f"http://localhost:{port}/api", remedy=f"make dev{'' if port == '8000' else ' PORT=' + port}"
        )
        return
    try:
        if stage is not None:
            enter(stage)
        settings = read_settings()
    except UnknownStage as unknown:
        yield Row("settings", "STAGE", str(unknown), "make doctor STAGE=dev")
        return
    except SettingsProblems as problems:
        where = ".chalice/config.json" if stage else "the environment"
        for problem in problems.problems:
            name = problem.split()[0].rstrip(":,")
            remedy = f"correct {name}" if name.startswith("chalicelib/") else f"correct it in {where}"
            yield Row("settings", name, problem, remedy)
        return
    yield from settings_rows(settings)
    tables = Tables(settings.table_prefix)
    deploy = f"make deploy STAGE={stage}" if stage else "make dev"
    yield from table_rows(tables, AwsClient("dynamodb"), deploy=deploy)
    wrapper = KmsWrapper(settings.kms_key_id) if settings.kms_key_id else LocalWrapper()
    now = int(time.time())
    yield from key_rows(lambda: _looked_at(DynamoDB(tables), wrapper, now=now), now=now)
    engine = DynamoDB(tables)
    key_ring = KeyRing(engine, wrapper, _no_entropy)
    evidence = attestation_rows(settings.registry, StoredAttestations(engine), key_ring, now=now, remedy_for=remedy_for)
    yield from (Row("attestation", *found) for found in evidence)
    if settings.providers:
        tokens = StoredProviderTokens(engine)
        providers = federation_rows(settings.providers, tokens, key_ring, now=now, remedy_for=remedy_for)
        yield from (Row("federation", *found) for found in providers)
    yield from (Row("mail", *found) for found in mail_rows(settings, deploy=deploy, remedy_for=remedy_for))
    yield from endpoint(settings.issuer, remedy=deploy)
    yield from public_files(settings)
    yield from browser_rows(settings)


def _no_entropy(_: int) -> bytes:
    """Raise an error, so that no ring is made: the doctor changes nothing."""
    raise errors.Unavailable("the key ring is absent")


def _looked_at(engine: DynamoDB, wrapper: KmsWrapper | LocalWrapper, *, now: int) -> Ring:
    """Read the key ring. A missing key ring is not created: this command changes nothing."""

    class Looking(LocalWrapper):
        makes_absent_ring = False

    return KeyRing(engine, wrapper if isinstance(wrapper, KmsWrapper) else Looking(), os.urandom).current(now=now)


def show(rows: Sequence[Row], out: TextIO) -> None:
    """Print the checks: ok in green, problems in red with the remedy in the next line."""
    coloured = out.isatty() and "NO_COLOR" not in os.environ

    def dye(text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if coloured else text

    width = max(len(row.name) for row in rows)
    part = ""
    for row in rows:
        if row.part != part:
            part = row.part
            print(f"\n{dye(part, '1')}", file=out)
        mark = dye("no", "31") if row.remedy else dye("ok", "32")
        print(f"  {mark}  {row.name:<{width}}  {row.found}", file=out)
        if row.remedy:
            print(f"      {'':<{width}}  {dye('remedy: ' + row.remedy, '33')}", file=out)


@aws.in_one_line
def main(stage: str | None) -> int:
    """Run the checks and print the result and the next step."""
    if stage is not None or "BATON_ISSUER" in os.environ:
        # Without credentials every other finding would be wrong.
        aws.require_account()
    rows = sorted(examine(stage), key=lambda row: PARTS.index(row.part))
    show(rows, sys.stdout)
    wrong = [row for row in rows if row.remedy]
    print(
        f"\n{counted(len(wrong), 'problem')}. remedy for the first: {wrong[0].remedy}" if wrong else "\nok: no problems"
    )
    if not wrong and stage is None:
        print("next: make doctor STAGE=dev, for a deployment")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(os.environ.get("STAGE") or None))
