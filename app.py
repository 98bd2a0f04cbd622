"""Baton's composition root: settings in, four shelves joined, routes registered. Importing it asks nobody anything."""

import secrets
import time
from typing import Annotated

from chalice.app import Chalice, CloudWatchEvent, Rate
from msgspec import Meta
from msgspec.structs import replace

from chalicelib.baton.accounts.deletion import DeleteAccount
from chalicelib.baton.accounts.devices import EndDevice, ListDevices
from chalicelib.baton.accounts.first_tokens import FirstTokens
from chalicelib.baton.accounts.login import Login
from chalicelib.baton.accounts.login_request import ReadLoginRequest
from chalicelib.baton.accounts.logout import Logout
from chalicelib.baton.accounts.password import ChangePassword
from chalicelib.baton.accounts.profile import ShowAccount
from chalicelib.baton.accounts.register import Register
from chalicelib.baton.accounts.routes import Journeys, accounts
from chalicelib.baton.events.log import Signals
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.credentials import Credentials
from chalicelib.baton.factors.step_up import IssueStepUpGrant
from chalicelib.baton.http.dispatch import Dispatch
from chalicelib.baton.http.public_routes import PROTECTED_RESOURCE, Public, meta
from chalicelib.baton.http.signed import Signed
from chalicelib.baton.keys.daily import RotateKeys
from chalicelib.baton.routing import Answer, Body
from chalicelib.baton.settings import read_settings
from chalicelib.baton.storage.aws.credentials import source_of
from chalicelib.baton.storage.aws.deployment.audit import AuditConfiguration
from chalicelib.baton.storage.aws.deployment.look import Deployment
from chalicelib.baton.storage.aws.service import Service, TimeBudget
from chalicelib.baton.storage.aws.small_client import Access
from chalicelib.baton.storage.aws.snapshot import import_what_comes_late
from chalicelib.baton.storage.dynamodb.database import EXPIRY, DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.key_wrapping import KmsWrapper, LocalWrapper
from chalicelib.baton.storage.dynamodb.storage import dynamodb_storage
from chalicelib.baton.tokens.call import Call, StepUp
from chalicelib.baton.tokens.caller import Caller
from chalicelib.baton.tokens.exchange import Exchange
from chalicelib.baton.tokens.introspect import Introspect
from chalicelib.baton.tokens.issue import Issue
from chalicelib.baton.tokens.presented import Mismatches, RequestVerifier
from chalicelib.baton.tokens.reuse import EndReused, ForeignKeys
from chalicelib.baton.tokens.revoke import Revoke
from chalicelib.baton.tokens.routes import OAuthJourneys, oauth
from chalicelib.baton.tokens.token import Names

settings = read_settings()
clients = settings.registry
names = Names(settings.issuer, settings.audience, settings.earlier_issuers)
if settings.snapshot:
    import_what_comes_late()


def clock() -> int:
    """Read the time."""
    return int(time.time())


def service(name: str, endpoint: str) -> Service:
    """Reach an AWS service, by the lean transport where we have an access key for it."""
    lean = Access(endpoint, settings.region, access_key) if access_key else None
    return Service(name, lean=lean, patience=patience)


entropy = secrets.token_bytes
patience = TimeBudget()
access_key = source_of(settings.lean) if settings.lean else None
signals = Signals(service=settings.deployment, level=settings.log_level, metrics=not settings.development)

# Stores: made here, connected at the first request.
engine = DynamoDB(Tables(settings.table_prefix), service("dynamodb", settings.dynamodb_endpoint))
kms = service("kms", settings.kms_endpoint)
if settings.storage == "memory":
    from chalicelib.baton.storage.memory.storage import memory_storage  # cold start: in development only

    storage = memory_storage(entropy)
else:
    wrapper = KmsWrapper(settings.kms_key_id, kms) if settings.kms_key_id else LocalWrapper()
    storage = dynamodb_storage(engine, wrapper, signals, entropy)
users, lineage_store, ephemeral, audit = storage.accounts, storage.lineages, storage.one_time, storage.audit
key_ring = storage.key_ring

# Journeys.
proof = RequestVerifier(key_ring, clients, names, settings.authorities, Mismatches(signals), settings.development)
issue = Issue(names)
record = Record(clock, entropy, ephemeral, audit, signals)
credentials = Credentials(entropy, users, ephemeral, signals, record, settings.limits)
introduce = ReadLoginRequest(entropy, clients, proof)
first_tokens = FirstTokens(issue)
end_reused = EndReused(lineage_store, record)
register = Register(
    clock,
    entropy,
    key_ring,
    introduce,
    credentials,
    users,
    lineage_store,
    ephemeral,
    first_tokens,
    signals,
    record,
    settings.limits,
)
login = Login(clock, key_ring, introduce, clients, credentials, users, lineage_store, first_tokens, signals, record)
exchange = Exchange(
    clock,
    entropy,
    proof,
    lineage_store,
    end_reused,
    ForeignKeys(signals),
    signals,
    issue,
    settings.revoke_on_wrong_key,
)
call = Call(clock, entropy, proof, lineage_store, ephemeral, signals)

# The edge.
app = Chalice(app_name="baton", configure_logs=False)
edge = Dispatch(
    app, clock, entropy, signals, settings.origins, settings.development, settings.issuer + PROTECTED_RESOURCE
)
if not settings.development:  # a developer's machine may be slow, and no Lambda ends its requests
    edge = replace(edge, begin=patience.begin)
signed = Signed(edge, call)
app.register_middleware(edge.middleware, "http")
app.register_blueprint(meta(edge, Public(key_ring, lineage_store, names, clients, settings.region)))
app.register_blueprint(
    accounts(
        edge,
        signed,
        Journeys(
            register=register,
            login=login,
            step_up=IssueStepUpGrant(clock, entropy, key_ring, credentials, ephemeral, signals),
            logout=Logout(clock, lineage_store, record),
            show=ShowAccount(users),
            delete=DeleteAccount(clock, users, lineage_store, record),
            change_password=ChangePassword(clock, entropy, key_ring, users, lineage_store, record),
            list_devices=ListDevices(clock, key_ring, clients),
            end_device=EndDevice(clock, lineage_store, record),
        ),
    )
)
app.register_blueprint(
    oauth(
        edge,
        OAuthJourneys(
            exchange=exchange,
            revoke=Revoke(clock, proof, lineage_store, end_reused, signals, record),
            introspect=Introspect(clock, proof, lineage_store, settings.resource_servers),
        ),
        names,
    )
)


# Scheduled jobs: each a function of its own, which may do what its own policy says (.chalice/config.json).
@app.schedule(Rate(1, unit=Rate.DAYS))
def rotate_keys(event: CloudWatchEvent) -> None:
    """Rotate the keys that have served their time."""
    signals.begin(request_id=event.event_id)
    RotateKeys(clock, entropy, key_ring, signals)()


@app.schedule(Rate(1, unit=Rate.DAYS))
def audit_configuration(event: CloudWatchEvent) -> None:
    """Look at how tables, keys, logs and edge are configured, and tell what is not as it must be."""
    signals.begin(request_id=event.event_id)
    deployment = Deployment(
        settings.deployment, engine.tables, key_id=settings.kms_key_id or "", issuer=settings.issuer
    )
    AuditConfiguration(deployment, signals, EXPIRY)()


# Your own signed routes begin here. This one shows how: a shape, a route, who is calling.
class Transfer(Body):
    """The body of ``POST /transfers``: the amount is in cents."""

    to: Annotated[str, Meta(min_length=1, max_length=256)]
    amount: Annotated[int, Meta(ge=1, le=1_000_000)]


@app.route("/transfers", methods=["POST"], content_types=[])
@signed(body=Transfer, step_up=StepUp(max_age=120))
def create_transfer(caller: Caller, transfer: Transfer) -> Answer:
    """Transfer money. The caller signed this body, and proved the password for exactly this transfer."""
    return Answer(201, {"from": caller.account, "to": transfer.to, "amount": transfer.amount})


# Routes stand above this line, which answers OPTIONS for every one there is.
edge.preflights()
