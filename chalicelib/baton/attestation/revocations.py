"""The daily job that fetches Google's list of revoked certificates of Android devices."""

from typing import Final

import msgspec
from msgspec import Struct

from chalicelib.baton.attestation.model import LIST_BYTES_MAX, LIST_STALE_S, LIST_WITHIN_S, REVOKED_MAX, RevokedList
from chalicelib.baton.attestation.ports import Attestations, FetchList
from chalicelib.baton.attestation.rules import revoked_digest
from chalicelib.baton.effects import Clock
from chalicelib.baton.events.ports import Log
from chalicelib.baton.lineages.clients import Clients

URL: Final = "https://android.googleapis.com/attestation/status"
_STATUSES: Final = frozenset({"REVOKED", "SUSPENDED"})


class _Entry(Struct):
    status: str


class _Status(Struct):
    entries: dict[str, _Entry]


class NotAList(ValueError):
    """The answer is not a list that this job can store. The message tells the operator why."""


class FetchRevocations(Struct, frozen=True, kw_only=True):
    """Fetch Google's list of revoked certificates, and store it.

    The job fetches the list only if a client with Android apps has the attestation rule ``report`` or ``required``.
    If a fetch fails, the old list remains in use.
    """

    clock: Clock
    fetch: FetchList
    store: Attestations
    log: Log
    clients: Clients

    def __call__(self) -> None:
        """Fetch the list, and replace the stored list.

        If the answer is not a list, keep the stored list. If the stored list is missing or older than a week, also
        record ``revocation_list_stale``.
        """
        now = self.clock()
        if not any(client.attestation.rule != "off" and client.apps.packages for client in self.clients):
            self.log.record("revocation_list_checked", reason="no client judges evidence of Android")
            return
        answer = self.fetch(
            URL, headers={"Accept": "application/json"}, within_s=LIST_WITHIN_S, bytes_max=LIST_BYTES_MAX
        )
        try:
            listed = RevokedList(now, read_list(answer))
        except NotAList as error:
            stored = self.store.revoked()
            if stored is None or now - stored.at > LIST_STALE_S:
                self.log.record("revocation_list_stale", reason=str(error))
            count = len(stored.digests) if stored else 0
            self.log.record("revocation_list_checked", reason=str(error), revoked_certificates=count)
            return
        self.store.replace_revoked(listed)
        self.log.record("revocation_list_checked", revoked_certificates=len(listed.digests))


def read_list(answer: object) -> frozenset[bytes]:
    """Return the digests of all revoked or suspended serials in the answer of Google. Raises ``NotAList``."""
    if not isinstance(answer, bytes):
        raise NotAList("no answer")
    try:
        entries = msgspec.json.decode(answer, type=_Status).entries
    except (msgspec.MsgspecError, ValueError) as error:
        raise NotAList(f"not the expected JSON: {type(error).__name__}") from None
    serials = [serial.lower().lstrip("0") for serial, entry in entries.items() if entry.status in _STATUSES]
    if len(serials) > REVOKED_MAX:
        raise NotAList(f"{len(serials)} revoked certificates: more than {REVOKED_MAX} do not fit one item")
    return frozenset(map(revoked_digest, serials))
