"""Register and log in: the two journeys that begin a lineage, and may be repeated with their attempt."""

from collections.abc import Iterable

from msgspec import Struct

from chalicelib.core import errors, passwords
from chalicelib.core.clients import Client, Clients
from chalicelib.core.email import canonical_email
from chalicelib.core.key_ring import Ring
from chalicelib.core.lineage import NoRoom, ended_of, removed_by_login, replaced_by_login
from chalicelib.core.model import (
    NO_ATTEMPT,
    AccountId,
    Assurance,
    Binding,
    Gate,
    KeyBinding,
    Lineage,
    LineageId,
    NoBinding,
    SecretBinding,
    Status,
)
from chalicelib.core.policy import LABEL_BYTES_MAX, LINEAGES_MAX, START_OVER_MAX
from chalicelib.core.ports import Clock, Done, Entropy, Gates, KeyRing, Signals, Users
from chalicelib.core.public_key import PublicKey
from chalicelib.core.signatures import Message, check_digest
from chalicelib.flows.credentials import Credentials, login_buckets
from chalicelib.flows.issue import Issue, Issued, with_secret
from chalicelib.flows.proof import Proof, attempt_of
from chalicelib.flows.record import Record

_RETIRED = "This client_id is out of service. Update the app, or use the client_id that replaces it."
PASSWORD_ALONE = Assurance(acr="aal1", amr=("pwd",))


class Device(Struct, frozen=True):
    """What a device says of itself: a name to show, and the key it introduces or the HMAC secret it asks for."""

    name: str = ""
    public_key: PublicKey | None = None
    hmac: bool = False


class Introduction(Struct, frozen=True):
    """Who wants a lineage, for which client, bound to what, under which attempt."""

    email: str
    client: Client
    device: Device
    binding: Binding
    attempt: str
    proved: LineageId | None = None
    """The device's last login, whose HMAC secret signed this request."""

    def lineage(self, lineage_id: LineageId, *, epoch: int, now: int) -> Lineage:
        """Begin a lineage at generation 0."""
        mechanism = self.client.mechanism
        return Lineage(
            id=lineage_id,
            epoch=epoch,
            generation=0,
            attempts=(NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT),
            issued_at=now,
            expires_at=now + mechanism.absolute_s,
            binding=self.binding,
            client=self.client.code,
            auth_time=now,
            assurance=PASSWORD_ALONE,
            label=_label(self.device.name),
            in_use_since=now if mechanism.slides else None,
        )


class Introduce(Struct, frozen=True):
    """Read an introduction. Asks no database."""

    entropy: Entropy
    clients: Clients
    proof: Proof

    def __call__(self, message: Message, *, email: str, client_id: str, device: Device, now: int) -> Introduction:
        """Check address, client and key; a key must sign the very request that introduces it.

        A device that asks for an HMAC secret may sign by the secret of its last login: so it is a known device.
        """
        canonical = canonical_email(email)
        client = self.clients.get(client_id)
        if client is None:
            raise errors.UnknownClient
        if client.retired:
            raise errors.UnauthorizedClient("out of service", detail=_RETIRED)
        if device.public_key is not None and device.hmac:
            raise errors.Malformed(
                "two bindings", pointer="/device/binding", detail="Send `public_key` or `binding`, not both."
            )
        signature = None
        binding: Binding = SecretBinding() if device.hmac else NoBinding()
        if device.public_key is not None:
            signature = self.proof.introduced(message, device.public_key, now=now)
            binding = KeyBinding(device.public_key.thumbprint)
        else:
            check_digest(message)
            signature = self.proof.last_login(message, now=now) if device.hmac else None
        if client.binding == "required" and isinstance(binding, NoBinding):
            raise errors.SignatureRequired(
                "this client's logins are bound",
                path=message.path,
                detail="Logins of this client are bound to a key. Send `device.public_key` and sign with that key, or "
                'send `device.binding` "hmac". For a first try by hand use client `simple`, which requires no key.',
            )
        return Introduction(
            email=canonical,
            client=client,
            device=device,
            binding=binding,
            attempt=attempt_of(message, signature, self.entropy),
            proved=LineageId(signature.keyid) if signature and device.hmac else None,
        )


class FirstTokens(Struct, frozen=True):
    """Issue the tokens of a lineage that was just begun, or begun before by this same attempt."""

    issue: Issue

    def begun(
        self, lineage: Lineage, introduction: Introduction, *, account: AccountId, ring: Ring, now: int
    ) -> Issued:
        """Answer with the tokens, and the HMAC secret where there is one."""
        issued = self.issue(
            lineage,
            account=account,
            client=introduction.client,
            key=introduction.device.public_key,
            ring=ring,
            now=now,
        )
        return with_secret(issued, lineage, ring)

    def begun_before(
        self, gate: Gate, introduction: Introduction, ids: Iterable[LineageId], *, ring: Ring, now: int
    ) -> Lineage | None:
        """Find the lineage this attempt began before, by what it would be called (``Ring.lineage_ids``).

        Raises ``Superseded`` when that lineage has gone on, has ended, or is bound to something else.
        """
        for candidate in ids:
            lineage = gate.lineages.get(candidate)
            if lineage is None:
                continue
            idle_s = introduction.client.mechanism.idle_s
            if (
                lineage.generation != 0
                or lineage.binding != introduction.binding
                or lineage.client != introduction.client.code
                or ended_of(gate, lineage, now=now, fence=ring.fence, idle_s=idle_s) is not None
            ):
                raise errors.Superseded("the lineage of this attempt has gone on")
            return lineage
        return None


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
                raise errors.InvalidCredentials("disabled while it was logging in")
        raise errors.Unavailable("the gate kept moving under a login")


def _label(name: str) -> str:
    """Cut a device's name to 32 bytes, between characters."""
    return name.encode()[:LABEL_BYTES_MAX].decode(errors="ignore")
