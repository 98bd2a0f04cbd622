"""``Baton``, the object that builds the backend, registers its routes, and has the decorators for your own routes."""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Self, TypeVar

from chalice.app import Chalice
from msgspec.structs import replace

from chalicelib.baton.accounts.attributes import Accounts
from chalicelib.baton.browser.sites import SiteRule, own_origins
from chalicelib.baton.core_assembly import core_routes
from chalicelib.baton.decorators import Decorators
from chalicelib.baton.environment import EFFECTS, Effects
from chalicelib.baton.events.log import Log
from chalicelib.baton.events.names import is_app_event
from chalicelib.baton.events.record import Record
from chalicelib.baton.http import jobs, public_routes
from chalicelib.baton.http.dispatch import Dispatch
from chalicelib.baton.http.once import RunOnce
from chalicelib.baton.http.register import register, register_later, watch
from chalicelib.baton.http.signed import Later, Views, Web
from chalicelib.baton.late_parts import LateParts
from chalicelib.baton.later_routes import LATER
from chalicelib.baton.parts import Parts, product_of
from chalicelib.baton.routing import Route
from chalicelib.baton.settings import Settings, read_settings
from chalicelib.baton.storage.aws.credentials import source_of
from chalicelib.baton.storage.aws.service import AwsClient, TimeBudget
from chalicelib.baton.storage.aws.small_client import Endpoint
from chalicelib.baton.storage.aws.snapshot import import_late_modules
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.key_wrapping import KmsWrapper, LocalWrapper
from chalicelib.baton.storage.dynamodb.storage import dynamodb_storage
from chalicelib.baton.storage.ports import Storage
from chalicelib.baton.team import TeamFunctions
from chalicelib.baton.tokens.call import Call
from chalicelib.baton.tokens.caller import Caller
from chalicelib.baton.tokens.claims import AddClaims, Claims
from chalicelib.baton.tokens.issue import Issue
from chalicelib.baton.tokens.presented import Mismatches, RequestVerifier
from chalicelib.baton.tokens.token import KnownTokens, Names

if TYPE_CHECKING:
    from chalicelib.baton.background import Background
    from chalicelib.baton.browser.delivery import Deliver
    from chalicelib.baton.browser.sessions import WebSessions

E = TypeVar("E")


class Baton(Decorators, TeamFunctions):
    """A login backend for one Chalice application."""

    def __init__(self, settings: Settings, effects: Effects, claims: AddClaims | None = None) -> None:
        """Make the parts that a cold start needs. No connection is opened before the first request."""
        self.settings, self.deployment = settings, settings.deployment  # `deployment` begins the names of team tables
        self.clock, self.entropy = effects.clock, effects.entropy
        self.log = Log(
            service=settings.deployment,
            level=settings.log_level,
            metrics=not settings.development,
            write=effects.write,
        )
        self.clients = settings.registry
        self._names = Names(
            settings.issuer,
            settings.audience,
            settings.earlier_issuers,
            settings.providers.names if settings.providers else {},
        )
        self._store(effects)
        self._add_claims = claims and self._noting(claims)
        known = KnownTokens()
        self.issue = Issue(self._names, self.clients, known, self._add_claims)
        self.accounts = Accounts(self.lineage_store)
        self._late = LateParts(
            settings=settings,
            effects=effects,
            storage=self.storage,
            log=self.log,
            product=product_of(settings),
            service=self._service,
            time_budget=self._time_budget,
            on_delete=lambda: self._on_delete,
        )
        self._late.record = self.recorder = Record(
            clock=self.clock,
            moment=time.time,
            entropy=self.entropy,
            ephemeral=self.ephemeral,
            audit=self.audit,
            log=self.log,
            notices=self._late.tell if settings.mail != "off" else None,
        )
        self._proof = RequestVerifier(
            key_ring=self.key_ring,
            clients=self.clients,
            names=self._names,
            authorities=settings.authorities,
            mismatches=Mismatches(self.log),
            known=known,
            development=settings.development,
        )
        self._dispatch = Dispatch(
            clock=self.clock,
            entropy=self.entropy,
            log=self.log,
            origins=settings.origins,
            cookie_origins=self.clients.cookie_origins,
            origin_secret=settings.origin_secret,
            development=settings.development,
            resource_metadata=settings.issuer + public_routes.PROTECTED_RESOURCE,
        )
        if not settings.development:  # a developer's machine may be slow, and Lambda does not end its requests
            self._dispatch.begin = self._time_budget.begin
        if settings.development:
            self._dispatch.after = self._work_off
        self._parts = self._make_parts()
        self._views = Views(
            self._dispatch,
            Call(
                clock=self.clock,
                entropy=self.entropy,
                proof=self._proof,
                lineage_store=self.lineage_store,
                ephemeral=self.ephemeral,
                log=self.log,
                own_factors=self._late.own_factors,
            ),
            RunOnce(store=self.once, key_ring=self.key_ring, clock=self.clock, entropy=self.entropy, log=self.log),
            self.clients,
            self._web(),
        )
        self._core_routes = tuple(core_routes(self._parts))
        self._later = Later(self._make_later, self._views)

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] | None = None, *, claims: Callable[[Claims], Mapping[str, object]] | None = None
    ) -> Self:
        """Build Baton from the settings in the environment. This makes no network call.

        Args:
            environ: the settings to read. Default: the environment variables of the process.
            claims: a pure function that returns claims. Baton adds these claims to each JWT of a login, and to the
                introspection of an active token. A narrowed token does not have them. They must have at most 1 KB as
                JSON, and no registered claims. If the function raises or breaks one of these rules, the answer is 503.

        Raises:
            ValueError: the settings are invalid. The message lists every problem.

        """
        effects = EFFECTS.get() or Effects(lambda: int(time.time()), secrets.token_bytes)
        settings = read_settings(effects.settings if environ is None else environ)
        if effects.providers is not None and settings.providers is None:
            settings = replace(settings, providers=effects.providers(settings.registry))
        if settings.snapshot:
            import_late_modules()
        return cls(settings, effects, claims)

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every route of Baton. Reading this also makes the routes of ``LATER``, which a cold start does not make."""
        return (*self._core_routes, *self._later.routes)

    def install(self, app: Chalice) -> None:
        """Register Baton's routes and jobs with ``app``. You may register your own routes before or after this call.

        Raises ``RuntimeError`` at a second call.
        """
        if self._dispatch.app is not None:
            raise RuntimeError("install was called before: a Baton serves one application")
        self._dispatch.app = app
        watch(app, self._dispatch)
        app.register_middleware(self._dispatch.middleware, "http")
        register(app, self._core_routes, self._views)
        register_later(app, LATER, self._later)
        jobs.install(
            jobs.Jobs(
                dispatch=self._dispatch,
                rotate_keys=self._rotate_keys,
                audit_configuration=self._audit_configuration,
                fetch_revocations=self._late.fetch_revocations,
                revoke_tokens=self._revoke_tokens,
                carry_out=self._late.carry_out,
                take_feedback=self._late.take_feedback,
                feedback_topic=f"{self.deployment}-mail-feedback",
                operate=self._operate,
            )
        )
        app.register_blueprint(jobs.blueprint)
        if self.settings.mail_queue and self.settings.mail != "mailbox":
            jobs.register_queue(app, self.settings.mail_queue.rpartition("/")[2])
        if self.settings.mail == "ses":
            jobs.register_feedback(app, f"{self.deployment}-mail-feedback")

    def job(self, handler: Callable[[E], None]) -> Callable[[E], None]:
        """Decorate the function of a scheduled job, below ``@app.schedule``.

        The log lines of the job get a request id. Baton logs an exception, and raises it again. So Lambda counts the
        failure and runs the job again.
        """
        return jobs.as_job(self._dispatch, handler)

    def record(self, event: str, caller: Caller, /, **facts: str | int) -> None:
        """Record an event of your own: a log line, a metric and a row of the account's audit.

        If the row cannot be written, this method raises no exception, and Baton logs the failure.

        - ``event``: ``app_`` and 1 to 60 letters, digits or ``_``. Any other name raises ``ValueError``.
        - ``facts``: Baton writes them only to the audit row. They must not contain a secret.
        """
        if not is_app_event(event):
            raise ValueError(f"an event of your own is named app_ and 1 to 60 letters, digits or _: {event!r}")
        self.recorder(event, account=caller.account, lineage=caller.device_id, client=caller.client_id, details=facts)

    def _noting(self, claims: AddClaims) -> AddClaims:
        """Wrap the team's function: log each exception, with the place where the function raised it."""

        def noted(about: Claims) -> Mapping[str, object]:
            try:
                return claims(about)
            except Exception as defect:
                self._dispatch.note_defect(defect)
                raise

        return noted

    def _store(self, effects: Effects) -> None:
        """Make the storage and keep its stores as members of this object."""
        settings = self.settings
        self._time_budget, self._aws = TimeBudget(), effects.aws
        self.access_key = source_of(settings.access_key) if settings.access_key else None
        self.database = DynamoDB(Tables(settings.table_prefix), self._service("dynamodb", settings.dynamodb_endpoint))
        self.storage = effects.storage(self._storage())
        self.users, self.lineage_store = self.storage.accounts, self.storage.lineages
        self.ephemeral, self.audit, self.key_ring = self.storage.one_time, self.storage.audit, self.storage.key_ring
        self.once = self.storage.once

    def _storage(self) -> Storage:
        if self.settings.storage == "memory":
            from chalicelib.baton.storage.memory.storage import memory_storage  # noqa: PLC0415 - in development only

            return memory_storage(self.entropy)
        key_id = self.settings.kms_key_id
        wrapper = KmsWrapper(key_id, self._service("kms", self.settings.kms_endpoint)) if key_id else LocalWrapper()
        return dynamodb_storage(self.database, wrapper, self.log, self.entropy)

    def _web(self) -> Web | None:
        """Return the two objects for browser logins, or ``None`` if no client gets its tokens in cookies."""

        def sessions() -> "WebSessions":
            from chalicelib.baton.browser_assembly import sessions_of  # noqa: PLC0415 - cold start

            return sessions_of(self._parts)

        def delivery() -> "Deliver":
            from chalicelib.baton.browser_assembly import delivery_of  # noqa: PLC0415 - cold start

            return delivery_of(self._parts)

        return Web(sessions, delivery) if self.clients.by_cookie else None

    def _make_later(self) -> tuple[Route, ...]:
        from chalicelib.baton.assembly import routes_of  # noqa: PLC0415 - cold start

        return routes_of(self._parts, self._views.web)

    def _rotate_keys(self) -> None:
        from chalicelib.baton.keys.daily import RotateKeys  # noqa: PLC0415 - cold start

        RotateKeys(clock=self.clock, entropy=self.entropy, key_ring=self.key_ring, log=self.log)()

    def _audit_configuration(self) -> None:
        from chalicelib.baton.background import audit_of  # noqa: PLC0415 - cold start

        audit_of(self.settings, self.database.tables, self.log)()

    def _revoke_tokens(self) -> None:
        self._late.revoke_tokens()

    @property
    def background(self) -> "Background":
        """The queue of orders, and the functions that carry out orders and process reports of Amazon SES."""
        return self._late.background

    def _work_off(self) -> None:
        """Carry out the orders that the request queued.

        An exception is logged as a defect, and the answer does not change.
        """
        try:
            self.background.pending.work_off(self.background.carry_out)
        except Exception as defect:  # noqa: BLE001 - the answer is already made
            self._dispatch.note_defect(defect)

    def _operate(self, event: object) -> dict[str, object]:
        """Answer a request of an operator."""
        from chalicelib.baton.accounts.operate import Operate  # noqa: PLC0415 - the API never runs it

        operate = Operate(
            clock=self.clock,
            key_ring=self.key_ring,
            users=self.users,
            lineage_store=self.lineage_store,
            audit=self.audit,
            clients=self.clients,
            record=self.recorder,
            forget_later=self.background.forget_later,
        )
        return operate(event)

    def _service(self, name: str, endpoint: str) -> AwsClient:
        """Return the client of an AWS service: the small AWS client if there is an access key, otherwise botocore."""
        small = Endpoint(endpoint, self.settings.region, self.access_key) if self.access_key else None
        return self._aws(name, AwsClient(name, endpoint=small, time_budget=self._time_budget))

    def _make_parts(self) -> Parts:
        return Parts(
            settings=self.settings,
            clock=self.clock,
            entropy=self.entropy,
            storage=self.storage,
            log=self.log,
            record=self.recorder,
            clients=self.clients,
            names=self._names,
            issue=self.issue,
            add_claims=self._add_claims,
            on_export=lambda: self._on_export,
            migration=lambda: self._migration,
            proof=self._proof,
            site=SiteRule(own_origins(self.settings.authorities, development=self.settings.development), self.log),
            late=self._late,
        )
