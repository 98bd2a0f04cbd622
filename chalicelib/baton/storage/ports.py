"""The port of a storage: every store that Baton needs, by name.

The methods of a store are declared in the package that uses the store: ``accounts/ports.py``,
``lineages/ports.py``, ``tokens/ports.py``, ``factors/ports.py``, ``mail/ports.py``, ``attestation/ports.py``,
``federation/ports.py``, ``proof/ports.py``, ``events/ports.py`` and ``keys/ports.py``. There are two storages:
``memory/``, for development and tests, and ``dynamodb/``. docs/baton/storage-port.md describes how to write another
storage.
"""

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from chalicelib.baton.attestation.ports import Attestations
from chalicelib.baton.events.ports import Audit
from chalicelib.baton.factors.ports import FactorStore, RateLimits
from chalicelib.baton.keys.ports import ChangingKeyRing
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.mail.ports import MailUsers, Suppressions
from chalicelib.baton.proof.ports import OnceStore
from chalicelib.baton.tokens.ports import OneTime

if TYPE_CHECKING:
    from chalicelib.baton.federation.ports import Identities, ProviderTokens


class OneTimeStore(OneTime, RateLimits, Protocol):
    """Records that expire: used nonces, consumed tickets, step-up grants, counts for rate limits."""


class Storage(Struct, frozen=True, kw_only=True):
    """Every store of a deployment. Each store obeys four laws.

    1. Reads are strongly consistent: a read returns the effect of every write, of any process, that ended before the
       read began. Exception: a store may cache the key ring (``keys/ports.py``).
    2. Each method that changes something is one atomic write: the condition and the effect of the write are one step.
       Exceptions: ``accounts.forget`` and ``audit.erase`` delete one item after another.
    3. A method that is called again with the same arguments takes effect only once, because the store recognises its
       own earlier write. Exceptions: ``count`` and ``uncount`` of a rate limit may count twice.
    4. If a method cannot return a value of its return type, for example because the database does not answer, it raises
       ``errors.Unavailable``. The write may or may not have happened. Exception: ``audit.append`` never raises.

    `chalicelib.baton.testing.contract.StorageContract` tests the laws, and each method.
    """

    accounts: MailUsers
    """Registered people: users, password hashes, e-mail index entries (``accounts/ports.py``, ``mail/ports.py``)."""
    factors: FactorStore
    """The use of codes and passkeys, the changes of second factors, and restore keys (``factors/ports.py``)."""
    lineages: LineageStore
    """The account state of each account (``lineages/ports.py``)."""
    one_time: OneTimeStore
    """One-time values, and the counts of rate limits (``tokens/ports.py``, ``factors/ports.py``)."""
    once: OnceStore
    """Calls that run once, and their answers (``proof/ports.py``)."""
    suppressions: Suppressions
    """The addresses that get no mails (``mail/ports.py``)."""
    attestations: Attestations
    """Revoked certificates, the operator's switches, and the evidence of device keys (``attestation/ports.py``)."""
    identities: "Identities"
    """Identities at providers, and the key sets of providers (``federation/ports.py``)."""
    provider_tokens: "ProviderTokens"
    """Refresh tokens of identities, refresh tokens that wait for their revocation, and the private key for Apple
    (``federation/ports.py``)."""
    audit: Audit
    """The audit events, which never change (``events/ports.py``)."""
    key_ring: ChangingKeyRing
    """The secret keys of the deployment (``keys/ports.py``)."""
