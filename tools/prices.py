"""The monthly cost of a deployment, with the prices of ``infra/prices.toml``.

``Work`` has the read and write units of each operation, such as one write unit for an exchange. ``Habits`` is an
estimate of the use. Replace this estimate by the numbers of your dashboard.
"""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from tools.printed import widths
from tools.template import DATA, EDGE, ROOT, of_type, read

TABLE = ROOT / "infra" / "prices.toml"
DAYS_A_MONTH = 30
MILLION = 1_000_000
KB, GB = 1_000, 1_000_000_000


@dataclass(frozen=True, slots=True)
class Habits:
    """The estimated use of one active account: its number of devices, and its operations.

    Each number of operations is for one day, or for one month if its name ends in ``_a_month``.
    """

    devices: float = 1.5
    exchanges: float = 8
    safe_calls: float = 40
    changing_calls: float = 8
    logins_a_month: float = 1
    registrations_a_month: float = 0.05


@dataclass(frozen=True, slots=True)
class Work:
    """The operations of a deployment in one month."""

    exchanges: float
    safe_calls: float
    changing_calls: float
    logins: float
    registrations: float

    @property
    def requests(self) -> float:
        """The number of requests. Each request passes firewall, gateway and function."""
        return self.exchanges + self.safe_calls + self.changing_calls + self.logins + self.registrations

    @property
    def write_units(self) -> float:
        """The write units of DynamoDB, with the audit rows of logins and registrations."""
        return self.exchanges + self.changing_calls + 4 * self.logins + 8 * self.registrations

    @property
    def read_units(self) -> float:
        """The read units of DynamoDB. All reads are strongly consistent."""
        return self.safe_calls + self.changing_calls + 3 * self.logins

    @property
    def busy_s(self) -> float:
        """The run time of the function in seconds, with the round trips to DynamoDB.

        A login or registration takes the longest, because it computes an Argon2 hash.
        """
        quick = 15 * self.safe_calls + 25 * self.changing_calls + 20 * self.exchanges
        return (quick + 180 * self.logins + 180 * self.registrations) / 1000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the bill. A deployment pays a ``hardened`` line only with ``infra/edge.yaml``."""

    what: str
    amount: str
    usd: float
    hardened: bool = False


def work(users: int, habits: Habits) -> Work:
    """Return the operations of this number of active accounts in a month."""
    daily = users * DAYS_A_MONTH
    return Work(
        exchanges=daily * habits.exchanges,
        safe_calls=daily * habits.safe_calls,
        changing_calls=daily * habits.changing_calls,
        logins=users * habits.logins_a_month,
        registrations=users * habits.registrations_a_month,
    )


def stored_gb(users: int, habits: Habits) -> float:
    """Return the size of the stored data in GB.

    An account has 1.2 KB in ``users``, 0.2 KB of account state, 0.14 KB for each device, and 2 KB of audit rows.
    """
    return users * (1.2 + 0.2 + 0.14 * habits.devices + 2.0) * KB / GB


def monthly(users: int, prices: Mapping[str, float], habits: Habits = Habits(), *, memory_mb: int = 1024) -> list[Line]:
    """Return the monthly bill for this number of active accounts. ``memory_mb``: the memory of the function."""
    done = work(users, habits)
    gb = stored_gb(users, habits)
    logged_gb = done.requests * 0.7 * KB / GB
    keys, alarms, rules, metrics = _counted()
    gb_seconds = done.busy_s * memory_mb / 1024
    return [
        Line(
            "API Gateway",
            f"{done.requests / MILLION:,.1f} M requests",
            _per_million(done.requests, prices, "api_gateway_rest"),
        ),
        Line(
            "Lambda",
            f"{gb_seconds:,.0f} GB-s",
            _per_million(done.requests, prices, "lambda") + gb_seconds * prices["lambda_gb_second_arm64"],
        ),
        Line(
            "DynamoDB, writing",
            f"{done.write_units / MILLION:,.1f} M units",
            done.write_units / MILLION * prices["dynamodb_million_write_units"],
        ),
        Line(
            "DynamoDB, reading",
            f"{done.read_units / MILLION:,.1f} M units",
            done.read_units / MILLION * prices["dynamodb_million_read_units"],
        ),
        Line(
            "DynamoDB, kept",
            f"{gb:,.2f} GB, recoverable, backed up",
            gb * (prices["dynamodb_gb_month"] + prices["dynamodb_recovery_gb_month"] + prices["backup_gb_month"]),
        ),
        Line(
            "KMS",
            f"{keys} keys",
            keys * prices["kms_key_month"] + _kms_requests(done) / 10_000 * prices["kms_ten_thousand_requests"],
        ),
        Line(
            "Logs",
            f"{logged_gb:,.1f} GB, kept for 90 days",
            logged_gb * (prices["logs_gb_written"] + 3 * prices["logs_gb_month"]),
        ),
        Line("Metrics", f"{metrics} of our own", metrics * prices["metric_month"]),
        Line(
            "Traffic out",
            f"{done.requests * 1.5 * KB / GB:,.1f} GB",
            done.requests * 1.5 * KB / GB * prices["transfer_gb_out"],
        ),
        Line(
            "Firewall",
            f"{rules} rules",
            prices["firewall_month"]
            + rules * prices["firewall_rule_month"]
            + _per_million(done.requests, prices, "firewall"),
            hardened=True,
        ),
        Line(
            "Alarms, dashboard",
            f"{alarms} and 1",
            alarms * prices["alarm_month"] + prices["dashboard_month"],
            hardened=True,
        ),
    ]


def _per_million(requests: float, prices: Mapping[str, float], what: str) -> float:
    return requests / MILLION * prices[f"{what}_million_requests"]


def _kms_requests(done: Work) -> float:
    """Estimate the calls to KMS. Every 5 minutes, each environment makes one call, and causes two calls by DynamoDB."""
    environments = 1 + done.busy_s / (DAYS_A_MONTH * 86_400) * 10
    return environments * 3 * 12 * 24 * DAYS_A_MONTH


def _counted() -> tuple[int, int, int, int]:
    """Return four numbers: KMS keys, alarms, firewall rules and custom metrics.

    An alarm counts once for each metric that it watches, because AWS bills each of these metrics. The number of custom
    metrics is an estimate: one for each event and error that occurs.
    """
    data, edge = read(DATA), read(EDGE)
    (firewall,) = of_type(edge, "AWS::WAFv2::WebACL").values()
    alarms = of_type(edge, "AWS::CloudWatch::Alarm").values()
    watched = sum(sum("MetricStat" in one for one in alarm.get("Metrics", ())) or 1 for alarm in alarms)
    return len(of_type(data, "AWS::KMS::Key")), watched, len(firewall["Rules"]), 30


@functools.cache
def table() -> tuple[date, str, dict[str, float]]:
    """Read the price table: its date, its region and the prices."""
    parsed: dict[str, Any] = tomllib.loads(TABLE.read_text("utf-8"))
    return parsed["read_on"], parsed["region"], {name: float(row["usd"]) for name, row in parsed["prices"].items()}


def bill(users: int, habits: Habits = Habits(), *, memory_mb: int = 1024) -> str:
    """Return the monthly bill as text: its lines, and the totals without and with ``infra/edge.yaml``."""
    read_on, region, prices = table()
    lines = monthly(users, prices, habits, memory_mb=memory_mb)
    plain = sum(line.usd for line in lines if not line.hardened)
    what, amount = widths([[line.what, line.amount] for line in lines])
    told = [f"  {line.what:<{what}}  {line.amount:<{amount}}  {line.usd:>14,.2f}" for line in lines]
    told.insert(sum(not line.hardened for line in lines), f"  {'in all':<{what + amount + 2}}  {plain:>14,.2f}\n")
    told += [f"  {'in all, hardened':<{what + amount + 2}}  {sum(line.usd for line in lines):>14,.2f}", ""]
    calls = f"{habits.safe_calls:g} safe and {habits.changing_calls:g} changing calls"
    told += [
        f"  {users:,} active accounts, each a day: {habits.exchanges:g} exchanges, {calls}.",
        f"  US dollars a month, {region}, list prices of {read_on} (infra/prices.toml), free tiers left out.",
    ]
    return "\n".join(told)
