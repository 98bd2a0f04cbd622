"""The factors that the contract writes, and every change of factors."""

from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.factors.model import (
    AddPasskey,
    EnrolTotp,
    FactorChange,
    Passkey,
    RecoveryCodes,
    Remember,
    RemoveAll,
    RemovePasskey,
    RemoveTotp,
    ReplaceRecoveryCodes,
    SecondFactors,
    SwitchSecondFactor,
    Totp,
)
from chalicelib.baton.lineages.model import Status, UnfinishedLogin
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    EPOCH,
    MARK,
    MINE_LIVE,
    NOW,
    OTHER_MARK,
    USER,
    VERSION,
    state_with,
)

STEP: Final = NOW // 30
TOTP: Final = Totp(sealed=b"sealed secret", step=STEP, mark=MARK, enrolled_at=NOW - 900, by_new_key=True)
OTHER_TOTP: Final = replace(TOTP, sealed=b"another secret", by_new_key=False)
CODES: Final = tuple(bytes([number]) * 16 for number in range(10))
RECOVERY: Final = RecoveryCodes(digests=frozenset(CODES), made_at=NOW - 900, mark=MARK)
NEW_RECOVERY: Final = RecoveryCodes(digests=frozenset({b"n" * 16}), made_at=NOW, mark=OTHER_MARK)
FACTORS: Final = SecondFactors(on=True, totp=TOTP, recovery=RECOVERY, remembered={"tablet": NOW - 900})
PASSKEY: Final = Passkey(
    credential_id=b"credential of Ada's phone",
    public_key=b"COSE key",
    counter=7,
    backup_eligible=False,
    backed_up=False,
    transports=("hybrid", "internal"),
    name="Ada's phone",
    added_at=NOW - 900,
    used_day=NOW // 86_400 - 1,
    aaguid=b"a" * 16,
    by_new_key=True,
)
SYNCED: Final = replace(
    PASSKEY,
    credential_id=b"a synced credential",
    counter=0,
    backup_eligible=True,
    backed_up=True,
    transports=(),
    name="",
    aaguid=bytes(16),
    by_new_key=False,
)
ASKED: Final = replace(USER, factors=FACTORS)
LOGIN: Final = UnfinishedLogin(ACCOUNT, epoch=EPOCH, credentials_version=VERSION)
PHONE: Final = Remember("phone", at=NOW)


def by_id(*passkeys: Passkey) -> dict[str, Passkey]:
    """Map each passkey id to its passkey."""
    return {passkey.id: passkey for passkey in passkeys}


CHANGES: Final[list[tuple[FactorChange, SecondFactors, SecondFactors]]] = [
    (EnrolTotp(TOTP, RECOVERY), SecondFactors(), replace(FACTORS, remembered={})),
    (
        EnrolTotp(OTHER_TOTP, None),
        SecondFactors(recovery=RECOVERY),
        SecondFactors(on=True, totp=OTHER_TOTP, recovery=RECOVERY),
    ),
    (RemoveTotp(TOTP), FACTORS, SecondFactors(recovery=RECOVERY)),
    (ReplaceRecoveryCodes(NEW_RECOVERY), FACTORS, replace(FACTORS, recovery=NEW_RECOVERY, remembered={})),
    (
        RemoveTotp(TOTP, last=False),
        replace(FACTORS, passkeys=by_id(PASSKEY)),
        SecondFactors(on=True, recovery=RECOVERY, passkeys=by_id(PASSKEY)),
    ),
    (AddPasskey(PASSKEY), SecondFactors(), SecondFactors(passkeys=by_id(PASSKEY))),
    (
        AddPasskey(SYNCED, RECOVERY),
        SecondFactors(passkeys=by_id(PASSKEY)),
        SecondFactors(recovery=RECOVERY, passkeys=by_id(PASSKEY, SYNCED)),
    ),
    (
        RemovePasskey(PASSKEY, last=False),
        replace(FACTORS, passkeys=by_id(PASSKEY, SYNCED)),
        replace(FACTORS, passkeys=by_id(SYNCED), remembered={}),
    ),
    (RemovePasskey(PASSKEY, last=True), SecondFactors(on=True, passkeys=by_id(PASSKEY)), SecondFactors()),
    (RemoveAll((PASSKEY, SYNCED)), replace(FACTORS, passkeys=by_id(PASSKEY, SYNCED)), SecondFactors()),
    (RemoveAll(()), FACTORS, SecondFactors()),
    (SwitchSecondFactor(on=False), FACTORS, replace(FACTORS, on=False, remembered={})),
    (
        SwitchSecondFactor(on=True, recovery=NEW_RECOVERY),
        SecondFactors(totp=TOTP),
        SecondFactors(on=True, totp=TOTP, recovery=NEW_RECOVERY),
    ),
]
"""Each change, the factors before the change, and the factors after it. A test may add remembered devices."""
EACH_CHANGE: Final = pytest.mark.parametrize(("change", "before", "after"), CHANGES)

MOVED: Final = [
    pytest.param(state_with(MINE_LIVE, status=Status.DISABLED), id="disabled"),
    pytest.param(replace(state_with(MINE_LIVE), epoch=EPOCH + 1), id="epoch raised"),
    pytest.param(replace(state_with(MINE_LIVE), credentials_version=VERSION + 1), id="credentials changed"),
]
"""Account states in which an unfinished login, which proved the password earlier, is no longer valid."""
