"""The ways in which a person can be authenticated: ``acr`` and ``amr`` of each, by the code that is stored. No I/O.

``acr`` is a level of ``policy.ACR_LEVELS``. ``amr`` has the methods of RFC 8176. ``recovery`` is Baton's own method:
RFC 8176 has none for a recovery code. A new way of authentication adds a row. A code is never used for another way.
"""

from collections.abc import Mapping
from typing import Final

from chalicelib.baton.lineages.model import Assurance

PASSWORD: Final = Assurance(acr="aal1", amr=("pwd",))
PASSWORD_AND_TOTP: Final = Assurance(acr="aal2", amr=("pwd", "otp", "mfa"))
PASSWORD_AND_RECOVERY_CODE: Final = Assurance(acr="aal2", amr=("pwd", "recovery", "mfa"))
PASSWORD_AND_PASSKEY: Final = Assurance(acr="phr", amr=("pwd", "pop", "user", "mfa"))
PASSKEY: Final = Assurance(acr="phr", amr=("pop", "user", "mfa"))
"""A passkey alone. The authenticator verified the person, by PIN or biometry."""
PASSWORD_ON_REMEMBERED_KEY: Final = Assurance(acr="aal2", amr=("pwd", "pop", "mfa"))
RESTORED: Final = Assurance(acr="0", amr=("pop",))
"""A login restored on a new phone. The phone proved the restore key, and no person proved anything."""
TOTP_ALONE: Final = Assurance(acr="aal1", amr=("otp",))
"""For a step-up only. A thief of the phone has the authenticator app too, so it never replaces the password."""

ASSURANCES: Final[Mapping[int, Assurance]] = {
    1: PASSWORD,
    2: PASSWORD_AND_TOTP,
    3: PASSWORD_AND_RECOVERY_CODE,
    4: PASSWORD_AND_PASSKEY,
    5: PASSKEY,
    6: PASSWORD_ON_REMEMBERED_KEY,
    7: RESTORED,
    8: TOTP_ALONE,
}
CODES: Final = {assurance: code for code, assurance in ASSURANCES.items()}
CODE_BITS: Final = 6
"""A stored number has the code in its lowest bits. The bits above are free for facts about the device."""
