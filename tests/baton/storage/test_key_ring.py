"""The key ring is made once, wrapped by KMS, cached for minutes, and replaced only by whoever read it last."""

import secrets
from collections.abc import Callable
from threading import Barrier, Thread
from typing import ClassVar

import pytest
from botocore.exceptions import EndpointConnectionError
from msgspec.structs import replace

from chalicelib.baton.access_key import AccessKey
from chalicelib.baton.effects import Done, Moved
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import Secret
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.keys.ring_format import ring_to_bytes
from chalicelib.baton.keys.rotation import make_ring, raise_not_before, rotate_root, rotate_signing
from chalicelib.baton.policy import KEY_RING_REFRESH_S, KEY_RING_UNKNOWN_KID_S
from chalicelib.baton.storage.aws.credentials import source_of
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.aws.small_client import Endpoint
from chalicelib.baton.storage.dynamodb.database import HELD_PER_PAGE, DynamoDB
from chalicelib.baton.storage.dynamodb.items import Item
from chalicelib.baton.storage.dynamodb.key_ring import RING_KEY, AccountsWithoutRing, KeyRing
from chalicelib.baton.storage.dynamodb.key_wrapping import KmsWrapper, LocalWrapper, Wrapper
from chalicelib.baton.testing.contract.values import NOW
from tests.baton.storage.test_lost_answers import Line, line

__all__ = ["line"]


class CountingEngine(DynamoDB):
    """An engine that counts its reads, and can be broken."""

    def __init__(self, engine: DynamoDB, dynamodb: AwsClient) -> None:
        """Read the same tables."""
        super().__init__(engine.tables, dynamodb)
        self.reads = 0
        self.broken = False

    def read(self, table: str, key: Item) -> Item | None:
        """Read, and count it, or fail."""
        self.reads += 1
        if self.broken:
            raise Unavailable("broken")
        return super().read(table, key)


class CountingWrapper:
    """A wrapper that counts how often it opens."""

    makes_absent_ring: ClassVar[bool] = False

    def __init__(self, wrapper: Wrapper) -> None:
        """Wrap as the other does."""
        self.wrapper = wrapper
        self.opened = 0

    def wrap(self, ring: bytes) -> Item:
        """Wrap."""
        return self.wrapper.wrap(ring)

    def unwrap(self, stored: Item) -> bytes:
        """Open, and count it."""
        self.opened += 1
        return self.wrapper.unwrap(stored)


@pytest.fixture
def counting(engine: DynamoDB, dynamodb: AwsClient) -> CountingEngine:
    """Give the counting engine."""
    return CountingEngine(engine, dynamodb)


@pytest.fixture(scope="module")
def kms_key(dynamodb: AwsClient) -> str:
    """Give a customer key; ``dynamodb`` is asked for because it begins the mocking."""
    assert dynamodb
    key: str = AwsClient("kms").call("create_key")["KeyMetadata"]["KeyId"]
    return key


def small_kms(endpoint: str) -> AwsClient:
    """Ask KMS by the small AWS client."""
    return AwsClient(
        "kms",
        endpoint=Endpoint(endpoint, "us-east-1", source_of(AccessKey("test", Secret(b"test"), Secret(b"")))),
        pause=lambda _: None,
    )


@pytest.fixture(params=["botocore", "small"])
def kms(request: pytest.FixtureRequest, endpoint: str) -> AwsClient:
    """Give KMS by each transport."""
    return AwsClient("kms") if request.param == "botocore" else small_kms(endpoint)


@pytest.fixture(params=["local", "kms", "small kms"])
def wrapper(request: pytest.FixtureRequest, kms_key: str, endpoint: str) -> Wrapper:
    """Give each wrapper."""
    if request.param == "local":
        return LocalWrapper()
    return KmsWrapper(kms_key, small_kms(endpoint) if request.param == "small kms" else None)


def stored_item(engine: DynamoDB) -> Item:
    """Read the item as it is stored."""
    item = engine.read(engine.tables.users, RING_KEY)
    assert item is not None
    return item


def put(engine: DynamoDB, item: Item) -> None:
    """Put the item down as it is, whatever stood there."""
    engine.write("put_item", TableName=engine.tables.users, Item=item)


def ring_of_many_keys() -> Ring:
    """Make a ring larger than the 4 KB that KMS encrypts itself."""
    ring = make_ring(secrets.token_bytes, now=NOW)
    for _ in range(30):
        ring = rotate_root(rotate_signing(ring, secrets.token_bytes, now=NOW), secrets.token_bytes, now=NOW)
    assert len(ring_to_bytes(ring)) > 4096
    return ring


def test_a_ring_is_made_once_and_read_back(engine: DynamoDB, wrapper: Wrapper) -> None:
    """A second making finds the first and changes nothing."""
    ring = KeyRing(engine, wrapper, secrets.token_bytes)
    assert ring.create(now=NOW) == Done()
    first = ring.current(now=NOW)
    assert ring.create(now=NOW) == Moved()
    assert KeyRing(engine, wrapper, secrets.token_bytes).current(now=NOW) == first


@pytest.mark.parametrize("table", ["users", "lineages"])
def test_no_ring_is_made_over_accounts_unless_that_is_meant(engine: DynamoDB, wrapper: Wrapper, table: str) -> None:
    """A user or an account state is enough; other key items are no account; however many pages stand before it."""
    ring = KeyRing(engine, wrapper, secrets.token_bytes)
    name = engine.tables.name(table)
    for number in range(HELD_PER_PAGE + 20):
        engine.write("put_item", TableName=name, Item={"pk": {"S": f"K#of-another-kind-{number}"}})
    engine.write("put_item", TableName=name, Item={"pk": {"S": "U#AbCd"}})
    with pytest.raises(AccountsWithoutRing):
        ring.create(now=NOW)
    assert engine.read(engine.tables.users, RING_KEY) is None
    assert ring.create(now=NOW, over_accounts=True) == Done()
    first = stored_item(engine)
    assert ring.create(now=NOW) == ring.create(now=NOW, over_accounts=True) == Moved()
    assert stored_item(engine) == first


def test_a_replaced_ring_is_read_back_however_large(engine: DynamoDB, wrapper: Wrapper) -> None:
    """Rotations outgrow what KMS encrypts directly."""
    ring = KeyRing(engine, wrapper, secrets.token_bytes)
    ring.create(now=NOW)
    larger = ring_of_many_keys()
    assert ring.replace(larger, expected_revision=1) == Done()
    assert KeyRing(engine, wrapper, secrets.token_bytes).current(now=NOW) == larger


def test_a_ring_that_moved_is_not_replaced(engine: DynamoDB, wrapper: Wrapper) -> None:
    """Two operators who rotate from one reading: the second starts over."""
    ring = KeyRing(engine, wrapper, secrets.token_bytes)
    ring.create(now=NOW)
    read = ring.current(now=NOW)
    first, second = (rotate_signing(read, secrets.token_bytes, now=NOW) for _ in range(2))
    assert ring.replace(first, expected_revision=read.revision) == Done()
    assert ring.replace(second, expected_revision=read.revision) == Moved()
    assert KeyRing(engine, wrapper, secrets.token_bytes).current(now=NOW) == first


def test_an_absent_ring_is_not_replaced(engine: DynamoDB, wrapper: Wrapper) -> None:
    """Replacing never makes one."""
    ring = make_ring(secrets.token_bytes, now=NOW)
    assert KeyRing(engine, wrapper, secrets.token_bytes).replace(ring, expected_revision=1) == Moved()
    assert engine.read(engine.tables.users, RING_KEY) is None


def test_writes_whose_answers_were_lost_are_done(engine: DynamoDB, wrapper: Wrapper, line: Line) -> None:
    """Our own wrapped bytes stand there."""
    ring = KeyRing(engine, wrapper, secrets.token_bytes)
    line.lose()
    assert ring.create(now=NOW) == Done()
    raised = raise_not_before(ring.current(now=NOW), now=NOW)
    line.lose()
    assert ring.replace(raised, expected_revision=1) == Done()


def test_development_makes_an_absent_ring_at_first_use(engine: DynamoDB) -> None:
    """And everybody who is first at once gets the same one."""
    rings = [KeyRing(engine, LocalWrapper(), secrets.token_bytes) for _ in range(8)]
    start, seen = Barrier(len(rings)), []

    def first_use(ring: KeyRing) -> None:
        start.wait()
        seen.append(ring.current(now=NOW))

    threads = [Thread(target=first_use, args=(ring,)) for ring in rings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == len(rings)
    assert len(set(seen)) == 1


@pytest.mark.guarantee(9)
def test_elsewhere_an_absent_ring_is_our_own_trouble(engine: DynamoDB, kms_key: str, kms: AwsClient) -> None:
    """A ring made in the middle of a deployment's life would end every login: nobody makes one by asking."""
    with pytest.raises(Unavailable, match="absent"):
        KeyRing(engine, KmsWrapper(kms_key, kms), secrets.token_bytes).current(now=NOW)
    assert engine.read(engine.tables.users, RING_KEY) is None


@pytest.mark.guarantee(10)
def test_wrapped_by_kms_no_key_stands_in_the_table(engine: DynamoDB, kms_key: str, kms: AwsClient) -> None:
    """Neither the ring nor any key of it can be read from the item."""
    store = KeyRing(engine, KmsWrapper(kms_key, kms), secrets.token_bytes)
    store.create(now=NOW)
    ring, item = store.current(now=NOW), stored_item(engine)
    assert ring_to_bytes(ring)[:16] not in item["ring"]["B"]
    assert ring.email_key.reveal() not in item["ring"]["B"]


def _flip(item: Item, name: str) -> Item:
    value = bytearray(item[name]["B"])
    value[-1] ^= 1
    return {**item, name: {"B": bytes(value)}}


TAMPERED: dict[str, Callable[[Item], Item]] = {
    "ring altered": lambda item: _flip(item, "ring"),
    "data key altered": lambda item: _flip(item, "data_key"),
    "ring cut to nothing": lambda item: {**item, "ring": {"B": b""}},
    "ring without data key": lambda item: {name: value for name, value in item.items() if name != "data_key"},
    "no ring": lambda item: {name: value for name, value in item.items() if name != "ring"},
    "another revision": lambda item: {**item, "revision": {"N": "7"}},
    "no revision": lambda item: {name: value for name, value in item.items() if name != "revision"},
}


@pytest.mark.guarantee(9)
@pytest.mark.parametrize("tampered", TAMPERED)
def test_a_ring_that_does_not_open_is_our_own_trouble(
    engine: DynamoDB, kms_key: str, kms: AwsClient, tampered: str
) -> None:
    """Whatever was done to the item: 503, never another ring."""
    KeyRing(engine, KmsWrapper(kms_key, kms), secrets.token_bytes).create(now=NOW)
    put(engine, TAMPERED[tampered](stored_item(engine)))
    with pytest.raises(Unavailable):
        KeyRing(engine, KmsWrapper(kms_key, kms), secrets.token_bytes).current(now=NOW)


def test_a_ring_that_is_not_wrapped_is_refused_where_kms_is_used(
    engine: DynamoDB, kms_key: str, kms: AwsClient
) -> None:
    """Or whoever can write to the table could choose the keys."""
    KeyRing(engine, LocalWrapper(), secrets.token_bytes).create(now=NOW)
    with pytest.raises(Unavailable, match="not wrapped by KMS"):
        KeyRing(engine, KmsWrapper(kms_key, kms), secrets.token_bytes).current(now=NOW)


def test_a_wrapped_ring_is_refused_where_kms_is_not_used(engine: DynamoDB, kms_key: str, kms: AwsClient) -> None:
    """The settings forgot the key: say so."""
    KeyRing(engine, KmsWrapper(kms_key, kms), secrets.token_bytes).create(now=NOW)
    with pytest.raises(Unavailable, match="name no KMS key"):
        KeyRing(engine, LocalWrapper(), secrets.token_bytes).current(now=NOW)


def test_another_customer_key_does_not_open_the_ring(engine: DynamoDB, kms_key: str, kms: AwsClient) -> None:
    """KMS is told which key to use, so that a data key wrapped by a stranger's does not open."""
    other: str = AwsClient("kms").call("create_key")["KeyMetadata"]["KeyId"]
    KeyRing(engine, KmsWrapper(kms_key, kms), secrets.token_bytes).create(now=NOW)
    with pytest.raises(Unavailable):
        KeyRing(engine, KmsWrapper(other, kms), secrets.token_bytes).current(now=NOW)


@pytest.mark.guarantee(9)
def test_kms_being_down_is_our_own_trouble(engine: DynamoDB, kms_key: str) -> None:
    """Never "accept"."""
    KeyRing(engine, KmsWrapper(kms_key), secrets.token_bytes).create(now=NOW)
    kms = AwsClient("kms")

    def down(**_event: object) -> None:
        raise EndpointConnectionError(endpoint_url="https://kms")

    kms.client.meta.events.register("before-call.kms.Decrypt", down)
    with pytest.raises(Unavailable, match="kms decrypt: EndpointConnectionError"):
        KeyRing(engine, KmsWrapper(kms_key, kms), secrets.token_bytes).current(now=NOW)


@pytest.mark.guarantee(9)
def test_kms_being_out_of_reach_of_the_lean_transport_is_our_own_trouble(engine: DynamoDB, kms_key: str) -> None:
    """Nor then."""
    KeyRing(engine, KmsWrapper(kms_key), secrets.token_bytes).create(now=NOW)
    kms = small_kms("http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="kms decrypt: ConnectionRefusedError"):
        KeyRing(engine, KmsWrapper(kms_key, kms), secrets.token_bytes).current(now=NOW)


@pytest.mark.guarantee(9)
@pytest.mark.parametrize("ring", [b"", b"{}", b"\xff", b'{"format":1}'])
def test_bytes_that_are_no_ring_are_our_own_trouble(engine: DynamoDB, ring: bytes) -> None:
    """What opens need not be a ring."""
    put(engine, {**RING_KEY, "revision": {"N": "1"}, "ring": {"B": ring}})
    with pytest.raises(Unavailable):
        KeyRing(engine, LocalWrapper(), secrets.token_bytes).current(now=NOW)


def test_the_ring_is_read_again_after_five_minutes(counting: CountingEngine) -> None:
    """Not a second earlier; and a clock that went back is no reason to wait."""
    ring = KeyRing(counting, LocalWrapper(), secrets.token_bytes)
    ring.create(now=NOW)
    for seconds, reads in ((0, 1), (1, 1), (KEY_RING_REFRESH_S - 1, 1), (KEY_RING_REFRESH_S, 2)):
        ring.current(now=NOW + seconds)
        assert counting.reads == reads
    ring.current(now=NOW)
    assert counting.reads == 3


def test_an_unchanged_ring_is_not_unwrapped_again(counting: CountingEngine) -> None:
    """KMS is asked once per cold start, and once per rotation."""
    wrapper = CountingWrapper(LocalWrapper())
    ring = KeyRing(counting, wrapper, secrets.token_bytes)
    ring.create(now=NOW)
    first = ring.current(now=NOW)
    assert ring.current(now=NOW + KEY_RING_REFRESH_S) is first
    assert (counting.reads, wrapper.opened) == (2, 1)
    rotated = rotate_signing(first, secrets.token_bytes, now=NOW)
    ring.replace(rotated, expected_revision=1)
    assert ring.current(now=NOW + 2 * KEY_RING_REFRESH_S) == rotated
    assert (counting.reads, wrapper.opened) == (3, 2)


def test_a_ring_restored_under_the_same_revision_is_noticed(counting: CountingEngine) -> None:
    """What is compared is the item, not its number."""
    ring = KeyRing(counting, LocalWrapper(), secrets.token_bytes)
    ring.create(now=NOW)
    first = ring.current(now=NOW)
    other = replace(make_ring(secrets.token_bytes, now=NOW), revision=first.revision)
    put(counting, {**stored_item(counting), "ring": {"B": ring_to_bytes(other)}})
    assert ring.current(now=NOW + KEY_RING_REFRESH_S) == other


def test_an_unknown_kid_asks_at_most_once_a_minute(counting: CountingEngine) -> None:
    """Garbage cannot make us read; a rotation is seen a minute later at most."""
    ring = KeyRing(counting, LocalWrapper(), secrets.token_bytes)
    ring.create(now=NOW)
    first = ring.refreshed(now=NOW)
    rotated = rotate_signing(first, secrets.token_bytes, now=NOW)
    ring.replace(rotated, expected_revision=1)
    for second in range(KEY_RING_UNKNOWN_KID_S):
        assert ring.refreshed(now=NOW + second) == first
    assert counting.reads == 1
    assert ring.refreshed(now=NOW + KEY_RING_UNKNOWN_KID_S) == rotated
    assert counting.reads == 2
    assert ring.current(now=NOW + KEY_RING_UNKNOWN_KID_S) == rotated


def test_a_refresh_that_failed_counts_as_asked(counting: CountingEngine) -> None:
    """With DynamoDB down, garbage still costs one read a minute; and the cached ring serves until it is due."""
    ring = KeyRing(counting, LocalWrapper(), secrets.token_bytes)
    ring.create(now=NOW)
    first = ring.current(now=NOW)
    counting.broken = True
    with pytest.raises(Unavailable):
        ring.refreshed(now=NOW + KEY_RING_UNKNOWN_KID_S)
    assert ring.refreshed(now=NOW + KEY_RING_UNKNOWN_KID_S + 1) == first
    assert counting.reads == 2


@pytest.mark.guarantee(9)
def test_a_ring_that_is_due_and_cannot_be_read_is_not_served(counting: CountingEngine) -> None:
    """A raised not-before time must be known everywhere after five minutes: an older ring is never good enough."""
    ring = KeyRing(counting, LocalWrapper(), secrets.token_bytes)
    ring.create(now=NOW)
    first = ring.current(now=NOW)
    counting.broken = True
    assert ring.current(now=NOW + KEY_RING_REFRESH_S - 1) == first
    with pytest.raises(Unavailable):
        ring.current(now=NOW + KEY_RING_REFRESH_S)
