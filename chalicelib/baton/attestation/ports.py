"""The ports of attestation: stored evidence, the revoked certificates and the operator's switches."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from chalicelib.baton.attestation.model import AttestedKey, RevokedList
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.lineages.model import Actor, Attestation, Lineage
from chalicelib.baton.lineages.rules import Inactive, ProofOutdated

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


class Anchors(Struct, frozen=True):
    """The trusted certificates. Only tests and the development server replace the pinned certificates."""

    apple: "Callable[[], Certificate]"
    google: "Callable[[], tuple[Certificate, ...]]"


class FetchList(Protocol):
    """Fetch the list of revoked certificates over HTTPS."""

    def __call__(self, url: str, *, headers: Mapping[str, str], within_s: float, bytes_max: int) -> object:
        """Return the bytes of the document. Any other type means that there is no usable answer."""


class Attestations(Protocol):
    """The evidence of each device key (by client code and thumbprint), the revoked certificates and the switches."""

    def get(self, client: int, thumbprint: bytes, *, now: int) -> AttestedKey | None:
        """Return the evidence of a device key, or ``None`` if there is none or it has expired."""

    def keep(self, client: int, thumbprint: bytes, known: AttestedKey, *, now: int) -> None:
        """Store the evidence ``known`` of a device key, in place of the stored evidence.

        If the stored evidence has the same App Attest key and has not expired, do nothing: its counter must not be
        reset.
        """

    def count(
        self, client: int, thumbprint: bytes, known: AttestedKey, *, counter: int, attempt: bytes, now: int
    ) -> Done | Refused:
        """Store the counter of an assertion, its attempt and its time, in one write.

        Return ``Done`` if the stored evidence has the same App Attest key as ``known``, and one of these is true:

        - ``counter`` is higher than the stored counter.
        - ``counter`` and ``attempt`` equal the stored values (a repeated request).

        Otherwise store nothing, and return ``Refused``.
        """

    def extend(self, client: int, thumbprint: bytes, *, expires_at: int) -> None:
        """Replace the stored expiry of the evidence of a device key. If no evidence is stored, do nothing."""

    def attest(
        self, actor: Actor, attestation: Attestation, *, expected: Lineage, now: int
    ) -> Done | Moved | Inactive | ProofOutdated:
        """Store an attestation in the actor's login, if `lineages.rules.may_act` permits the actor to write.

        ``Moved``: after ``expected`` was read, another request stored a different attestation in the login.
        """

    def revoked(self) -> RevokedList | None:
        """Return the list of revoked certificates, or ``None`` if it was never fetched."""

    def replace_revoked(self, revoked: RevokedList) -> Done | Refused:
        """Replace the list of revoked certificates, for the daily job. ``Refused``: the stored list is newer."""

    def switches(self) -> str:
        """Return the operator's switches (`model.Switches`), encrypted, or an empty text if none was ever set."""

    def replace_switches(self, sealed: str) -> None:
        """Replace all of the operator's switches by ``sealed``: `model.Switches`, encrypted."""
