"""Compare the observed configuration with the requirements. ``look.py`` reads the configuration. No I/O."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct


class Required(Struct, frozen=True):
    """The requirements of a table: encryption by a customer key, point-in-time recovery, deletion protection, TTL."""

    customer_key: bool
    recovery: bool
    protection: bool
    swept: bool


TABLES: Final[Mapping[str, Required]] = {
    # This data cannot be created again.
    "users": Required(customer_key=True, recovery=True, protection=True, swept=False),
    "lineages": Required(customer_key=True, recovery=True, protection=True, swept=False),
    # If this table is lost, clients must retry. So AWS's own key is enough, and no recovery is needed.
    "ephemeral": Required(customer_key=False, recovery=False, protection=False, swept=True),
    # The items are kept for thirteen months. An archive can read the stream of this table in place of backups.
    "audit": Required(customer_key=True, recovery=False, protection=False, swept=True),
}

KEY_WRITES: Final = (
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:DeleteItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:PartiQLInsert",
    "dynamodb:PartiQLUpdate",
    "dynamodb:PartiQLDelete",
)
"""Every IAM action that writes an item.

The role of the API must not use these actions for items whose key begins with ``K#``.
"""

KEYS_DENIED: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    "ForAnyValue:StringLike": {"dynamodb:LeadingKeys": ["K#*"]}
}
"""The condition of the statement that denies the actions of ``KEY_WRITES``.

``ForAnyValue``: a request for a key item together with other items is denied too.
"""


class Finding(Struct, frozen=True):
    """A difference from the required configuration. ``remedy``: a command, page or instruction to correct it."""

    subject: str
    problem: str
    remedy: str


class ObservedTable(Struct, frozen=True):
    """An observed table.

    - ``table``: its name in ``TABLES``.
    - ``name``: its full name.
    - ``key``: the ARN of its KMS key, or ``None``.
    - ``swept_by``: its TTL attribute, or ``None``.
    - ``policy``: its resource policy, or ``None``.
    """

    table: str
    name: str
    key: str | None
    recovery: bool
    protection: bool
    swept_by: str | None
    policy: str | None


class ObservedKey(Struct, frozen=True):
    """An observed KMS key.

    ``ours``: it is a customer key, not a key of AWS. ``public``: its policy allows every principal to use it.
    """

    arn: str
    ours: bool
    enabled: bool
    rotates: bool
    public: bool


class ObservedLogGroup(Struct, frozen=True):
    """An observed log group. ``retention_days`` is ``None`` if its lines never expire."""

    name: str
    retention_days: int | None
    key: str | None


class ObservedStage(Struct, frozen=True):
    """An observed stage of API Gateway. ``body_logged``: its execution logs contain tokens and passwords."""

    name: str
    firewall: bool
    access_logged: bool
    body_logged: bool
    throttled: bool


class ObservedFunction(Struct, frozen=True):
    """An observed function. In a correct deployment, ``open_to`` and ``key_writes`` are empty.

    - ``open_to``: the policy statements and function URLs that allow every caller to call the function without the API.
    - ``key_writes``: the actions of ``KEY_WRITES`` whose denial is missing. An inline policy of the function's role
      must deny each action for key items (``K#``).
    """

    name: str
    open_to: tuple[str, ...]
    key_writes: tuple[str, ...]


Observed = ObservedTable | ObservedKey | ObservedLogGroup | ObservedStage | ObservedFunction


def judge(found: Observed, *, expected_key: str, expected_expiry: str) -> Iterator[Finding]:
    """Yield the findings about an observed part.

    ``expected_key`` is the ARN of the deployment's KMS key. If it is empty (unknown), a table may use any KMS key.
    ``expected_expiry`` is the name of the TTL attribute.
    """
    match found:
        case ObservedTable():
            yield from _table(found, TABLES[found.table], expected_key, expected_expiry)
        case ObservedKey():
            yield from _key(found)
        case ObservedLogGroup():
            yield from _log_group(found)
        case ObservedStage():
            yield from _stage(found)
        case ObservedFunction():
            for whom in found.open_to:
                page = "aws lambda remove-permission, or delete-function-url-config"
                yield Finding(found.name, f"{whom} may call it without the API, its firewall and its throttles", page)
            if found.key_writes:
                problem = f"its role may write the key ring: {', '.join(found.key_writes)}"
                yield Finding(found.name, problem, "deploy again with the stage's policy in .chalice/")


def _table(found: ObservedTable, wanted: Required, expected_key: str, expected_expiry: str) -> Iterator[Finding]:
    name = found.name
    update = f"aws dynamodb update-table --table-name {name}"
    remedy = f"{update} --sse-specification Enabled=true,SSEType=KMS,KMSMasterKeyId={expected_key or 'KEY'}"
    if wanted.customer_key and found.key is None:
        yield Finding(name, "it is not encrypted with the customer key", remedy)
    elif wanted.customer_key and expected_key and found.key != expected_key:
        yield Finding(name, f"it is encrypted with another key, {found.key}", remedy)
    if wanted.recovery and not found.recovery:
        remedy = (
            f"aws dynamodb update-continuous-backups --table-name {name} "
            "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
        )
        yield Finding(name, "it cannot be recovered to a point in time", remedy)
    if wanted.protection and not found.protection:
        yield Finding(name, "it has no deletion protection", f"{update} --deletion-protection-enabled")
    if wanted.swept and found.swept_by != expected_expiry:
        remedy = (
            f"aws dynamodb update-time-to-live --table-name {name} "
            f"--time-to-live-specification Enabled=true,AttributeName={expected_expiry}"
        )
        yield Finding(name, "TTL does not delete expired items", remedy)
    if found.policy is not None:
        remedy = f"aws dynamodb delete-resource-policy --resource-arn <ARN of {name}>"
        yield Finding(name, "a resource policy gives access without IAM", remedy)


def _key(found: ObservedKey) -> Iterator[Finding]:
    if not found.enabled:
        yield Finding(found.arn, "it is disabled, or its deletion is scheduled", "docs/baton/runbooks/kms-key-lost.md")
    if not found.ours:
        yield Finding(found.arn, "it is AWS's key, not the customer's", "deploy infra/data.yaml")
    elif not found.rotates:
        yield Finding(found.arn, "it does not rotate", f"aws kms enable-key-rotation --key-id {found.arn}")
    if found.public:
        yield Finding(
            found.arn, "its policy allows every principal to use it", f"aws kms put-key-policy --key-id {found.arn}"
        )


def _log_group(found: ObservedLogGroup) -> Iterator[Finding]:
    if found.retention_days is None:
        remedy = f"aws logs put-retention-policy --log-group-name {found.name} --retention-in-days 90"
        yield Finding(found.name, "its lines never expire", remedy)
    if found.key is None:
        remedy = f"aws logs associate-kms-key --log-group-name {found.name} --kms-key-id <OperationsKeyArn>"
        yield Finding(found.name, "it is not encrypted with a customer key", remedy)


def _stage(found: ObservedStage) -> Iterator[Finding]:
    again = "deploy with infra/edge.yaml: docs/baton/operations.md"
    if not found.firewall:
        yield Finding(found.name, "it has no firewall", again)
    if not found.access_logged:
        yield Finding(found.name, "it has no access log", again)
    if found.body_logged:
        yield Finding(found.name, "its execution logs contain bodies, with passwords and tokens", again)
    if not found.throttled:
        yield Finding(found.name, "it has no throttle", again)
