"""Write one account of an import in one transaction, which fails if one of its items exists."""

from collections.abc import Callable

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.arriving import Arrival, account_ids, account_of
from chalicelib.baton.accounts.ports import Users
from chalicelib.baton.effects import Done, Entropy
from chalicelib.baton.factors.hashes.kinds import read_hash
from chalicelib.baton.federation.ports import Identities, IdentityTaken
from chalicelib.baton.federation.providers import Providers
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ring import Ring
from tools.moving.identities import items_of
from tools.moving.line import Refused, judge, read_line
from tools.moving.pace import Pace
from tools.moving.sources import Record

TRIES = 8
_THROTTLING = ("Throttling", "ThroughputExceeded", "RequestLimitExceeded")


class Outcome(Struct, frozen=True, omit_defaults=True):
    """The outcome of a record.

    The result file of the import (``FILE.result``) gets all members except ``kind``, the kind of the password hash.
    """

    source_id: str
    outcome: str
    account_id: str = ""
    reason: str = ""
    text: str = ""
    kind: str = ""


class Write(Struct, frozen=True, kw_only=True):
    """Import records. Several threads may share an instance. With ``dry_run``, it only reads existing accounts."""

    users: Users
    identities: Identities
    providers: Providers
    ring: Ring
    entropy: Entropy
    now: int
    pace: Pace
    pause: Callable[[float], None]
    dry_run: bool = False

    def __call__(self, record: Record) -> Outcome:
        """Import a record. Raises ``Unavailable`` if the store stays unavailable."""
        if record.skipped:
            return Outcome(record.source_id, "skipped", reason=record.skipped)
        if record.body is None:
            return Outcome(record.source_id, "refused", reason=record.refused)
        line = read_line(record.body)
        if isinstance(line, Refused):
            return Outcome(record.source_id, "refused", reason=line.reason, text=line.text)
        arrival = judge(line, providers=self.providers, now=self.now)
        if isinstance(arrival, Refused):
            return Outcome(line.source_id, "refused", reason=arrival.reason, text=arrival.text)
        kind = "migrate" if arrival.migrate else "no password"
        if arrival.password_hash is not None:
            kind = read_hash(arrival.password_hash).name
        outcome, account_id, reason = self._patiently(arrival)
        return Outcome(line.source_id, outcome, account_id, reason, kind=kind)

    def _patiently(self, arrival: Arrival) -> tuple[str, str, str]:
        """Write an account, and repeat the write if DynamoDB is unavailable. ``dry_run``: only look for the account.

        A repetition is safe: if an earlier try made the account, the repetition finds the account.
        """
        for once in range(TRIES):
            self.pace.wait()
            try:
                return self._look(arrival) if self.dry_run else self._write(arrival)
            except errors.Unavailable as unavailable:
                if any(word in unavailable.reason for word in _THROTTLING):
                    self.pace.throttled()
                if once == TRIES - 1:
                    raise
                self.pause(min(4.0, 0.1 * 2**once))
        raise AssertionError  # the last round returns or raises

    def _write(self, arrival: Arrival) -> tuple[str, str, str]:
        user, account_state = account_of(arrival, self.ring, entropy=self.entropy, now=self.now)
        items = items_of(arrival, user, self.ring, entropy=self.entropy)
        taken = (
            self.identities.sign_up(user, account_state, *items) if items else self.users.register(user, account_state)
        )
        if isinstance(taken, Done):
            return "created", user.account, ""
        return self._found(arrival, taken.account, identity=isinstance(taken, IdentityTaken))

    def _look(self, arrival: Arrival) -> tuple[str, str, str]:
        for code, one in arrival.identities.items():
            stored = self.identities.get(self.ring.identity_index(code, one.issuer, one.sub))
            if stored is not None:
                return self._found(arrival, stored.account, identity=True)
        found = self.users.find(self.ring.email_index(arrival.email)) if arrival.email else None
        found = found or self._own(arrival)
        return ("created", "", "") if found is None else self._found(arrival, found, identity=False)

    def _found(self, arrival: Arrival, account: AccountId, *, identity: bool) -> tuple[str, str, str]:
        """Return the outcome for an account that exists. The account is never changed.

        The outcome does not contain the id of another person's account: the team must not connect its own data with
        that account. ``identity``: the account has an identity of the line. A person may have linked the identity to
        another account after the account of the line was made. Then the outcome is ``unchanged``.
        """
        others = account not in self._ids(arrival)
        if others and not identity:
            return "conflict", "", "address_taken"
        own = self._own(arrival)
        if own is not None:
            return "unchanged", own, ""
        return ("conflict", "", "identity_taken") if others else ("refused", "", "account_deleted")

    def _own(self, arrival: Arrival) -> AccountId | None:
        return next((one for one in self._ids(arrival) if self.users.get(one) is not None), None)

    def _ids(self, arrival: Arrival) -> tuple[AccountId, ...]:
        return account_ids(arrival, self.ring, now=self.now)
