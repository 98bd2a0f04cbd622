"""Build the storage in memory."""

from chalicelib.baton.effects import Entropy
from chalicelib.baton.storage.memory.attestations import MemoryAttestations
from chalicelib.baton.storage.memory.audit import MemoryAudit
from chalicelib.baton.storage.memory.factors import MemoryFactors
from chalicelib.baton.storage.memory.identities import MemoryIdentities
from chalicelib.baton.storage.memory.key_ring import MemoryKeyRing
from chalicelib.baton.storage.memory.lineages import MemoryLineageStore
from chalicelib.baton.storage.memory.mail_users import MemoryMailUsers
from chalicelib.baton.storage.memory.once import MemoryOnceCalls
from chalicelib.baton.storage.memory.one_time import MemoryOneTime
from chalicelib.baton.storage.memory.provider_tokens import MemoryProviderTokens
from chalicelib.baton.storage.memory.suppressions import MemorySuppressions
from chalicelib.baton.storage.memory.tables import OF_THIS_PROCESS, MemoryTables
from chalicelib.baton.storage.ports import Storage


def memory_storage(entropy: Entropy, tables: MemoryTables | None = None) -> Storage:
    """Build a storage over ``tables``. Default: ``OF_THIS_PROCESS``, the shared tables of this process.

    Several storages may share tables. Each method of a store is then atomic for all these storages.
    """
    tables = OF_THIS_PROCESS if tables is None else tables
    return Storage(
        accounts=MemoryMailUsers(tables),
        factors=MemoryFactors(tables),
        lineages=MemoryLineageStore(tables),
        one_time=MemoryOneTime(tables),
        once=MemoryOnceCalls(tables),
        audit=MemoryAudit(tables),
        suppressions=MemorySuppressions(tables),
        attestations=MemoryAttestations(tables),
        identities=MemoryIdentities(tables),
        provider_tokens=MemoryProviderTokens(tables),
        key_ring=MemoryKeyRing(tables, entropy),
    )
