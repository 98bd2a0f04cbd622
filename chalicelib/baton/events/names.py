"""Every event: the level of its log line, whether the account's audit keeps it, and what its alarm counts.

An audited event concerns one account. The owner of the account and the operator can read the event later. Repetitions,
refusals and events that a stranger can cause are not audited, so a stranger cannot fill the audit of an account.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

Level = Literal["debug", "info", "warning", "error"]


class Event(Struct, frozen=True):
    """How an event is recorded.

    ``per_account``: the alarm counts each account once a day, because one person can repeat the event deliberately.
    ``notice``: the name of the mail text that tells the owner. Empty: no mail.
    ``always_told``: the daily limit of notices does not apply, because a thief could use up the limit first.
    """

    level: Level
    audited: bool = False
    per_account: bool = False
    notice: str = ""
    always_told: bool = False


EVENTS: Final[Mapping[str, Event]] = {
    "answered": Event("debug"),  # the access log of API Gateway already has a line for each answer
    "refused": Event("info"),  # for a server error (5xx), the level is warning
    "registered": Event("info", audited=True),
    "registration_retried": Event("info"),
    "breach_check_unavailable": Event("warning"),
    "logged_in": Event("info", audited=True, notice="new_device"),
    "federated_signed_up": Event("info", audited=True),
    "federated_logged_in": Event("info"),
    "identity_token_refused": Event("info"),
    "identity_linked": Event("info", audited=True, notice="identity_linked"),
    "identity_unlinked": Event("info", audited=True, notice="identity_unlinked"),
    "provider_unreachable": Event("warning"),
    # A stored key set was altered, is from an earlier `jwks_uri`, or is encrypted with a root secret that the ring no
    # longer has. Baton fetches the key set again.
    "provider_keys_unreadable": Event("warning"),
    # A login with Apple continues without a refresh token. A caller can cause this event with an invented code.
    "apple_code_not_traded": Event("info"),
    "apple_token_not_revoked": Event("info"),  # the hourly job repeats the revocation
    "apple_revocation_given_up": Event("warning"),
    "apple_revocations_stuck": Event("warning"),
    "apple_revocations_checked": Event("info"),
    "apple_notice": Event("info"),
    "restored_on_new_device": Event("info", audited=True, notice="restored_on_new_device"),
    "login_retried": Event("info"),
    "login_replaced": Event("info", audited=True),
    "attested": Event("info", audited=True),
    "attestation_refused": Event("info"),
    "attestation_reported": Event("info"),
    "attestation_missing": Event("info"),
    # Two devices have one App Attest key, or a recorded request was sent again.
    "attestation_counter_regressed": Event("warning"),
    # Recorded for each login of a client while an operator has lowered "required" to "report".
    "attestation_lowered": Event("warning"),
    "revocation_list_stale": Event("warning"),
    "revocation_list_checked": Event("info"),
    "password_refused": Event("info"),
    "throttled": Event("info", per_account=True),
    "exchanged": Event("debug"),  # the line of its metric already has request and lineage
    "renewed": Event("debug"),  # the line of its metric already has request and lineage
    "exchange_retried": Event("info"),
    "exchange_superseded": Event("info"),
    "token_reused": Event("warning", audited=True, per_account=True, notice="token_reused", always_told=True),
    "exchange_wrong_key": Event("warning"),
    "generation_ahead": Event("warning"),
    "nonce_replayed": Event("info"),
    "call_replayed": Event("info"),
    "answer_not_stored": Event("warning"),
    "cross_site_refused": Event("info"),
    # A browser sends an old cookie. This is recorded once a day for each login.
    "session_superseded": Event("warning", audited=True),
    "browser_bound": Event("info"),
    # A proof is malformed, or another key than the browser's key signed the proof. A stranger can cause this event.
    "proof_wrong_key": Event("warning"),
    # A browser reports that it did not renew its proof. The report changes no decision.
    "proof_skipped_quota_exceeded": Event("info"),
    "proof_skipped_server_error": Event("info"),
    "proof_skipped_unreachable": Event("info"),
    "proof_skipped_other": Event("info"),
    "stepped_up": Event("info"),
    "factor_refused": Event("info"),
    # Recorded once a day, after several wrong codes. It is audited, because only a person with the password, a linked
    # identity or a token of the account can send codes.
    "second_factor_failing": Event("warning", audited=True, notice="second_factor_failing"),
    "factor_added": Event("info", audited=True, notice="factor_added"),
    "factor_removed": Event("info", audited=True, notice="factor_removed"),
    # `passkey_counter`: the signature counter did not grow, so the passkey may be a copy. `passkey_backup_changed`: the
    # flag for "can be synchronised" changed. In both cases, Baton does not refuse the passkey.
    "passkey_counter": Event("warning", audited=True),
    "passkey_backup_changed": Event("info", audited=True),
    "recovery_code_used": Event("warning", audited=True, notice="recovery_code_used"),
    "recovery_codes_renewed": Event("info", audited=True),
    "second_factor_switched": Event("info", audited=True),
    "password_changed": Event("info", audited=True, notice="password_changed"),
    "logged_out": Event("info", audited=True),
    "logged_out_everywhere": Event("info", audited=True),
    "revoked": Event("info", audited=True),
    "device_ended": Event("info", audited=True),
    "ended_by_operator": Event("info", audited=True),
    "account_enabled": Event("info", audited=True),
    "account_disabled": Event("info", audited=True),
    "account_deleted": Event("info", audited=True, notice="account_deleted"),
    "account_forgotten": Event("info"),
    "forget_dropped": Event("info"),
    "account_exported": Event("info", audited=True),
    # An operator exports accounts with `tools.moving`. The tool writes the audit row, which belongs to no account.
    "exported": Event("warning"),
    "account_migrated": Event("info", audited=True),
    "roles_changed": Event("info", audited=True),
    "second_factor_required": Event("info", audited=True),
    "second_factor_released": Event("info", audited=True),
    "address_verified": Event("info", audited=True),
    "password_reset": Event("info", audited=True, notice="password_reset"),
    "account_claimed": Event("info", audited=True, notice="password_reset"),
    "address_changed": Event("info", audited=True, notice="address_changed"),
    "changes_undone": Event("warning", audited=True),
    "mail_codes_guessed": Event("warning"),
    "mail_sent": Event("info"),
    "mail_dropped": Event("info"),
    "mail_suppressed": Event("warning"),
    "mail_feedback_ignored": Event("info"),
    "notice_lost": Event("error"),
    "keys_checked": Event("info"),
    "keys_rotated": Event("warning"),
    "configuration_finding": Event("warning"),
    "configuration_audited": Event("info"),
    "configuration_mismatch": Event("error"),
    "unavailable_by_caller": Event("info"),
    "audit_write_failed": Event("error"),
    "internal_error": Event("error"),
}

APP_PREFIX: Final = "app_"
_APP_EVENT: Final = re.compile(rf"{APP_PREFIX}[A-Za-z0-9_]{{1,60}}")
OF_THE_APP: Final = Event("info", audited=True)


def is_app_event(name: str) -> bool:
    """Check that a team may give an event this name: ``app_`` and 1 to 60 letters, digits or ``_``.

    The metric of the event has the same name.
    """
    return _APP_EVENT.fullmatch(name) is not None
