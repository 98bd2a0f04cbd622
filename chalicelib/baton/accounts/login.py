"""Register and log in: the two journeys that begin a lineage, and may be repeated with their attempt."""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.first_tokens import FirstTokens
from chalicelib.baton.accounts.login_request import Device, Introduce, Introduction
from chalicelib.baton.accounts.ports import Users
from chalicelib.baton.effects import Clock, Done
from chalicelib.baton.events.ports import Signals
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors import strength as passwords
from chalicelib.baton.factors.credentials import Credentials
from chalicelib.baton.factors.rate_limits import login_buckets
from chalicelib.baton.factors.refusals import InvalidCredentials
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.model import Gate, Status
from chalicelib.baton.lineages.ports import Gates
from chalicelib.baton.lineages.rules import NoRoom, ended_of, removed_by_login, replaced_by_login
from chalicelib.baton.policy import LINEAGES_MAX, START_OVER_MAX
from chalicelib.baton.routing import Message
from chalicelib.baton.tokens.issue import Issued


class Login(Struct, frozen=True):
    """Prove the password, get a lineage on this device."""

    clock: Clock
    key_ring: KeyRing
    introduce: Introduce
    clients: Clients
    credentials: Credentials
    users: Users
    gates: Gates
    first_tokens: FirstTokens
    signals: Signals
    record: Record

    def __call__(
        self, message: Message, *, source: str, email: str, password: str, client_id: str, device: Device
    ) -> Issued:
        """Answer with the first tokens, the same ones to a retry with the same attempt."""
        now = self.clock()
        ring = self.key_ring.current(now=now)
        secret = passwords.normalise(password)
        introduction = self.introduce(message, email=email, client_id=client_id, device=device, now=now)
        claimed = self.users.find(ring.email_index(introduction.email))
        # An address nobody claimed is looked up like any other: the same reads, the same hashing, the same answer.
        account = claimed or ring.decoy_account(introduction.email)
        gate = self.gates.get(account)
        buckets = login_buckets(account, gate, introduction.binding, proved=introduction.proved, source=source)
        self.credentials.check(secret, account=account, gate=gate, ring=ring, buckets=buckets, now=now)
        return self._admit(introduction, gate, account=account, ring=ring, now=now)

    def _admit(
        self, introduction: Introduction, gate: Gate | None, *, account: AccountId, ring: Ring, now: int
    ) -> Issued:
        verified_version = gate.verifier_version if gate else None
        idle_s_of = {client.code: client.mechanism.idle_s for client in self.clients}
        ids = ring.lineage_ids(introduction.email, introduction.attempt, now=now)
        for _ in range(START_OVER_MAX):
            if gate is None or gate.verifier_version != verified_version:
                break
            before = self.first_tokens.begun_before(gate, introduction, ids, ring=ring, now=now)
            if before is not None:
                self.signals.emit("login_retried", lineage=before.id)
                return self.first_tokens.begun(before, introduction, account=account, ring=ring, now=now)
            lineage = introduction.lineage(ids[0], epoch=gate.epoch, now=now)
            replaced = replaced_by_login(gate, introduction.binding, proved=introduction.proved)
            removed = removed_by_login(
                gate, replaced, now=now, fence=ring.fence, idle_s_of=idle_s_of, lineages_max=LINEAGES_MAX
            )
            if isinstance(removed, NoRoom):
                raise errors.TooManyRequests(
                    "no entry is old enough to make room",
                    retry_after=removed.until - now,
                    detail=f"This account began {LINEAGES_MAX} logins within minutes. Wait as `Retry-After` says.",
                )
            admitted = self.gates.admit(
                lineage, expected=gate, replaced=replaced, removed=removed, lineages_max=LINEAGES_MAX
            )
            if isinstance(admitted, Done):
                for one in {one.id: one for one in (*replaced, *removed)}.values():
                    if ended_of(gate, one, now=now, fence=ring.fence, idle_s=idle_s_of.get(one.client)) is None:
                        self.record("login_replaced", account=account, lineage=one.id)
                self.record("logged_in", account=account, lineage=lineage.id, client=introduction.client.id)
                return self.first_tokens.begun(lineage, introduction, account=account, ring=ring, now=now)
            gate = self.gates.get(account)
            if gate is not None and gate.status is not Status.ACTIVE:
                raise InvalidCredentials("disabled while it was logging in")
        raise errors.Unavailable("the gate kept moving under a login", by_caller=True)
