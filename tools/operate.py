"""The operator's commands: ``python -m tools.operate COMMAND``, with the deployment's settings in the environment.

STAGE=dev takes the settings of that stage from .chalice/config.json.

make-ring               create the key ring of a new deployment, once; if accounts exist, only with a typed confirmation
rotate-signing-key      sign tokens with the next key after ten minutes, and publish another next key
rotate-root             create a new root secret; new logins use it after ten minutes
retire-key              after a leak: end the period of every present signing key; takes twenty minutes
raise-not-before        after a restore or a leak: end every login of the deployment that began before now
after-restore --since TIME [--audit PREFIX]  apply to restored tables the events since TIME in table PREFIX-audit
disable E-MAIL          disable an account and end all its logins
enable E-MAIL           enable an account; ended logins stay ended
delete E-MAIL           delete an account and its events, or finish a deletion; the address can be registered again
factors E-MAIL remove   remove every second factor of an account; check the identity of the person first
forget ACCOUNT          delete the events of the deleted account with this id, and call `on_delete` of your app again
role grant E-MAIL ROLE  give an account a role of the client registry; `role revoke` takes it away
roles E-MAIL            show the roles of an account, and whether a second factor is required from it
mail E-MAIL             show whether mails to an address are sent; `mail E-MAIL lift` allows them again
attestation --client ID --report --hours N   lower a client's rule from required to report for N hours; 0 restores it
provider-key apple FILE  store the private key for Apple (.p8), encrypted: docs/baton/federation.md
well-known DIR          write the files that phones and browsers read at https://{rp_id}/.well-known/, below DIR
second-factor E-MAIL require    require a second factor from the logins of an account; `release` ends this
import FILE --from SYSTEM  make the accounts of another system: docs/baton/moving.md; `import --help` lists the options
export --to FILE --recipient age1…  write every account and its password hash to a file, encrypted with age
hashes                  count the kinds of password hashes, and print the setting BATON_DECOYS

For an account without an address, write its id in place of E-MAIL.
"""

import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chalicelib.baton import errors
from chalicelib.baton.accounts.email import canonical_email
from chalicelib.baton.accounts.forget import Forget
from chalicelib.baton.accounts.roles import SetRoles, ShowRoles
from chalicelib.baton.accounts.second_factor import RemoveFactors, RequireSecondFactor
from chalicelib.baton.accounts.status import SetStatus
from chalicelib.baton.attestation.switches import LowerToReport
from chalicelib.baton.effects import Done
from chalicelib.baton.events.log import Log
from chalicelib.baton.events.record import Record
from chalicelib.baton.federation.providers import Providers
from chalicelib.baton.ids import AccountId, EmailIndex
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.keys.rotation import Entropy, raise_not_before, retire_keys, rotate_root, rotate_signing
from chalicelib.baton.lineages.clients import UnknownRole
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.mail.notices import QueueNotice
from chalicelib.baton.mail.outbox import QueueForget, QueueMail
from chalicelib.baton.mail.suppression import is_suppressed
from chalicelib.baton.policy import ISSUED_AFTER_KEY_MAX_S, RING_SEEN_EVERYWHERE_S, SIGNING_KEY_PUBLISHED_BEFORE_USE_S
from chalicelib.baton.settings import SettingsProblems, read_settings
from chalicelib.baton.storage.aws.mail import SqsOutbox
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.accounts import Users
from chalicelib.baton.storage.dynamodb.attestations import StoredAttestations
from chalicelib.baton.storage.dynamodb.audit import Audit
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.factors import Factors
from chalicelib.baton.storage.dynamodb.key_ring import AccountsWithoutRing, KeyRing
from chalicelib.baton.storage.dynamodb.key_wrapping import KmsWrapper, LocalWrapper
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from chalicelib.baton.storage.dynamodb.one_time import Ephemeral
from chalicelib.baton.storage.dynamodb.provider_tokens import StoredProviderTokens
from chalicelib.baton.storage.dynamodb.suppressions import SuppressedAddresses
from tools import after_restore, aws, restore, well_known
from tools.moving import commands as moving
from tools.provider_key import SetProviderKey
from tools.stages import UnknownStage, enter

PROGRESS_EVERY_S = 10


def clock() -> int:
    """Return the time in seconds since the epoch."""
    return int(time.time())


def _fenced(ring: Ring, _: Entropy, *, now: int) -> Ring:
    return raise_not_before(ring, now=now)


class Change(NamedTuple):
    """A change of the key ring, the seconds until the change is effective everywhere, and its effect in words."""

    make: Callable[..., Ring]
    takes_s: int
    effect: str


CHANGES: Mapping[str, Change] = {
    "rotate-signing-key": Change(
        rotate_signing, SIGNING_KEY_PUBLISHED_BEFORE_USE_S, "the next key signs now, and another next key is published"
    ),
    "rotate-root": Change(rotate_root, SIGNING_KEY_PUBLISHED_BEFORE_USE_S, "every new login uses the new root secret"),
    # The sum of two times. After the first, the new keys sign. After the second, no retired key may sign a new token.
    "retire-key": Change(
        retire_keys,
        SIGNING_KEY_PUBLISHED_BEFORE_USE_S + ISSUED_AFTER_KEY_MAX_S,
        "no earlier key can sign a token for a new login",
    ),
    "raise-not-before": Change(_fenced, RING_SEEN_EVERYWHERE_S, "every login that began before this command has ended"),
}
STATUSES: Mapping[str, Status] = {"disable": Status.DISABLED, "enable": Status.ACTIVE, "delete": Status.DELETED}


class Operator:
    """The commands of an operator, with the settings and the AWS credentials of a deployment."""

    def __init__(self, *, pause: Callable[[float], None] = time.sleep, ask: Callable[[str], str] = input) -> None:
        """Read the settings. Raises ``aws.NotReady`` and ``SettingsProblems``."""
        aws.require_account()
        settings = read_settings()
        self._pause = pause
        self._ask = ask
        self._database = DynamoDB(Tables(settings.table_prefix))
        wrapper = KmsWrapper(settings.kms_key_id) if settings.kms_key_id else LocalWrapper()
        self._key_ring = KeyRing(self._database, wrapper, secrets.token_bytes)
        self._clients = settings.registry
        self._providers = settings.providers or Providers()
        self._resets_by_mail = settings.mail != "off"
        self._sends_mail = settings.mail == "ses"
        self._deployment, self._decoys = settings.deployment, settings.decoys
        self._queue = settings.mail_queue if settings.mail != "mailbox" else ""
        self._log = Log(service=settings.deployment, level="ERROR", metrics=False)

    def place(self) -> moving.Place:
        """Return the parts of the deployment that the commands ``import``, ``export`` and ``hashes`` use."""
        return moving.Place(
            database=self._database,
            ring=self._key_ring.current(now=clock()),
            audit=Audit(self._database, self._log),
            deployment=self._deployment,
            decoys=self._decoys,
            providers=self._providers,
            clock=clock,
        )

    def make_ring(self) -> str:
        """Make the key ring, if there is none. If the tables have accounts, the operator must type the table prefix.

        Raises ``AccountsWithoutRing`` without that confirmation.
        """
        try:
            made = self._key_ring.create(now=clock())
        except AccountsWithoutRing:
            prefix = self._database.tables.prefix
            print(
                f"warning: the tables {prefix}-* hold accounts, and no key ring. With a new key ring every login ends, "
                "and no password and no e-mail address of these accounts can be used again: all users must register "
                "again. remedy: restore the key ring from a backup: docs/baton/runbooks/kms-key-lost.md"
            )
            try:
                typed = self._ask(f"Type {prefix} to create a new key ring over these accounts: ")
            except EOFError:  # without a terminal there is no confirmation
                typed = ""
            if typed.strip() != prefix:
                raise
            made = self._key_ring.create(now=clock(), over_accounts=True)
        return "ok: created the key ring" if isinstance(made, Done) else "ok: the key ring exists, nothing was changed"

    def change_ring(self, command: str) -> str:
        """Change the keys or the not-before of the key ring, and wait until the change is effective everywhere."""
        change = CHANGES[command]
        ring = self._key_ring.current(now=clock())
        changed = change.make(ring, secrets.token_bytes, now=clock())
        if not isinstance(self._key_ring.replace(changed, expected_revision=ring.revision), Done):
            raise errors.Unavailable("another process changed the key ring at the same time: run the command again")
        for left in range(change.takes_s, 0, -PROGRESS_EVERY_S):
            print(f"\r  written; effective in {left:>4} s ", end="", flush=True)
            self._pause(min(PROGRESS_EVERY_S, left))
        return f"\rok: {command}, revision {changed.revision}; {change.effect}"

    def set_status(self, command: str, email: str) -> str:
        """Disable, enable or delete an account."""
        act = SetStatus(record=self._record(), forget_later=self._forget_later(), **self._accounts())
        account = act(email, STATUSES[command])
        if STATUSES[command] is Status.DELETED:
            forget = Forget(lineage_store=LineageStore(self._database), audit=Audit(self._database, self._log))
            forget(account, deleted_at=clock())
        effect = "its owner can log in" if STATUSES[command] is Status.ACTIVE else "all its logins have ended"
        return f"ok: {command}d account {account}; {effect}"

    def after_restore(self, since: str, prefix: str = "") -> str:
        """Apply to restored tables the events that an audit table has since a time. Return the result as text.

        ``prefix`` is the table prefix of the audit table to read. The default is the prefix of the deployment.
        """
        import boto3  # noqa: PLC0415 - slow to import

        began, now = after_restore.read_time(since), clock()
        audit = Tables(prefix).audit if prefix else self._database.tables.audit
        events = restore.events_since(boto3.client("dynamodb"), audit, began)
        ring = self._key_ring.current(now=now)
        applied = after_restore.apply(events, self._database, ring, since=began, mail=self._resets_by_mail, now=now)
        return str(applied)

    def forget(self, account: AccountId) -> str:
        """Delete the events of a deleted account. If there is a mail queue, queue a call of the hook ``on_delete``."""
        lineage_store = LineageStore(self._database)
        if lineage_store.get(account) is None:
            raise errors.NotFound("no account has this id")
        Forget(lineage_store=lineage_store, audit=Audit(self._database, self._log))(account, deleted_at=clock())
        forget_later = self._forget_later()
        if forget_later is None:
            return f"ok: deleted the events of account {account}"
        forget_later(account, now=clock())
        return f"ok: deleted the events of account {account}; on_delete of your app is called in a minute"

    def change_role(self, change: str, email: str, role: str) -> str:
        """Give an account a role, or take it away."""
        roles = SetRoles(record=self._record(), clients=self._clients, **self._accounts())
        try:
            account = roles.grant(email, role) if change == "grant" else roles.revoke(email, role)
        except UnknownRole as unknown:
            raise errors.NotFound(str(unknown)) from None
        has = "has" if change == "grant" else "does not have"
        return f"ok: account {account} {has} the role {role}; tokens show this from the next exchange"

    def show_roles(self, email: str) -> str:
        """Describe the roles of an account, and whether an operator requires a second factor from it."""
        rights = ShowRoles(clients=self._clients, **self._accounts())(email)
        unknown = ", ".join(f"code {code}, which the registry does not have" for code in sorted(rights.unknown))
        strict = self._clients.second_factor_roles
        named = ", ".join(
            f"{role} (only with a second factor)" if role in strict else role for role in sorted(rights.roles)
        )
        second_factor = "required by an operator" if rights.second_factor_required else "not required by an operator"
        roles = ", ".join(part for part in (named, unknown) if part) or "none"
        return f"ok: account {rights.account}; roles: {roles}; second factor: {second_factor}"

    def require_second_factor(self, email: str, change: str) -> str:
        """Require a second factor from an account, or end this requirement."""
        act = RequireSecondFactor(record=self._record(), **self._accounts())
        account = act(email, required=change == "require")
        if change == "require":
            return f"ok: a second factor is required at the next login of account {account}; no login ends"
        return f"ok: no operator requires a second factor from account {account}"

    def show_mail(self, email: str) -> str:
        """Describe whether mails to an address are sent. The address needs no account."""
        stored = SuppressedAddresses(self._database).get(self._index_of(email))
        if stored is None or not is_suppressed(stored, now=clock()):
            return "ok: mails to this address are sent"
        said = "was reported as spam" if stored.why == "complaint" else "bounced"
        since = time.strftime("%Y-%m-%d", time.gmtime(stored.at))
        until = time.strftime("%Y-%m-%d", time.gmtime(stored.until)) if stored.until else "an operator lifts this"
        return f"ok: no mail to this address is sent, because a mail {said} on {since}, until {until}"

    def lower_attestation(self, client_id: str, hours: str) -> str:
        """Lower the attestation rule of a client from ``required`` to ``report`` for some hours. 0 hours restore it.

        Raises ``NotFound`` for an unknown client, a client whose rule is not ``required``, and hours out of range.
        """
        client = self._clients.get(client_id)
        if client is None:
            raise errors.NotFound(f"the client registry has no client {client_id!r}")
        lower = LowerToReport(
            entropy=secrets.token_bytes, key_ring=self._key_ring, store=StoredAttestations(self._database)
        )
        try:
            until = lower(client, hours=int(hours) if hours.isdecimal() else -1, now=clock())
        except ValueError as wrong:
            raise errors.NotFound(str(wrong)) from None
        if int(hours) == 0:
            return f"ok: evidence is required from {client_id} again, within five minutes"
        end = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(until))
        return f"ok: {client_id} is judged as report until {end}; every environment reads it within five minutes"

    def set_provider_key(self, file: str) -> str:
        """Store the private key for Apple. Raises ``NotFound`` if no provider is Apple, or the file has no such key."""
        act = SetProviderKey(
            key_ring=self._key_ring,
            tokens=StoredProviderTokens(self._database),
            providers=self._providers,
        )
        return act(file)

    def lift_suppression(self, email: str) -> str:
        """Allow mails to an address again after a bounce or a spam report.

        Raises ``NotFound`` if Baton has not stopped mails to this address.
        """
        if not isinstance(SuppressedAddresses(self._database).lift(self._index_of(email)), Done):
            raise errors.NotFound("mails to this address are not stopped")
        return (
            "ok: mails to this address are sent again. next: Amazon SES has a list of its own: "
            "aws sesv2 delete-suppressed-destination --email-address E-MAIL"
        )

    def _outbox(self) -> SqsOutbox | None:
        """Return the queue of the deployment, or ``None`` if there is no queue.

        AWS finds the queue by its name, because its URL in the settings may lack the account id.
        """
        name = self._queue.rpartition("/")[2]
        if not name:
            return None
        sqs = AwsClient("sqs")
        return SqsOutbox(sqs.call("get_queue_url", QueueName=name)["QueueUrl"], sqs)

    def _forget_later(self) -> QueueForget | None:
        outbox = self._outbox()
        if outbox is None:
            return None
        return QueueForget(entropy=secrets.token_bytes, key_ring=self._key_ring, outbox=outbox)

    def _index_of(self, email: str) -> EmailIndex:
        return self._key_ring.current(now=clock()).email_index(canonical_email(email))

    def remove_factors(self, email: str) -> str:
        """Remove authenticator app, passkeys, recovery codes and remembered devices of an account. No login ends."""
        act = RemoveFactors(record=self._record(), store=Factors(self._database), **self._accounts())
        account = act(email)
        return (
            f"ok: account {account} has no second factor; no login has ended. next: if another person asked for this, "
            "disable the account"
        )

    def _accounts(self) -> Any:  # noqa: ANN401 - the common members of the flows
        return {
            "clock": clock,
            "key_ring": self._key_ring,
            "users": Users(self._database),
            "lineage_store": LineageStore(self._database),
        }

    def _record(self) -> Record:
        return Record(
            clock=clock,
            moment=time.time,
            entropy=secrets.token_bytes,
            ephemeral=Ephemeral(self._database),
            audit=Audit(self._database, self._log),
            log=self._log,
            notices=self._notices(),
        )

    def _notices(self) -> QueueNotice | None:
        """Return the function that queues a notice to the owner. ``None`` if the deployment sends no mail."""
        outbox = self._outbox() if self._sends_mail else None
        if outbox is None:
            return None
        queue = QueueMail(clock=clock, entropy=secrets.token_bytes, key_ring=self._key_ring, outbox=outbox)
        return QueueNotice(queue=queue, log=self._log)


def _run(words: list[str], *, pause: Callable[[float], None], ask: Callable[[str], str]) -> str | None:
    """Run one command and return its result. ``None``: there is no such command."""
    match words:
        case ["make-ring"]:
            return Operator(ask=ask).make_ring()
        case [command] if command in CHANGES:
            return Operator(pause=pause).change_ring(command)
        case [command, email] if command in STATUSES:
            return Operator().set_status(command, email)
        case ["forget", account]:
            return Operator().forget(AccountId(account))
        case _:
            return _run_for_a_person(words)


def _run_for_a_person(words: list[str]) -> str | None:
    match words:
        case ["role", "grant" | "revoke" as change, email, role]:
            return Operator().change_role(change, email, role)
        case ["roles", email]:
            return Operator().show_roles(email)
        case ["second-factor", email, "require" | "release" as change]:
            return Operator().require_second_factor(email, change)
        case ["factors", email, "remove"]:
            return Operator().remove_factors(email)
        case ["provider-key", "apple", file]:
            return Operator().set_provider_key(file)
        case _:
            return _run_other(words)


def _run_other(words: list[str]) -> str | None:
    match words:
        case ["attestation", "--client", client_id, "--report", "--hours", hours]:
            return Operator().lower_attestation(client_id, hours)
        case ["after-restore", *_]:
            return _after_restore(words)
        case ["mail", email]:
            return Operator().show_mail(email)
        case ["mail", email, "lift"]:
            return Operator().lift_suppression(email)
        case ["well-known", folder]:
            return write_well_known(folder)
        case _:
            return None


def _after_restore(words: list[str]) -> str | None:
    match words:
        case ["after-restore", "--since", since]:
            return Operator().after_restore(since)
        case ["after-restore", "--since", since, "--audit", prefix]:
            return Operator().after_restore(since, prefix)
        case _:
            return None


def write_well_known(folder: str) -> str:
    """Write the files for ``https://{rp_id}/.well-known/`` from the client registry. This needs no AWS account."""
    written = well_known.write(read_settings().registry, Path(folder))
    if not written:
        raise errors.NotFound("no client of the registry has an app, and there is no table [webauthn]")
    names = ", ".join(file.name for file in written)
    return f"ok: {written[0].parent} has {names}; serve them at https://<rp_id>/.well-known/ as application/json"


@aws.in_one_line
def main(
    arguments: Sequence[str], *, pause: Callable[[float], None] = time.sleep, ask: Callable[[str], str] = input
) -> int:
    """Run one command. Return 2 for wrong arguments, 1 for a failure, 3 for an import with refusals or conflicts."""
    try:
        if stage := os.environ.get("STAGE"):
            enter(stage)
        if arguments and arguments[0] in moving.COMMANDS:
            return moving.run(arguments, lambda: Operator().place())
        result = _run(list(arguments), pause=pause, ask=ask)
        if result is None:
            print(__doc__, file=sys.stderr)
            return 2
        print(result)
    except (SettingsProblems, UnknownStage) as problems:
        print(f"error: {problems}", file=sys.stderr)
        return 1
    except errors.Refusal as refusal:
        print(f"error: {arguments[0]} was not done: {refusal.reason or refusal.detail}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
