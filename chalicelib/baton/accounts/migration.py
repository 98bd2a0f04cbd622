"""The first login of a person from another system: the app's function checks the password in that system.

The function is called only for an address without an account, or for an account that waits for its first password
(``User.migrate``). Before the call, the rate limits count the login, and the password is checked against the decoy. So
up to the call, a login takes as long as with any unknown address. The call takes additional time, so the duration of a
login reveals which addresses have already moved. Therefore a migration ends at a set date.
"""

from collections.abc import Callable

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.arriving import Arrival, account_of
from chalicelib.baton.accounts.ports import Users
from chalicelib.baton.effects import Done, Entropy
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.normal_form import normalise
from chalicelib.baton.factors.password_hash import hash_password
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.model import AccountState, Status
from chalicelib.baton.policy import REQUEST_MAX_S

MIGRATION_ANSWER_MAX_S = 3
"""How long a login waits for the function of ``Baton.migrate_with``, in seconds."""
MIGRATION_DAYS_MAX = 366
"""The longest time until the end of a migration, in days. Until then, the duration of a login shows who has moved."""
assert MIGRATION_ANSWER_MAX_S < REQUEST_MAX_S


class Migrated(Struct, frozen=True):
    """The answer of the app's function if the password is right: the account moves to Baton now.

    ``email_verified``: the person proved the address in the other system.
    ``source_id``: the id of the account in the other system, for the event ``account_migrated``.
    ``second_factor``: the other system also requires a second factor, which the person has not proved yet. Before the
    first token, the person must then send back a mailed code and enrol a factor at Baton.
    """

    email_verified: bool = False
    source_id: str = ""
    second_factor: bool = False


Hook = Callable[[str, str], Migrated | None]
"""The app's function: it gets address and password. ``None``: the other system refuses this address or password."""


class Migration(Struct, frozen=True):
    """The app's function, and the time from which the function is no longer called (Unix time, in seconds)."""

    hook: Hook
    until: int


class Migrate(Struct, frozen=True, kw_only=True):
    """Check a password with the app's function, and store the password if it is right.

    The password is stored in a new account, or in an existing account that has no password.
    """

    entropy: Entropy
    users: Users
    record: Record
    migration: Callable[[], Migration | None]
    """Returns the migration, or ``None``. ``Baton.migrate_with`` may set the migration after this object is made."""
    mail: bool

    def __call__(  # noqa: PLR0913 - the values of a login
        self,
        email: str,
        password: str,
        *,
        claimed: AccountId | None,
        user: User | None,
        account_state: AccountState | None,
        ring: Ring,
        now: int,
    ) -> User | None:
        """Return the user, who has a password now. ``None``: the function was not called, or returned ``None``.

        The result is also ``None`` if mail is off, and the other system requires a second factor.

        ``claimed`` is the account that has the address, or ``None``. Raises ``Unavailable`` if the function raises or
        is too slow, or if another request has made or changed the account meanwhile.
        """
        migration = self.migration()
        if migration is None or now >= migration.until:
            return None
        unknown = claimed is None and user is None
        waits = user is not None and user.migrate and user.password_hash is None
        if not (unknown or (waits and account_state is not None and account_state.status is Status.ACTIVE)):
            return None
        migrated = _asked(migration.hook, email, password)
        if migrated is None or (migrated.second_factor and not self.mail):
            # Without mail, no code can prove the mailbox. The password alone would then replace the second factor of
            # the other system.
            return None
        password_hash = hash_password(normalise(password), salt=self.entropy(16))
        if user is None:
            moved = self._make(email, password_hash, migrated, ring=ring, now=now)
        else:
            assert account_state is not None
            moved = self._complete(user, password_hash, migrated, account_state, ring=ring, now=now)
        details = {"source_id": migrated.source_id} if migrated.source_id else {}
        self.record("account_migrated", account=moved.account, details=details)
        return moved

    def _make(self, email: str, password_hash: str, migrated: Migrated, *, ring: Ring, now: int) -> User:
        arrival = Arrival(
            email=email,
            source_id=migrated.source_id,
            email_verified=migrated.email_verified,
            password_hash=password_hash,
            second_factor_required=migrated.second_factor,
        )
        user, account_state = account_of(arrival, ring, entropy=self.entropy, now=now)
        if not isinstance(self.users.register(user, account_state), Done):
            raise errors.Unavailable("the address got an account during a migration", by_caller=True)
        return user

    def _complete(
        self, user: User, password_hash: str, migrated: Migrated, account_state: AccountState, *, ring: Ring, now: int
    ) -> User:
        sealed = ring.encrypt_for(password_hash.encode(), account=user.account, nonce=self.entropy(12))
        outcome = self.users.set_first_password(
            user,
            sealed,
            expected=account_state,
            verified=migrated.email_verified,
            demands=migrated.second_factor,
            now=now,
        )
        stored = self.users.get(user.account) if isinstance(outcome, Done) else None
        if stored is None:
            raise errors.Unavailable("the account changed during a migration", by_caller=True)
        return stored


def _asked(hook: Hook, email: str, password: str) -> Migrated | None:
    """Call the function in a thread, and wait for its answer.

    Raises ``Unavailable`` if the function fails or is too slow. Such a call does not show whether the password is
    right.

    A function that is too slow is not stopped. Its late answer is dropped.
    """
    import threading  # noqa: PLC0415 - cold start

    answers: list[Migrated | None] = []
    failures: list[str] = []

    def ask() -> None:
        try:
            answers.append(hook(email, password))
        except Exception as failure:  # noqa: BLE001 - any failure is a server error, and its text may have the password
            failures.append(failure.reason if isinstance(failure, errors.Refusal) else type(failure).__name__)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(MIGRATION_ANSWER_MAX_S)
    if failures:
        raise errors.Unavailable(f"migrate_with: the function raised {failures[0]}")
    if not answers:
        raise errors.Unavailable("migrate_with: the function is too slow")
    return answers[0]
