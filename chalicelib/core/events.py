"""Every event: the level of its log line, and whether the account's audit keeps it.

An audited event is something that happened to an account: its owner and the operator may read it later. Repetitions,
refusals and what a stranger can cause are not audited, so that nobody else can fill the audit of an account.
"""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

Level = Literal["debug", "info", "warning", "error"]


class Event(Struct, frozen=True):
    """How an event is recorded."""

    level: Level
    audited: bool = False


EVENTS: Final[Mapping[str, Event]] = {
    "answered": Event("debug"),  # API Gateway's access log has a line for each already
    "refused": Event("info"),  # a server error (5xx): warning
    "registered": Event("info", audited=True),
    "registration_retried": Event("info"),
    "logged_in": Event("info", audited=True),
    "login_retried": Event("info"),
    "login_replaced": Event("info", audited=True),
    "password_refused": Event("info"),
    "throttled": Event("info"),
    "exchanged": Event("debug"),  # its metric's line carries request and lineage already
    "renewed": Event("debug"),  # the same
    "exchange_retried": Event("info"),
    "exchange_superseded": Event("info"),
    "token_reused": Event("warning", audited=True),
    "foreign_key_exchange": Event("warning"),
    "generation_ahead": Event("warning"),
    "nonce_replayed": Event("info"),
    "stepped_up": Event("info"),
    "password_changed": Event("info", audited=True),
    "logged_out": Event("info", audited=True),
    "logged_out_everywhere": Event("info", audited=True),
    "revoked": Event("info", audited=True),
    "device_ended": Event("info", audited=True),
    "account_active": Event("info", audited=True),
    "account_disabled": Event("info", audited=True),
    "account_deleted": Event("info", audited=True),
    "keys_checked": Event("info"),
    "keys_rotated": Event("warning"),
    "configuration_finding": Event("warning"),
    "configuration_audited": Event("info"),
    "configuration_mismatch": Event("error"),
    "audit_lost": Event("error"),
    "defect": Event("error"),
}
