"""One stage for all scenarios of a module: an environment with a key ring under KMS, and a connection that can fail."""

from collections.abc import Iterator, Mapping

import pytest

from chalicelib.baton import settings
from chalicelib.baton.factors.ports import Fetch, NotFetched
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.database import KEYS, Tables
from chalicelib.baton.testing.attesters.kit import Attester
from chalicelib.baton.testing.identity_provider import IdentityProvider
from tests.baton.federation.apple_server import AppleServer
from tests.baton.fixture import load_environment
from tests.baton.proofs.faults.line import Line
from tests.baton.proofs.faults.stage import Stage
from tests.baton.proofs.faults.transports import TRANSPORTS
from tests.baton.wire.conversation import HOST
from tools.dev.engine import client, create_tables
from tools.dev.gateway import DevelopmentClock


def published_by(providers: Mapping[str, IdentityProvider]) -> Fetch:
    """Return the keys of the providers, in place of requests to them."""

    def fetch(url: str, **_: object) -> bytes | NotFetched:
        for provider in providers.values():
            if provider.provider.jwks_uri == url:
                return provider.fetch() or NotFetched("out of order")
        return NotFetched("no such host")

    return fetch


@pytest.fixture(scope="module", params=TRANSPORTS)
def stage(request: pytest.FixtureRequest, embedded_engine: None) -> Iterator[Stage]:
    """Create the stage."""
    del embedded_engine
    tables, line, clock = Tables("baton-faults"), Line(), DevelopmentClock()
    create_tables(tables)
    key_id = AwsClient("kms").call("create_key")["KeyMetadata"]["KeyId"]
    with pytest.MonkeyPatch.context() as patch, TRANSPORTS[request.param](line):
        patch.setenv("BATON_TABLE_PREFIX", tables.prefix)
        patch.setenv("BATON_KEY_RING", f"kms:{key_id}")
        patch.setenv("BATON_MAIL", "mailbox")
        patch.setenv("BATON_ISSUER", f"https://{HOST}/api")  # Baton offers a browser a binding only over https
        attester = Attester(lambda: int(clock.time()))
        patch.setattr(settings, "_PROVIDERS", "identity-providers.toml")
        module = load_environment(clock, anchors=attester.anchors)
        rows = module.baton.settings.providers.by_name
        providers = {name: IdentityProvider(row, lambda: int(clock.time())) for name, row in rows.items()}
        vars(module.baton._late)["fetch"] = published_by(providers)  # no request leaves this machine
        apple = AppleServer()
        apple.begin(providers["apple"], lambda: int(clock.time()))
        vars(module.baton._late)["post"] = apple.post
        module.baton._dispatch.after = None  # mails stay in the queue, as behind SQS
        module.baton.key_ring.create(now=int(clock.time()))
        apple.set_key(module.baton, now=int(clock.time()))
        yield Stage(request.param, module, tables, line, clock, attester, providers, apple)
    for table in KEYS:
        client().delete_table(TableName=tables.name(table))
