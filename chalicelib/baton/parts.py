"""The parts of which the flows of several packages are made."""

from collections.abc import Callable
from urllib.parse import urlsplit

from msgspec import Struct

from chalicelib.baton.accounts.export import OnExport
from chalicelib.baton.accounts.migration import Migration
from chalicelib.baton.accounts.ports import ForgetLater
from chalicelib.baton.browser.sites import SiteRule
from chalicelib.baton.effects import Clock, Entropy
from chalicelib.baton.events.log import Log
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.credentials import Credentials
from chalicelib.baton.factors.ports import Fetch
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.mail.outbox import QueueMail
from chalicelib.baton.settings import Settings
from chalicelib.baton.storage.ports import Storage
from chalicelib.baton.tokens.claims import AddClaims
from chalicelib.baton.tokens.issue import Issue
from chalicelib.baton.tokens.presented import RequestVerifier
from chalicelib.baton.tokens.token import Names


class Parts(Struct, frozen=True, kw_only=True):
    """The parts that several packages use."""

    settings: Settings
    clock: Clock
    entropy: Entropy
    storage: Storage
    fetch: Fetch
    log: Log
    record: Record
    clients: Clients
    names: Names
    issue: Issue
    add_claims: AddClaims | None
    on_export: Callable[[], OnExport | None]
    migration: Callable[[], Migration | None]
    proof: RequestVerifier
    site: SiteRule
    credentials: Credentials
    queue_mail: QueueMail
    forget_later: ForgetLater | None


def product_of(settings: Settings) -> str:
    """Return the name of this service for people, in mails and authenticator apps. Default: the host of the issuer."""
    return settings.registry.mail.product or urlsplit(settings.issuer).hostname or settings.deployment
