"""The parts that the flows of several packages share."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

from chalicelib.baton.browser.sites import SiteRule
from chalicelib.baton.effects import Clock, Entropy
from chalicelib.baton.events.log import Log
from chalicelib.baton.events.record import Record
from chalicelib.baton.late_parts import LateParts
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.settings import Settings
from chalicelib.baton.storage.ports import Storage
from chalicelib.baton.tokens.claims import AddClaims
from chalicelib.baton.tokens.issue import Issue
from chalicelib.baton.tokens.presented import RequestVerifier
from chalicelib.baton.tokens.token import Names

if TYPE_CHECKING:
    from chalicelib.baton.accounts.export import OnExport
    from chalicelib.baton.accounts.migration import Migration
    from chalicelib.baton.accounts.ports import ForgetLater
    from chalicelib.baton.attestation.ports import Anchors
    from chalicelib.baton.factors.credentials import Credentials
    from chalicelib.baton.factors.ports import Fetch, Post
    from chalicelib.baton.mail.outbox import QueueMail


class Parts(Struct, frozen=True, kw_only=True):
    """The settings, stores, rules and functions that the flows of several packages use."""

    settings: Settings
    clock: Clock
    entropy: Entropy
    storage: Storage
    log: Log
    record: Record
    clients: Clients
    names: Names
    issue: Issue
    add_claims: AddClaims | None
    on_export: Callable[[], "OnExport | None"]
    migration: Callable[[], "Migration | None"]
    proof: RequestVerifier
    site: SiteRule
    late: LateParts

    @property
    def fetch(self) -> "Fetch":
        """The function that sends ``GET`` requests to services of other parties."""
        return self.late.fetch

    @property
    def post(self) -> "Post":
        """The function that sends forms to services of other parties."""
        return self.late.post

    @property
    def credentials(self) -> "Credentials":
        """The object that checks passwords, and reads which factors an account has."""
        return self.late.credentials

    @property
    def queue_mail(self) -> "QueueMail":
        """The function that queues mails."""
        return self.late.background.queue_mail

    @property
    def forget_later(self) -> "ForgetLater | None":
        """The function that queues the order to finish an account's deletion. ``None``: the deployment has no queue."""
        return self.late.background.forget_later

    @property
    def anchors(self) -> "Anchors":
        """The root certificates for the attestation of apps and devices."""
        return self.late.anchors


def product_of(settings: Settings) -> str:
    """Return the service name that people see in mails and authenticator apps. Default: the host of the issuer."""
    return settings.registry.mail.product or urlsplit(settings.issuer).hostname or settings.deployment
