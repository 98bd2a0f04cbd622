"""Register the functions of a team. Baton calls these functions when it exports, deletes or migrates an account."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock
from chalicelib.baton.http.dispatch import Dispatch
from chalicelib.baton.ids import AccountId
from chalicelib.baton.policy import DAY_S
from chalicelib.baton.settings import Settings

if TYPE_CHECKING:
    from datetime import date

    from chalicelib.baton.accounts.export import OnExport
    from chalicelib.baton.accounts.forget import OnDelete
    from chalicelib.baton.accounts.migration import Migrated, Migration

_FIRST_DAY = 719_163
"""The ordinal of 1970-01-01 in the calendar of ``datetime.date``."""


class TeamFunctions:
    """The methods that register the functions of a team. ``Baton`` is a subclass."""

    settings: Settings
    clock: Clock
    _dispatch: Dispatch
    _on_export: "OnExport | None" = None
    _on_delete: "OnDelete | None" = None
    _migration: "Migration | None" = None

    def on_export(self, function: Callable[[AccountId], object]) -> Callable[[AccountId], object]:
        """Decorate the function that returns what your app stores about an account, for ``GET /me/export``.

        The member ``app`` of the export has the result of the function, as JSON.

        Raises ``RuntimeError`` if a function is already registered.
        """
        if self._on_export is not None:
            raise RuntimeError("on_export was called before: one function returns all that your app stores")
        self._on_export = function
        return function

    def on_delete(self, function: Callable[[AccountId], object]) -> Callable[[AccountId], object]:
        """Decorate the function that deletes what your app stores about an account.

        After the deletion of an account, the Lambda function ``jobs`` calls your function at least once: a second call
        for the same account must succeed. If your function raises, ``jobs`` calls it again. If the stage has
        the hardened template, an alarm fires after three failures.

        Raises ``RuntimeError`` if a function is already registered, or if the deployment has no queue
        (``BATON_MAIL_QUEUE``).
        """
        if self._on_delete is not None:
            raise RuntimeError("on_delete was called before: one function deletes all that your app stores")
        if not self.settings.has_queue:
            raise RuntimeError(
                "on_delete needs the queue of jobs: set BATON_MAIL_QUEUE. docs/baton/mail.md, The queue without mail"
            )
        self._on_delete = function
        return function

    def migrate_with(self, hook: "Callable[[str, str], Migrated | None]", *, until: "date") -> None:
        """Register ``hook(email, password)``, which checks a password in another system when a person first logs in.

        The hook returns ``Migrated`` if the password is right in the other system, otherwise ``None``. If the hook
        raises or takes more than three seconds, the login gets 503. From 00:00 UTC of the day ``until``, Baton no
        longer calls the hook.

        docs/baton/moving.md lists the logins that call the hook.

        Raises ``RuntimeError`` if a hook is already registered, and ``ValueError`` if ``until`` is more than 366 days
        ahead.
        """
        from chalicelib.baton.accounts.migration import MIGRATION_DAYS_MAX, Migration  # noqa: PLC0415 - cold start

        if self._migration is not None:
            raise RuntimeError("migrate_with was called before: one function calls all other systems")
        ends = (until.toordinal() - _FIRST_DAY) * DAY_S
        if ends - self.clock() > MIGRATION_DAYS_MAX * DAY_S:
            raise ValueError(
                f"until is at most {MIGRATION_DAYS_MAX} days ahead: until then answer times reveal who has moved"
            )

        def noted(email: str, password: str) -> "Migrated | None":
            try:
                return hook(email, password)
            except errors.Refusal:
                raise
            except Exception as defect:
                self._dispatch.note_defect(defect)
                raise

        self._migration = Migration(noted, ends)
