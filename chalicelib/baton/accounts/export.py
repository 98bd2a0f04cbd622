"""The export of everything that is stored about an account, for its owner. It contains no secret."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict

from chalicelib.baton import errors
from chalicelib.baton.accounts.activity import ActivityEvent, shown
from chalicelib.baton.accounts.devices import ListDevices, ListedDevice
from chalicelib.baton.accounts.ports import EmailStatus, Users
from chalicelib.baton.effects import Clock
from chalicelib.baton.events.ports import Audit
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.model import SecondFactors, User
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.model import KeyBinding, SecretBinding
from chalicelib.baton.policy import DAY_S, EXPORT_EVENTS_MAX, TOTP_STEP_S
from chalicelib.baton.tokens.caller import Caller
from chalicelib.baton.tokens.claims import decode_attributes
from chalicelib.baton.tokens.issue import Seconds

OnExport = Callable[[AccountId], object]
"""The app's function for exports. It returns the data that the app stores about an account, as JSON."""


class ExportedAccount(Struct, frozen=True, kw_only=True):
    """The account itself. ``attributes`` are the values that the app stored with the account."""

    account_id: AccountId
    email: str
    email_verified_at: Annotated[
        Seconds | UnsetType, msgspec.Meta(description="When a code from the mailbox proved the address.")
    ] = UNSET
    email_status: Annotated[
        Literal["ok", "bouncing"], msgspec.Meta(description="`bouncing`: no mail is sent to the address.")
    ]
    language: Annotated[str | UnsetType, msgspec.Meta(description="The language of the mails to the owner.")] = UNSET
    created_at: Seconds
    roles: tuple[str, ...]
    second_factor_on: Annotated[bool, msgspec.Meta(description="The owner is asked for a second factor at each login.")]
    second_factor_required: Annotated[bool, msgspec.Meta(description="An operator requires a second factor.")]
    attributes: dict[str, Any]


class ExportedFactor(Struct, frozen=True, kw_only=True):
    """A factor. The export does not contain its secret.

    Two of the values of ``kind``:

    - ``remembered_device``: a device on which logins need no second factor for some days.
    - ``restore_key``: a key with which the owner can log in on the next phone.
    """

    kind: Literal["password", "totp", "recovery_codes", "remembered_device", "passkey", "restore_key"]
    added_at: Seconds | UnsetType = UNSET
    last_used_at: Annotated[
        Seconds | UnsetType,
        msgspec.Meta(description="The last use of the authenticator app or passkey. Of a passkey: only the day."),
    ] = UNSET
    by_new_device: Annotated[
        bool | UnsetType, msgspec.Meta(description="The device that added the factor had no login older than 7 days.")
    ] = UNSET
    left: Annotated[int | UnsetType, msgspec.Meta(description="The number of unused recovery codes.")] = UNSET
    key_id: Annotated[
        str | UnsetType, msgspec.Meta(description="The first 12 bytes of the thumbprint of the device's key.")
    ] = UNSET
    name: Annotated[str | UnsetType, msgspec.Meta(description="The name of a passkey.")] = UNSET
    credential_id: Annotated[
        str | UnsetType, msgspec.Meta(description="The id of a passkey or a restore key, in base64url.")
    ] = UNSET
    public_key: Annotated[str | UnsetType, msgspec.Meta(description="The COSE key of a passkey or a restore key.")] = (
        UNSET
    )
    counter: Annotated[int | UnsetType, msgspec.Meta(description="The largest signature counter of a passkey.")] = UNSET
    backup_eligible: Annotated[bool | UnsetType, msgspec.Meta(description="The passkey can be synced.")] = UNSET
    backed_up: Annotated[bool | UnsetType, msgspec.Meta(description="The passkey is synced.")] = UNSET
    transports: tuple[str, ...] | UnsetType = UNSET
    aaguid: Annotated[str | UnsetType, msgspec.Meta(description="The model of the authenticator, in hex.")] = UNSET


class ExportedIdentity(Struct, frozen=True, kw_only=True):
    """An identity at a provider, with which the owner logs in. ``email`` is the address that the provider verified."""

    provider: str
    linked_at: Seconds
    email: str | UnsetType = UNSET


class ExportedDevice(ListedDevice, frozen=True, kw_only=True):
    """A login, active or ended. ``last_used_at`` is the beginning of a day (UTC): only the day is stored."""

    expires_at: Seconds
    last_used_at: Seconds | UnsetType = UNSET
    binding: Literal["key", "hmac", "none"]
    key_thumbprint: Annotated[
        str | UnsetType, msgspec.Meta(description="The thumbprint (RFC 7638) of the key that the login is bound to.")
    ] = UNSET
    browser_key: Annotated[
        str | UnsetType, msgspec.Meta(description="The compressed P-256 key to which the cookies are bound, base64url.")
    ] = UNSET
    browser_key_bound_at: Seconds | UnsetType = UNSET
    acr: str
    amr: tuple[str, ...]


class Export(Struct, frozen=True, kw_only=True):
    """Everything that is stored about an account.

    ``app`` is what the deployment's own export function (``Baton.on_export``) returned about the account.
    ``truncated``: the account has older events, which are not in ``events``.
    """

    account: ExportedAccount
    factors: list[ExportedFactor]
    identities: list[ExportedIdentity]
    devices: list[ExportedDevice]
    events: list[ActivityEvent]
    truncated: bool
    app: Any | UnsetType = UNSET


class ExportAccount(Struct, frozen=True, kw_only=True):
    """Export the account of a caller who stepped up."""

    clock: Clock
    clients: Clients
    users: Users
    email_status: EmailStatus
    audit: Audit
    list_devices: ListDevices
    record: Record
    on_export: Callable[[], OnExport | None]
    """Returns the app's function, or ``None``. ``Baton.on_export`` may set the function after this object is made."""
    providers: Mapping[int, str] = {}
    """The names of the identity providers, by code."""

    def __call__(self, caller: Caller) -> Export:
        """Return the export. Its logins and roles are from the account state that authorized the call.

        Raises ``Unavailable`` if the user is missing.
        """
        now = self.clock()
        user, account_state = self.users.get(caller.account), caller.account_state
        if user is None or account_state is None:
            raise errors.Unavailable("inconsistent account: the user is missing")
        stored = self.audit.newest(caller.account, before=None, limit=EXPORT_EVENTS_MAX + 1, now=now)
        add = self.on_export()
        exported = Export(
            account=ExportedAccount(
                account_id=user.account,
                email=user.email,
                email_verified_at=UNSET if user.verified_at is None else user.verified_at,
                email_status=self.email_status(user.email_index, now=now),
                language=UNSET if user.language is None else user.language,
                created_at=user.created_at,
                roles=tuple(sorted(self.clients.role_names(account_state.roles))),
                second_factor_on=user.factors.on,
                second_factor_required=account_state.second_factor_required,
                attributes=dict(decode_attributes(account_state.attributes)),
            ),
            factors=[*_password(user), *_second_factors(user.factors), *_restore_keys(user)],
            identities=[
                ExportedIdentity(
                    provider=self.providers.get(code, str(code)), linked_at=one.linked_at, email=one.email or UNSET
                )
                for code, one in user.identities.items()
            ],
            devices=[self._device(caller, listed) for listed in self.list_devices(caller)],
            events=[shown(one, account_state) for one in stored[:EXPORT_EVENTS_MAX]],
            truncated=len(stored) > EXPORT_EVENTS_MAX,
            app=add(caller.account) if add else UNSET,
        )
        self.record("account_exported", account=caller.account, lineage=caller.device_id)
        return exported

    def _device(self, caller: Caller, listed: ListedDevice) -> ExportedDevice:
        assert caller.account_state is not None
        login = caller.account_state.lineages[LineageId(listed.device_id)]
        key = login.binding.thumbprint if isinstance(login.binding, KeyBinding) else None
        day = login.last_used_day
        return ExportedDevice(
            **asdict(listed),
            expires_at=login.expires_at,
            last_used_at=UNSET if day is None else day * DAY_S,
            binding="key" if key else "hmac" if isinstance(login.binding, SecretBinding) else "none",
            key_thumbprint=encode_base64url(key) if key else UNSET,
            browser_key=encode_base64url(login.browser_key.point) if login.browser_key else UNSET,
            browser_key_bound_at=login.browser_key.at if login.browser_key else UNSET,
            acr=login.assurance.acr,
            amr=login.assurance.amr,
        )


def _password(user: User) -> Iterator[ExportedFactor]:
    if user.password_hash is not None:
        yield ExportedFactor(kind="password")


def _second_factors(factors: SecondFactors) -> Iterator[ExportedFactor]:
    """List the second factors and the remembered devices, without any secret."""
    totp, recovery = factors.totp, factors.recovery
    if totp is not None:
        yield ExportedFactor(
            kind="totp",
            added_at=totp.enrolled_at,
            last_used_at=totp.step * TOTP_STEP_S,
            by_new_device=totp.by_new_key,
        )
    if recovery is not None:
        yield ExportedFactor(
            kind="recovery_codes",
            added_at=recovery.made_at,
            by_new_device=recovery.by_new_key,
            left=factors.codes_left,
        )
    for passkey in sorted(factors.passkeys.values(), key=lambda one: (one.added_at, one.id)):
        yield ExportedFactor(
            kind="passkey",
            added_at=passkey.added_at,
            last_used_at=passkey.used_day * DAY_S,
            by_new_device=passkey.by_new_key,
            name=passkey.name,
            credential_id=encode_base64url(passkey.credential_id),
            public_key=encode_base64url(passkey.public_key),
            counter=passkey.counter,
            backup_eligible=passkey.backup_eligible,
            backed_up=passkey.backed_up,
            transports=passkey.transports,
            aaguid=passkey.aaguid.hex(),
        )
    for key, at in sorted(factors.remembered.items()):
        yield ExportedFactor(kind="remembered_device", added_at=at, key_id=key)


def _restore_keys(user: User) -> Iterator[ExportedFactor]:
    for device, key in sorted(user.restore.items()):
        yield ExportedFactor(
            kind="restore_key",
            added_at=key.made_at,
            key_id=device,
            credential_id=encode_base64url(key.credential_id),
            public_key=encode_base64url(key.public_key),
        )
