"""Build the storage on DynamoDB. Nothing is connected before the first request."""

from typing import TYPE_CHECKING, cast

from chalicelib.baton.effects import Entropy
from chalicelib.baton.events.ports import Log
from chalicelib.baton.storage.dynamodb.attestations import StoredAttestations
from chalicelib.baton.storage.dynamodb.audit import Audit
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.factors import Factors
from chalicelib.baton.storage.dynamodb.key_ring import KeyRing
from chalicelib.baton.storage.dynamodb.key_wrapping import Wrapper
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from chalicelib.baton.storage.dynamodb.mail_users import MailUsers
from chalicelib.baton.storage.dynamodb.once import OnceCalls
from chalicelib.baton.storage.dynamodb.one_time import Ephemeral
from chalicelib.baton.storage.dynamodb.suppressions import SuppressedAddresses
from chalicelib.baton.storage.late import LateStore
from chalicelib.baton.storage.ports import Storage

if TYPE_CHECKING:
    from chalicelib.baton.federation.ports import Identities, ProviderTokens


def dynamodb_storage(database: DynamoDB, wrapper: Wrapper, log: Log, entropy: Entropy) -> Storage:
    """Build a storage over the tables of ``database``.

    - ``wrapper`` encrypts the key ring.
    - ``log`` reports an audit event that could not be written.
    - ``entropy`` is for the secrets of a new key ring.
    """
    return Storage(
        accounts=MailUsers(database),
        factors=Factors(database),
        lineages=LineageStore(database),
        one_time=Ephemeral(database),
        once=OnceCalls(database),
        audit=Audit(database, log),
        suppressions=SuppressedAddresses(database),
        attestations=StoredAttestations(database),
        identities=cast("Identities", LateStore(lambda: _identities(database))),
        provider_tokens=cast("ProviderTokens", LateStore(lambda: _provider_tokens(database))),
        key_ring=KeyRing(database, wrapper, entropy),
    )


def _identities(database: DynamoDB) -> "Identities":
    from chalicelib.baton.storage.dynamodb.identities import StoredIdentities  # noqa: PLC0415 - cold start

    return StoredIdentities(database)


def _provider_tokens(database: DynamoDB) -> "ProviderTokens":
    from chalicelib.baton.storage.dynamodb.provider_tokens import StoredProviderTokens  # noqa: PLC0415 - cold start

    return StoredProviderTokens(database)
