"""Exactly-once calls on DynamoDB: an unreadable item gives no verdict."""

import pytest

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.storage.aws.service import ConditionFailed
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.once import OnceCalls
from chalicelib.baton.storage.dynamodb.values import Item, binary, number, text
from chalicelib.baton.testing.contract.once import ANSWER, DIGEST, KEY, OURS, THEIRS
from chalicelib.baton.testing.contract.values import NOW

pytestmark = pytest.mark.guarantee(8)


WHOLE: Item = {
    "pk": text(KEY),
    "digest": binary(DIGEST),
    "started": number(NOW),
    "mark": binary(OURS),
    "expires": number(NOW + 1),
}


@pytest.mark.parametrize("missing", ["digest", "started", "mark"])
def test_an_unreadable_item_is_unavailable(engine: DynamoDB, missing: str) -> None:
    """The claim fails, and the view does not run."""
    item = {name: value for name, value in WHOLE.items() if name != missing}
    engine.write("put_item", TableName=engine.tables.ephemeral, Item=item)
    with pytest.raises(Unavailable, match="once call"):
        OnceCalls(engine).claim(KEY, digest=DIGEST, mark=THEIRS, now=NOW)


def test_a_refused_claim_without_the_stored_item_is_unavailable(
    engine: DynamoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the stored item no verdict is possible."""

    def refused(*_: object, **__: object) -> Item:
        raise ConditionFailed(None)

    monkeypatch.setattr(engine, "write", refused)
    with pytest.raises(Unavailable, match="does not show"):
        OnceCalls(engine).claim(KEY, digest=DIGEST, mark=OURS, now=NOW)


def test_an_item_has_these_attributes(engine: DynamoDB) -> None:
    """`data.md` lists them. Nothing else of a request is stored, and no key of a client."""
    calls = OnceCalls(engine)
    calls.claim(KEY, digest=DIGEST, mark=OURS, now=NOW)
    calls.store(KEY, mark=OURS, answer=ANSWER, now=NOW)
    item = engine.read(engine.tables.ephemeral, {"pk": text(KEY)})
    assert item is not None
    assert item.keys() == {"pk", "digest", "started", "mark", "expires", "answer"}
