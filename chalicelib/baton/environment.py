"""The effects of a Lambda environment: time, random bytes, settings, storage, and a function that writes log lines."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING

from msgspec import Struct

from chalicelib.baton.effects import Clock, Entropy
from chalicelib.baton.events.log import write_line
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.ports import Storage

if TYPE_CHECKING:
    from chalicelib.baton.attestation.ports import Anchors
    from chalicelib.baton.factors.ports import Fetch, Post
    from chalicelib.baton.federation.providers import Providers
    from chalicelib.baton.lineages.clients import Clients
    from chalicelib.baton.mail.outbox import Mailbox


class Effects(Struct, frozen=True):
    """The functions and values that give one Lambda environment its time, random bytes, settings, storage and more.

    Tests and ``make dev`` replace these functions and values, to imitate a Lambda environment.
    """

    clock: Clock
    entropy: Entropy
    settings: Mapping[str, str] | None = None
    """The variables to read the settings from. ``None``: the environment variables of the process."""
    storage: Callable[[Storage], Storage] = lambda storage: storage
    """Return the storage to use instead of the storage that the settings select."""
    write: Callable[[Mapping[str, object]], None] = write_line
    """Write one log line."""
    mailbox: "Mailbox | None" = None
    """The mailbox that gets all mails with ``BATON_MAIL=mailbox``. ``None``: the mailbox of this process."""
    anchors: "Anchors | None" = None
    """The root certificates for attestation. ``None``: the root certificates of Apple and Google."""
    fetch: "Fetch | None" = None
    """Send a request to a service of another party. ``None``: over HTTPS."""
    post: "Post | None" = None
    """Send forms to Apple. ``None``: over HTTPS."""
    providers: "Callable[[Clients], Providers] | None" = None
    """Return the identity providers for a team without ``providers.toml``. ``None``: such a team has no providers."""
    aws: Callable[[str, AwsClient], AwsClient] = lambda _, client: client
    """Return the client to use for the AWS service with this name, instead of the given client."""


EFFECTS: ContextVar[Effects | None] = ContextVar("EFFECTS", default=None)
"""The effects of the environments that are made in this context. Only the test kit, the tools and tests set it."""
