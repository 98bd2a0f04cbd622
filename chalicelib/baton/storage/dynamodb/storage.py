"""Build the storage on DynamoDB. Nothing is connected before the first request."""

from chalicelib.baton.effects import Entropy
from chalicelib.baton.events.ports import Signals
from chalicelib.baton.storage.dynamodb.accounts import Users
from chalicelib.baton.storage.dynamodb.audit import Audit
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.key_ring import KeyRing
from chalicelib.baton.storage.dynamodb.key_wrapping import Wrapper
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from chalicelib.baton.storage.dynamodb.once import OnceCalls
from chalicelib.baton.storage.dynamodb.one_time import Ephemeral
from chalicelib.baton.storage.ports import Storage


def dynamodb_storage(engine: DynamoDB, wrapper: Wrapper, signals: Signals, entropy: Entropy) -> Storage:
    """Build a storage over the tables of ``engine``.

    ``wrapper`` encrypts the key ring, ``signals`` reports an audit event that could not be written, and ``entropy``
    makes the ring where ``wrapper`` may make one at first use.
    """
    return Storage(
        accounts=Users(engine),
        lineages=LineageStore(engine),
        one_time=Ephemeral(engine),
        once=OnceCalls(engine),
        audit=Audit(engine, signals),
        key_ring=KeyRing(engine, wrapper, entropy),
    )
