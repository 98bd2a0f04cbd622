"""The routes that a cold start does not make: most environments answer none of them for their first request.

The first request to one of them imports and makes them all (``assembly.py``). The other routes are in
``core_assembly.py``.
"""

from typing import Final

LATER: Final = (
    "GET /session",
    "POST /register",
    "POST /register/start",
    "POST /login",
    "POST /login/email-code",
    "POST /login/enrol",
    "POST /login/factor",
    "POST /login/factor/options",
    "POST /login/passkey",
    "POST /login/passkey/options",
    "POST /login/restore",
    "POST /login/restore/options",
    "DELETE /me",
    "GET /me/activity",
    "DELETE /me/devices/{device_id}",
    "POST /me/email",
    "POST /me/email/code",
    "POST /me/email/confirm",
    "POST /me/email/verify",
    "GET /me/export",
    "GET /me/factors",
    "POST /me/factors/recovery-codes",
    "POST /me/factors/totp",
    "DELETE /me/factors/totp",
    "POST /me/factors/totp/confirm",
    "GET /me/passkeys",
    "POST /me/passkeys",
    "POST /me/passkeys/options",
    "POST /me/passkeys/upgrade-options",
    "PATCH /me/passkeys/{passkey_id}",
    "DELETE /me/passkeys/{passkey_id}",
    "POST /me/password",
    "PUT /me/restore-key",
    "DELETE /me/restore-key",
    "POST /me/restore-key/options",
    "PUT /me/second-factor",
    "POST /password/forgot",
    "POST /password/reset",
    "POST /step-up",
    "POST /step-up/options",
    "GET /mail/action",
    "HEAD /mail/action",
    "POST /mail/not-me",
    "POST /mail/undo",
)
"""``METHOD path`` of each. A test compares them with the routes that are made."""
