"""The effects of an environment: time, random bytes, settings, storage, and a function that writes log lines."""

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
    from chalicelib.baton.mail.outbox import Mailbox


class Effects(Struct, frozen=True):
    """The effects that one environment uses."""

    clock: Clock
    entropy: Entropy
    settings: Mapping[str, str] | None = None
    """The variables to read the settings from. ``None``: the environment variables of the process."""
    storage: Callable[[Storage], Storage] = lambda storage: storage
    """Return the storage to use instead of the storage that the settings select."""
    write: Callable[[Mapping[str, object]], None] = write_line
    """Write one log line."""
    mailbox: "Mailbox | None" = None
    """Where the mails are with ``BATON_MAIL=mailbox``. ``None``: in the mailbox of this process."""
    anchors: "Anchors | None" = None
    """The certificates that attest apps and devices. ``None``: those of Apple and Google."""
    fetch: "Fetch | None" = None
    """Send the requests to services of others. ``None``: over HTTPS."""
    post: "Post | None" = None
    """Send forms to Apple. ``None``: over HTTPS."""
    aws: Callable[[str, AwsClient], AwsClient] = lambda _, client: client
    """Return the client to use for the AWS service with this name, instead of the given client."""


EFFECTS: ContextVar[Effects | None] = ContextVar("EFFECTS", default=None)
"""The effects of the environments that are made in this context. Only the test kit, the tools and tests set it."""
