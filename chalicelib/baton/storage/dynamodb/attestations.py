"""Evidence of device keys in the table ``ephemeral``, revoked certificates and the operator's switches in ``users``."""

import hashlib
from typing import Final

from msgspec.structs import replace

from chalicelib.baton.attestation.model import AttestedKey, RevokedList
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.lineages.assurance import assurance_number
from chalicelib.baton.lineages.model import Actor, Attestation, Lineage
from chalicelib.baton.lineages.rules import Inactive, ProofOutdated, may_act
from chalicelib.baton.storage.aws.service import ConditionFailed
from chalicelib.baton.storage.dynamodb.database import EXPIRY, DynamoDB
from chalicelib.baton.storage.dynamodb.items import expression, state_of, state_update
from chalicelib.baton.storage.dynamodb.state_writes import ACTOR_LIVE, actor_values
from chalicelib.baton.storage.dynamodb.values import Item, Value, binary, number, reading, text

_NAMES: Final = {"#counter": "n", "#attempt": "l", "#at": "t", "#apple_key": "i"}
_DIGEST_BYTES: Final = 8

OF_ANOTHER_KEY: Final = f"attribute_not_exists(#apple_key) OR #apple_key <> :apple_key OR {EXPIRY} <= :now"
OF_THIS_KEY: Final = "#apple_key = :apple_key"
HIGHER: Final = "#counter < :counter OR (#counter = :counter AND #attempt = :attempt)"
COUNT: Final = "SET #counter = :counter, #attempt = :attempt, #at = :now"
EXISTS: Final = "attribute_exists(pk)"
EXTEND: Final = f"SET {EXPIRY} = :expires_at"
NOT_NEWER: Final = "attribute_not_exists(pk) OR #at <= :at"

# Condition and update of the actor's login, in the table `lineages`.
ATTESTATION_AS_READ: Final = "#lineages.#actor.#assurance = :as_read"
ATTEST: Final = "SET #lineages.#actor.#assurance = :attested"

_REVOKED: Final[Item] = {"pk": text("K#android-revoked")}
_SWITCHES: Final[Item] = {"pk": text("K#switches")}


class StoredAttestations:
    """``attestation.ports.Attestations`` on DynamoDB."""

    def __init__(self, database: DynamoDB) -> None:
        """Use the tables of ``database``."""
        self._database = database

    def get(self, client: int, thumbprint: bytes, *, now: int) -> AttestedKey | None:
        """Return the evidence of a device key, or ``None`` if there is none or it has expired."""
        item = self._database.read(self._database.tables.ephemeral, _key(client, thumbprint))
        if item is None:
            return None
        with reading("evidence of a device key"):
            known = AttestedKey(
                attestation=Attestation(int(item["o"]["N"])),
                app=item["app"]["S"],
                at=int(item["t"]["N"]),
                expires_at=int(item[EXPIRY]["N"]),
                apple_key=item["i"]["B"] if "i" in item else b"",
                point=item["p"]["B"] if "p" in item else b"",
                counter=int(item["n"]["N"]) if "n" in item else 0,
                attempt=item["l"]["B"] if "l" in item else b"",
            )
        return known if known.expires_at > now else None

    def keep(self, client: int, thumbprint: bytes, known: AttestedKey, *, now: int) -> None:
        """Store evidence of a device key. If unexpired evidence of the same App Attest key is stored, do nothing."""
        item: Item = {
            **_key(client, thumbprint),
            "o": number(known.attestation),
            "app": text(known.app),
            "t": number(known.at),
            EXPIRY: number(known.expires_at),
        }
        if known.apple_key:
            item |= {"i": binary(known.apple_key), "p": binary(known.point), "n": number(known.counter)}
        values = {":apple_key": binary(known.apple_key), ":now": number(now)}
        try:
            self._database.write(
                "put_item",
                TableName=self._database.tables.ephemeral,
                Item=item,
                **expression(values, _NAMES, condition=OF_ANOTHER_KEY),
            )
        except ConditionFailed:
            return

    def count(
        self, client: int, thumbprint: bytes, known: AttestedKey, *, counter: int, attempt: bytes, now: int
    ) -> Done | Refused:
        """Store the counter of an assertion, if it is higher than the stored counter of the same App Attest key.

        A repeated request has the stored counter and the stored attempt. Its result is ``Done`` too.
        In any other case, nothing is stored, and the result is ``Refused``.
        """
        values = {
            ":apple_key": binary(known.apple_key),
            ":counter": number(counter),
            ":attempt": binary(attempt),
            ":now": number(now),
        }
        try:
            self._database.write(
                "update_item",
                TableName=self._database.tables.ephemeral,
                Key=_key(client, thumbprint),
                **expression(values, _NAMES, condition=f"{OF_THIS_KEY} AND ({HIGHER})", update=COUNT),
            )
        except ConditionFailed:
            return Refused()
        return Done()

    def extend(self, client: int, thumbprint: bytes, *, expires_at: int) -> None:
        """Replace the stored expiry of the evidence of a device key. If no evidence is stored, do nothing."""
        try:
            self._database.write(
                "update_item",
                TableName=self._database.tables.ephemeral,
                Key=_key(client, thumbprint),
                **expression({":expires_at": number(expires_at)}, condition=EXISTS, update=EXTEND),
            )
        except ConditionFailed:
            return

    def attest(
        self, actor: Actor, attestation: Attestation, *, expected: Lineage, now: int
    ) -> Done | Moved | Inactive | ProofOutdated:
        """Store an attestation in the actor's login, if the login may act and its attestation is as in ``expected``.

        The result is one of these:

        - ``Done``: the attestation is stored now, or was stored already.
        - ``Inactive``, ``ProofOutdated``: the login may not act (`rules.may_act`). Nothing is stored.
        - ``Moved``: after ``expected`` was read, another request stored a different attestation. Nothing is stored.
        """
        attested = replace(expected, attestation=attestation)
        update = state_update(
            self._database.tables.lineages,
            actor.account,
            ATTEST,
            (*ACTOR_LIVE, ATTESTATION_AS_READ),
            names={"#actor": actor.lineage},
            values={
                **actor_values(actor),
                ":now": number(now),
                ":attested": _assurance(attested),
                ":as_read": _assurance(expected),
            },
        )
        try:
            self._database.write("update_item", **update)
        except ConditionFailed as failed:
            account_state = state_of(failed.item) if failed.item is not None else None
            acting = may_act(account_state, actor, now=now)
            if not isinstance(acting, Lineage):
                return acting
            return Done() if acting.attestation is attestation else Moved()
        return Done()

    def revoked(self) -> RevokedList | None:
        """Return the list of revoked certificates, or ``None`` if it was never stored."""
        item = self._database.read(self._database.tables.users, _REVOKED)
        if item is None:
            return None
        with reading("list of revoked certificates"):
            joined = item["digests"]["B"]
            if len(joined) % _DIGEST_BYTES:
                raise ValueError("not digests of eight bytes")
            digests = (joined[at : at + _DIGEST_BYTES] for at in range(0, len(joined), _DIGEST_BYTES))
            return RevokedList(int(item["t"]["N"]), frozenset(digests))

    def replace_revoked(self, revoked: RevokedList) -> Done | Refused:
        """Replace the list of revoked certificates. ``Refused``: the stored list is newer."""
        item: Item = {**_REVOKED, "t": number(revoked.at), "digests": binary(b"".join(sorted(revoked.digests)))}
        try:
            self._database.write(
                "put_item",
                TableName=self._database.tables.users,
                Item=item,
                **expression({":at": number(revoked.at)}, _NAMES, condition=NOT_NEWER),
            )
        except ConditionFailed:
            return Refused()
        return Done()

    def switches(self) -> str:
        """Return the encrypted ``attestation.model.Switches``, or an empty text if the operator never set a switch."""
        item = self._database.read(self._database.tables.users, _SWITCHES)
        if item is None:
            return ""
        with reading("switches"):
            return item["sealed"]["S"]

    def replace_switches(self, sealed: str) -> None:
        """Replace all switches of the operator with the encrypted ``attestation.model.Switches``."""
        self._database.write(
            "put_item", TableName=self._database.tables.users, Item={**_SWITCHES, "sealed": text(sealed)}
        )


def _assurance(lineage: Lineage) -> Value:
    return number(assurance_number(lineage.assurance, lineage.attestation, lineage.provider))


def _key(client: int, thumbprint: bytes) -> Item:
    digest = hashlib.sha256(bytes([client]) + thumbprint).digest()
    return {"pk": text(f"D#{encode_base64url(digest)}")}
