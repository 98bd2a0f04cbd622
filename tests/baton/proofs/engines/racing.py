"""A race on an engine without Baton: each round has one winner, and each win stays stored."""

import functools
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.baton.storage.dynamodb.database import Tables
from tests.baton.proofs.engines.together import PATIENCE_S, Meet, Team

RACERS = 8
LOST = {"ConditionalCheckFailedException", "TransactionCanceledException"}
KEY = {"pk": {"S": "race"}}
ONE = {"N": "1"}

Attempt = Callable[[Any, Tables, int, int], object]
"""A function that tries to win a round. Arguments: DynamoDB, the tables, the numbers of the racer and of the round."""


def update(dynamodb: Any, tables: Tables, racer: int, number: int) -> None:
    """Win a round that has no winner and count the win, with one conditional update."""
    dynamodb.update_item(
        TableName=tables.lineages,
        Key=KEY,
        UpdateExpression="SET won = :next ADD #racer :one",
        ConditionExpression="won = :number",
        ExpressionAttributeNames={"#racer": f"racer{racer}"},
        ExpressionAttributeValues={":number": {"N": str(number)}, ":next": {"N": str(number + 1)}, ":one": ONE},
    )


def transaction(dynamodb: Any, tables: Tables, racer: int, number: int) -> None:
    """Count a round in one table and win it in another, in one transaction, if it has no winner."""
    count = {
        "TableName": tables.users,
        "Key": KEY,
        "UpdateExpression": "ADD #racer :one",
        "ExpressionAttributeNames": {"#racer": f"racer{racer}"},
        "ExpressionAttributeValues": {":one": ONE},
    }
    win = {
        "TableName": tables.lineages,
        "Key": KEY,
        "UpdateExpression": "SET won = :next",
        "ConditionExpression": "won = :number",
        "ExpressionAttributeValues": {":number": {"N": str(number)}, ":next": {"N": str(number + 1)}},
    }
    dynamodb.transact_write_items(TransactItems=[{"Update": count}, {"Update": win}])


@dataclass(frozen=True, slots=True)
class Racer:
    """The arguments of one racer."""

    number: int
    attempt: Attempt
    tables: Tables
    rounds: int


def run(racer: Racer, meet: Meet) -> list[int]:
    """Run every round in parallel with the other racers, and return the rounds that were won."""
    dynamodb = plain_client(os.environ.get("AWS_ENDPOINT_URL_DYNAMODB"))
    won = []
    for number in range(racer.rounds):
        meet()
        try:
            racer.attempt(dynamodb, racer.tables, racer.number, number)
        except ClientError as refusal:
            if refusal.response["Error"]["Code"] not in LOST:
                raise
        else:
            won.append(number)
    return won


def race(team: Team, attempt: Attempt, tables: Tables, rounds: int) -> list[str]:
    """Race this number of rounds, and list the errors. A correct database has none."""
    dynamodb = plain_client(os.environ.get("AWS_ENDPOINT_URL_DYNAMODB"))
    dynamodb.put_item(TableName=tables.lineages, Item={**KEY, "won": {"N": "0"}})
    dynamodb.put_item(TableName=tables.users, Item=KEY)
    told = team(run, [Racer(number, attempt, tables, rounds) for number in range(RACERS)])
    kept: Counter[int] = Counter()
    for table in (tables.lineages, tables.users):
        item = dynamodb.get_item(TableName=table, Key=KEY, ConsistentRead=True)["Item"]
        kept.update({number: int(item.get(f"racer{number}", {"N": "0"})["N"]) for number in range(RACERS)})
    return faults(told, [kept[number] for number in range(RACERS)], rounds)


def faults(told: Sequence[Sequence[int]], kept: Sequence[int], rounds: int) -> list[str]:
    """Compare the answers of the racers with the rules of the race, and with the stored items."""
    winners = Counter(number for won in told for number in won)
    return [
        *(f"round {number} had {winners[number]} winners" for number in range(rounds) if winners[number] != 1),
        *(
            f"racer {racer} was told of {len(won)} wins, and {kept[racer]} were kept"
            for racer, won in enumerate(told)
            if len(won) != kept[racer]
        ),
    ]


@functools.cache
def plain_client(endpoint: str | None) -> Any:
    """Create a DynamoDB client without retries, so that each answer belongs to one request."""
    import botocore.session
    from botocore.config import Config

    config = Config(read_timeout=PATIENCE_S, retries={"total_max_attempts": 1}, max_pool_connections=RACERS)
    return botocore.session.get_session().create_client("dynamodb", endpoint_url=endpoint, config=config)
