"""AWS access keys: from the environment, or from the container endpoint under SnapStart."""

from collections.abc import Callable
from typing import Any

from chalicelib.baton.access_key import AccessKey, Vended
from chalicelib.baton.ids import Secret

Source = Callable[[], AccessKey]
"""Returns the current access key. Raises ``OSError`` or ``ValueError`` if no access key can be read."""


def source_of(given: AccessKey | Vended) -> Source:
    """Return the source of the access key. ``given`` is the key itself, or the endpoint that returns the key."""
    return Vendor(given) if isinstance(given, Vended) else lambda: given


class Vendor:
    """Access keys from the container endpoint. botocore fetches them and refreshes them before they expire."""

    def __init__(self, vended: Vended) -> None:
        """Prepare the source, but fetch no key: a snapshot must not contain a key."""
        self._vended = vended
        self._credentials: Any = None
        self._frozen: object = None
        self._known: AccessKey | None = None

    def __call__(self) -> AccessKey:
        """Return the current access key. Until botocore refreshes the key, each call returns the same object."""
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - cold start: under SnapStart only

        try:
            if self._credentials is None:
                self._credentials = self._load()
            frozen = self._credentials.get_frozen_credentials()
        except (BotoCoreError, LookupError, TypeError) as error:  # no answer, or an answer without a key
            raise ValueError(type(error).__name__) from None
        if self._known is None or frozen is not self._frozen:
            self._frozen = frozen
            secret, token = Secret(frozen.secret_key.encode()), Secret(frozen.token.encode())
            self._known = AccessKey(frozen.access_key, secret, token)
        return self._known

    def _load(self) -> object:
        from botocore.credentials import ContainerProvider  # noqa: PLC0415 - cold start
        from botocore.utils import ContainerMetadataFetcher  # noqa: PLC0415 - cold start

        environ = {
            ContainerProvider.ENV_VAR_FULL: self._vended.url,
            ContainerProvider.ENV_VAR_AUTH_TOKEN: self._vended.authorization.reveal().decode(),
        }
        # By default, botocore pauses for a second between attempts. A client's request waits here: do not pause.
        fetcher: Any = ContainerMetadataFetcher(sleep=lambda _: None)  # the stubs of botocore name another class
        return ContainerProvider(environ, fetcher).load()
