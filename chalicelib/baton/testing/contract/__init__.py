"""The storage contract: the duties of each storage (``storage/ports.py``), written as tests.

To test your storage, write a class that inherits these tests, and run the class with pytest:

    class TestMyStorage(StorageContract):
        @pytest.fixture
        def storage(self) -> StorageUnderTest:
            return StorageUnderTest.of(my_storage(), seed=put_account_state, events=read_events)

docs/baton/storage-port.md has the steps.
"""

from chalicelib.baton.testing.contract.accounts import AccountsContract
from chalicelib.baton.testing.contract.addresses import AddressesContract
from chalicelib.baton.testing.contract.attestations import AttestationsContract
from chalicelib.baton.testing.contract.audit import AuditContract
from chalicelib.baton.testing.contract.ends import EndsContract
from chalicelib.baton.testing.contract.exchange import ExchangeContract
from chalicelib.baton.testing.contract.factors import FactorsContract
from chalicelib.baton.testing.contract.first_passwords import FirstPasswordsContract
from chalicelib.baton.testing.contract.handovers import HandoversContract
from chalicelib.baton.testing.contract.identities import IdentitiesContract
from chalicelib.baton.testing.contract.key_ring import KeyRingContract
from chalicelib.baton.testing.contract.linked_identities import LinkedIdentitiesContract
from chalicelib.baton.testing.contract.logins import LoginsContract
from chalicelib.baton.testing.contract.mail import MailContract
from chalicelib.baton.testing.contract.once import OnceContract
from chalicelib.baton.testing.contract.one_time import OneTimeContract
from chalicelib.baton.testing.contract.passkeys import PasskeysContract
from chalicelib.baton.testing.contract.provider_tokens import ProviderTokensContract
from chalicelib.baton.testing.contract.restores import RestoresContract
from chalicelib.baton.testing.contract.statuses import StatusesContract
from chalicelib.baton.testing.contract.suppressions import SuppressionsContract
from chalicelib.baton.testing.contract.under_test import StorageUnderTest
from chalicelib.baton.testing.contract.uses import UsesContract

__all__ = ["LineagesContract", "StorageContract", "StorageUnderTest"]


class LineagesContract(
    ExchangeContract, LoginsContract, UsesContract, EndsContract, HandoversContract, StatusesContract
):
    """The tests of the store ``lineages``: `lineages.ports.LineageStore`."""


class StorageContract(
    AccountsContract,
    FirstPasswordsContract,
    FactorsContract,
    PasskeysContract,
    RestoresContract,
    MailContract,
    AddressesContract,
    LineagesContract,
    OneTimeContract,
    OnceContract,
    SuppressionsContract,
    AttestationsContract,
    IdentitiesContract,
    LinkedIdentitiesContract,
    ProviderTokensContract,
    AuditContract,
    KeyRingContract,
):
    """The tests of all stores. A subclass must define the fixture ``storage``: an empty storage with a key ring."""
