"""The parts that a cold start does not need. Each is imported and made at its first use."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from chalicelib.baton.environment import Effects
from chalicelib.baton.events.log import Log
from chalicelib.baton.events.ports import Told
from chalicelib.baton.events.record import Record
from chalicelib.baton.ids import AccountId
from chalicelib.baton.settings import Settings
from chalicelib.baton.storage.aws.service import AwsClient, TimeBudget
from chalicelib.baton.storage.ports import Storage
from chalicelib.baton.tokens.caller import OwnFactors

if TYPE_CHECKING:
    from chalicelib.baton.accounts.forget import OnDelete
    from chalicelib.baton.attestation.ports import Anchors
    from chalicelib.baton.background import Background
    from chalicelib.baton.factors.credentials import Credentials
    from chalicelib.baton.factors.ports import Fetch, Post
    from chalicelib.baton.federation.apple_tokens import RevokeTokens
    from chalicelib.baton.storage.fetch import HttpsFetch


class LateParts:
    """The parts that are made at their first use, such as the queue of orders and the password check."""

    def __init__(  # noqa: PLR0913 - parts of the deployment
        self,
        *,
        settings: Settings,
        effects: Effects,
        storage: Storage,
        log: Log,
        product: str,
        service: Callable[[str, str], AwsClient],
        time_budget: TimeBudget,
        on_delete: Callable[[], "OnDelete | None"],
    ) -> None:
        """Store what the late parts need. ``service`` returns the client of an AWS service, by name and endpoint."""
        self._settings, self._effects, self._storage, self._log = settings, effects, storage, log
        self._product = product
        self._service = service
        self._time_budget = time_budget
        self._on_delete = on_delete
        self.record: Record

    @cached_property
    def background(self) -> "Background":
        """The queue of orders, and the functions that carry out orders and process reports of Amazon SES."""
        from chalicelib.baton.background import MakeBackground  # noqa: PLC0415 - cold start

        return MakeBackground(
            settings=self._settings,
            clock=self._effects.clock,
            entropy=self._effects.entropy,
            storage=self._storage,
            log=self._log,
            product=self._product,
            mailbox=self._effects.mailbox,
            service=self._service,
            on_delete=self._on_delete,
        )()

    @cached_property
    def credentials(self) -> "Credentials":
        """The object that checks passwords, and reads which factors an account has."""
        from chalicelib.baton.factors.credentials import Credentials  # noqa: PLC0415 - cold start

        return Credentials(
            entropy=self._effects.entropy,
            users=self._storage.accounts,
            ephemeral=self._storage.one_time,
            log=self._log,
            record=self.record,
            limits=self._settings.limits,
            decoys=self._settings.decoys,
        )

    @cached_property
    def fetch(self) -> "Fetch":
        """The function that sends ``GET`` requests to services of other parties."""
        return self._effects.fetch or self._https

    @cached_property
    def post(self) -> "Post":
        """The function that sends forms to services of other parties."""
        return self._effects.post or self._https.post

    @cached_property
    def _https(self) -> "HttpsFetch":
        from chalicelib.baton.storage.fetch import HttpsFetch  # noqa: PLC0415 - cold start

        return HttpsFetch(self._time_budget)

    @cached_property
    def anchors(self) -> "Anchors":
        """The root certificates for the attestation of apps and devices."""
        from chalicelib.baton.attestation.judge import pinned_anchors  # noqa: PLC0415 - cold start

        return self._effects.anchors or pinned_anchors()

    def fetch_revocations(self) -> None:
        """Fetch and store Google's list of revoked certificates of Android devices."""
        from chalicelib.baton.attestation.revocations import FetchRevocations  # noqa: PLC0415 - cold start

        FetchRevocations(
            clock=self._effects.clock,
            fetch=self.fetch,
            store=self._storage.attestations,
            log=self._log,
            clients=self._settings.registry,
        )()

    @cached_property
    def revoke_tokens(self) -> "RevokeTokens":
        """The object that revokes Apple's refresh tokens of removed identities."""
        from chalicelib.baton.federation.apple import Apple  # noqa: PLC0415 - cold start
        from chalicelib.baton.federation.apple_tokens import RevokeTokens  # noqa: PLC0415 - cold start
        from chalicelib.baton.federation.providers import Providers  # noqa: PLC0415 - cold start

        return RevokeTokens(
            clock=self._effects.clock,
            key_ring=self._storage.key_ring,
            tokens=self._storage.provider_tokens,
            apple=Apple(post=self.post),
            providers=self._settings.providers or Providers(),
            log=self._log,
        )

    def own_factors(self, account: AccountId, client_id: str) -> OwnFactors:
        """Return which factors an account has. Leave out linked providers that this client cannot use for a step-up."""
        providers = self._settings.providers
        return self.credentials.own_factors(account, providers.for_step_up(client_id) if providers else {})

    def carry_out(self, order: str) -> None:
        """Carry out an order of the queue. After an exception, SQS keeps the order."""
        self.background.carry_out(order)

    def take_feedback(self, report: str) -> None:
        """Process a report of Amazon SES about a bounce or a complaint."""
        self.background.take_feedback(report)

    def tell(self, event: str, *, account: AccountId, at: int, told: Told) -> None:
        """Queue a notice: a mail to the owner of an account about an event (`events.ports.Notices`)."""
        from chalicelib.baton.mail.notices import QueueNotice  # noqa: PLC0415 - cold start

        QueueNotice(queue=self.background.queue_mail, log=self._log)(event, account=account, at=at, told=told)
