"""The key ring is made once, encrypted by KMS, cached for minutes, and replaced only if it is unchanged."""

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
from chalicelib.baton.storage.dynamodb.key_ring import RING_KEY, AccountsWithoutRing, KeyRing
from chalicelib.baton.storage.dynamodb.key_wrapping import KmsWrapper, LocalWrapper, Wrapper
from chalicelib.baton.storage.dynamodb.values import Item
from chalicelib.baton.testing.contract.values import NOW
from tests.baton.storage.test_lost_answers import Line, line

__all__ = ["line"]


class CountingEngine(DynamoDB):
    """A DynamoDB that counts its reads and can fail."""

    def __init__(self, engine: DynamoDB, dynamodb: AwsClient) -> None:
        """Read the same tables."""
        super().__init__(engine.tables, dynamodb)
        self.reads = 0
        self.broken = False

    def read(self, table: str, key: Item) -> Item | None:
        """Read and count, or fail."""
        self.reads += 1
        if self.broken:
            raise Unavailable("broken")
        return super().read(table, key)


class CountingWrapper:
    """A wrapper that counts its calls of `unwrap`."""

    makes_absent_ring: ClassVar[bool] = False

    def __init__(self, wrapper: Wrapper) -> None:
        """Wrap with another wrapper."""
        self.wrapper = wrapper
        self.opened = 0

    def wrap(self, ring: bytes) -> Item:
        """Wrap."""
        return self.wrapper.wrap(ring)

    def unwrap(self, stored: Item) -> bytes:
        """Unwrap and count."""
        self.opened += 1
        return self.wrapper.unwrap(stored)


@pytest.fixture
def counting(engine: DynamoDB, dynamodb: AwsClient) -> CountingEngine:
    """Return the counting DynamoDB."""
    return CountingEngine(engine, dynamodb)


@pytest.fixture(scope="module")
def kms_key(dynamodb: AwsClient) -> str:
    """Return a customer key. ``dynamodb`` is requested because it starts moto."""
    assert dynamodb
    key: str = AwsClient("kms").call("create_key")["KeyMetadata"]["KeyId"]
    return key


def small_kms(endpoint: str) -> AwsClient:
    """Call KMS with the small AWS client."""
    return AwsClient(
        "kms",
        endpoint=Endpoint(endpoint, "us-east-1", source_of(AccessKey("test", Secret(b"test"), Secret(b"")))),
        pause=lambda _: None,
    )


@pytest.fixture(params=["botocore", "small"])
def kms(request: pytest.FixtureRequest, endpoint: str) -> AwsClient:
    """Return KMS with each AWS client in turn."""
    return AwsClient("kms") if request.param == "botocore" else small_kms(endpoint)


@pytest.fixture(params=["local", "kms", "small kms"])
def wrapper(request: pytest.FixtureRequest, kms_key: str, endpoint: str) -> Wrapper:
    """Return each wrapper in turn."""
    if request.param == "local":
        return LocalWrapper()
    return KmsWrapper(kms_key, small_kms(endpoint) if request.param == "small kms" else None)


def stored_item(engine: DynamoDB) -> Item:
    """Read the stored item."""
    item = engine.read(engine.tables.users, RING_KEY)
    assert item is not None
    return item


def put(engine: DynamoDB, item: Item) -> None:
    """Store the item, and overwrite an earlier item."""
    engine.write("put_item", TableName=engine.tables.users, Item=item)


def ring_of_many_keys() -> Ring:
    """Make a ring larger than 4 KB, which KMS cannot encrypt itself."""
    ring = make_ring(secrets.token_bytes, now=NOW)
    for _ in range(30):
        ring = rotate_root(rotate_signing(ring, secrets.token_bytes, now=NOW), secrets.token_bytes, now=NOW)
    assert len(ring_to_bytes(ring)) > 4096
    return ring


def test_a_ring_is_made_once_and_read_back(engine: DynamoDB, wrapper: Wrapper) -> None:
    """A second `create` finds the first ring and changes nothing."""
    ring = KeyRing(engine, wrapper, secrets.token_bytes)
    assert ring.create(now=NOW) == Done()
    first = ring.current(now=NOW)
    assert ring.create(now=NOW) == Moved()
    assert KeyRing(engine, wrapper, secrets.token_bytes).current(now=NOW) == first


@pytest.mark.parametrize("table", ["users", "lineages"])
def test_no_ring_is_made_if_accounts_exist_unless_requested(engine: DynamoDB, wrapper: Wrapper, table: str) -> None:
    """A user or an account state is enough. Other key items do not count. All pages of the table are read."""
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


def test_a_replaced_ring_of_any_size_is_read_back(engine: DynamoDB, wrapper: Wrapper) -> None:
    """After some rotations a ring is larger than KMS encrypts directly."""
    ring = KeyRing(engine, wrapper, secrets.token_bytes)
    ring.create(now=NOW)
    larger = ring_of_many_keys()
    assert ring.replace(larger, expected_revision=1) == Done()
    assert KeyRing(engine, wrapper, secrets.token_bytes).current(now=NOW) == larger


def test_a_ring_that_has_changed_is_not_replaced(engine: DynamoDB, wrapper: Wrapper) -> None:
    """Two operators rotate after the same read. The second must start again."""
    ring = KeyRing(engine, wrapper, secrets.token_bytes)
    ring.create(now=NOW)
    read = ring.current(now=NOW)
    first, second = (rotate_signing(read, secrets.token_bytes, now=NOW) for _ in range(2))
    assert ring.replace(first, expected_revision=read.revision) == Done()
    assert ring.replace(second, expected_revision=read.revision) == Moved()
    assert KeyRing(engine, wrapper, secrets.token_bytes).current(now=NOW) == first


def test_a_missing_ring_is_not_replaced(engine: DynamoDB, wrapper: Wrapper) -> None:
    """`replace` never makes a ring."""
    ring = make_ring(secrets.token_bytes, now=NOW)
    assert KeyRing(engine, wrapper, secrets.token_bytes).replace(ring, expected_revision=1) == Moved()
    assert engine.read(engine.tables.users, RING_KEY) is None


def test_a_write_with_a_lost_answer_counts_as_done(engine: DynamoDB, wrapper: Wrapper, line: Line) -> None:
    """The stored bytes are those of the first attempt."""
    ring = KeyRing(engine, wrapper, secrets.token_bytes)
    line.lose()
    assert ring.create(now=NOW) == Done()
    raised = raise_not_before(ring.current(now=NOW), now=NOW)
    line.lose()
    assert ring.replace(raised, expected_revision=1) == Done()


def test_development_makes_a_missing_ring_at_first_use(engine: DynamoDB) -> None:
    """Parallel first uses get the same ring."""
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
def test_in_a_deployment_a_missing_ring_is_a_server_error(engine: DynamoDB, kms_key: str, kms: AwsClient) -> None:
    """A new ring would end every login, so a request never makes a ring."""
    with pytest.raises(Unavailable, match="absent"):
        KeyRing(engine, KmsWrapper(kms_key, kms), secrets.token_bytes).current(now=NOW)
    assert engine.read(engine.tables.users, RING_KEY) is None


@pytest.mark.guarantee(10)
def test_the_table_contains_no_key_in_the_clear(engine: DynamoDB, kms_key: str, kms: AwsClient) -> None:
    """With KMS, neither the ring nor any of its keys can be read from the item."""
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
    "ring changed": lambda item: _flip(item, "ring"),
    "data key altered": lambda item: _flip(item, "data_key"),
    "ring empty": lambda item: {**item, "ring": {"B": b""}},
    "ring without data key": lambda item: {name: value for name, value in item.items() if name != "data_key"},
    "no ring": lambda item: {name: value for name, value in item.items() if name != "ring"},
    "another revision": lambda item: {**item, "revision": {"N": "7"}},
    "no revision": lambda item: {name: value for name, value in item.items() if name != "revision"},
}


@pytest.mark.guarantee(9)
@pytest.mark.parametrize("tampered", TAMPERED)
def test_a_ring_that_cannot_be_decrypted_is_a_server_error(
    engine: DynamoDB, kms_key: str, kms: AwsClient, tampered: str
) -> None:
    """For each change of the item the answer is 503, and never another ring."""
    KeyRing(engine, KmsWrapper(kms_key, kms), secrets.token_bytes).create(now=NOW)
    put(engine, TAMPERED[tampered](stored_item(engine)))
    with pytest.raises(Unavailable):
        KeyRing(engine, KmsWrapper(kms_key, kms), secrets.token_bytes).current(now=NOW)


def test_an_unencrypted_ring_is_refused_if_kms_is_used(engine: DynamoDB, kms_key: str, kms: AwsClient) -> None:
    """An attacker who can write to the table must not choose the keys."""
    KeyRing(engine, LocalWrapper(), secrets.token_bytes).create(now=NOW)
    with pytest.raises(Unavailable, match="not encrypted with KMS"):
        KeyRing(engine, KmsWrapper(kms_key, kms), secrets.token_bytes).current(now=NOW)


def test_a_ring_encrypted_by_kms_is_refused_without_a_kms_key(engine: DynamoDB, kms_key: str, kms: AwsClient) -> None:
    """The KMS key is missing in the settings, and the reason says so."""
    KeyRing(engine, KmsWrapper(kms_key, kms), secrets.token_bytes).create(now=NOW)
    with pytest.raises(Unavailable, match="name no KMS key"):
        KeyRing(engine, LocalWrapper(), secrets.token_bytes).current(now=NOW)


def test_another_customer_key_does_not_decrypt_the_ring(engine: DynamoDB, kms_key: str, kms: AwsClient) -> None:
    """The call names its key, so KMS refuses a data key that is encrypted with another key."""
    other: str = AwsClient("kms").call("create_key")["KeyMetadata"]["KeyId"]
    KeyRing(engine, KmsWrapper(kms_key, kms), secrets.token_bytes).create(now=NOW)
    with pytest.raises(Unavailable):
        KeyRing(engine, KmsWrapper(other, kms), secrets.token_bytes).current(now=NOW)


@pytest.mark.guarantee(9)
def test_an_unreachable_kms_is_a_server_error(engine: DynamoDB, kms_key: str) -> None:
    """The request is not accepted."""
    KeyRing(engine, KmsWrapper(kms_key), secrets.token_bytes).create(now=NOW)
    kms = AwsClient("kms")

    def down(**_event: object) -> None:
        raise EndpointConnectionError(endpoint_url="https://kms")

    kms.client.meta.events.register("before-call.kms.Decrypt", down)
    with pytest.raises(Unavailable, match="kms decrypt: EndpointConnectionError"):
        KeyRing(engine, KmsWrapper(kms_key, kms), secrets.token_bytes).current(now=NOW)


@pytest.mark.guarantee(9)
def test_an_unreachable_kms_is_a_server_error_with_the_small_client(engine: DynamoDB, kms_key: str) -> None:
    """The rule is the same as with botocore."""
    KeyRing(engine, KmsWrapper(kms_key), secrets.token_bytes).create(now=NOW)
    kms = small_kms("http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="kms decrypt: ConnectionRefusedError"):
        KeyRing(engine, KmsWrapper(kms_key, kms), secrets.token_bytes).current(now=NOW)


@pytest.mark.guarantee(9)
@pytest.mark.parametrize("ring", [b"", b"{}", b"\xff", b'{"format":1}'])
def test_decrypted_bytes_that_are_not_a_ring_are_a_server_error(engine: DynamoDB, ring: bytes) -> None:
    """The bytes can be decrypted, but they are not a valid ring."""
    put(engine, {**RING_KEY, "revision": {"N": "1"}, "ring": {"B": ring}})
    with pytest.raises(Unavailable):
        KeyRing(engine, LocalWrapper(), secrets.token_bytes).current(now=NOW)


def test_the_ring_is_read_again_after_five_minutes(counting: CountingEngine) -> None:
    """The ring is not read a second earlier. If the clock was set back, the ring is read immediately."""
    ring = KeyRing(counting, LocalWrapper(), secrets.token_bytes)
    ring.create(now=NOW)
    for seconds, reads in ((0, 1), (1, 1), (KEY_RING_REFRESH_S - 1, 1), (KEY_RING_REFRESH_S, 2)):
        ring.current(now=NOW + seconds)
        assert counting.reads == reads
    ring.current(now=NOW)
    assert counting.reads == 3


def test_an_unchanged_ring_is_not_decrypted_again(counting: CountingEngine) -> None:
    """KMS is called once per cold start and once per rotation."""
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


def test_a_restored_ring_with_the_same_revision_is_detected(counting: CountingEngine) -> None:
    """The items are compared, and not their revisions."""
    ring = KeyRing(counting, LocalWrapper(), secrets.token_bytes)
    ring.create(now=NOW)
    first = ring.current(now=NOW)
    other = replace(make_ring(secrets.token_bytes, now=NOW), revision=first.revision)
    put(counting, {**stored_item(counting), "ring": {"B": ring_to_bytes(other)}})
    assert ring.current(now=NOW + KEY_RING_REFRESH_S) == other


def test_an_unknown_kid_causes_at_most_one_read_a_minute(counting: CountingEngine) -> None:
    """Invalid tokens cannot cause more reads. A rotation is seen after at most a minute."""
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


def test_a_failed_read_counts_for_this_limit(counting: CountingEngine) -> None:
    """While DynamoDB is down, invalid tokens cause one read a minute.

    The cached ring is used until its refresh is due.
    """
    ring = KeyRing(counting, LocalWrapper(), secrets.token_bytes)
    ring.create(now=NOW)
    first = ring.current(now=NOW)
    counting.broken = True
    with pytest.raises(Unavailable):
        ring.refreshed(now=NOW + KEY_RING_UNKNOWN_KID_S)
    assert ring.refreshed(now=NOW + KEY_RING_UNKNOWN_KID_S + 1) == first
    assert counting.reads == 2


@pytest.mark.guarantee(9)
def test_an_old_ring_is_not_used_if_its_refresh_fails(counting: CountingEngine) -> None:
    """Each environment must have a raised not-before time after five minutes."""
    ring = KeyRing(counting, LocalWrapper(), secrets.token_bytes)
    ring.create(now=NOW)
    first = ring.current(now=NOW)
    counting.broken = True
    assert ring.current(now=NOW + KEY_RING_REFRESH_S - 1) == first
    with pytest.raises(Unavailable):
        ring.current(now=NOW + KEY_RING_REFRESH_S)
