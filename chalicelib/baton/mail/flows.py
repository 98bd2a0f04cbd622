"""Make the flows of mail from their parts, and make the routes that run these flows."""

from msgspec import Struct

from chalicelib.baton.accounts.login_request import ReadLoginRequest
from chalicelib.baton.accounts.ports import ForgetLater
from chalicelib.baton.effects import Clock, Entropy
from chalicelib.baton.events.ports import Log
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.new_password import NewPassword
from chalicelib.baton.factors.ports import RateLimits
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.mail.links import ReadMailLink
from chalicelib.baton.mail.login_code import LoginCodesByMail
from chalicelib.baton.mail.new_address import ConfirmNewAddress, RequestNewAddress
from chalicelib.baton.mail.not_me import DeleteUnproved
from chalicelib.baton.mail.outbox import QueueMail
from chalicelib.baton.mail.ports import MailUsers
from chalicelib.baton.mail.registration import ProveAddress, StartRegistration
from chalicelib.baton.mail.reset import ForgotPassword, ResetPassword
from chalicelib.baton.mail.routes import change_routes, routes
from chalicelib.baton.mail.sessions import CheckMailCode, StartMailSession
from chalicelib.baton.mail.undo import UndoChanges
from chalicelib.baton.mail.verify import RequestAddressCode, VerifyAddress
from chalicelib.baton.routing import Route
from chalicelib.baton.tokens.presented import RequestVerifier


class MailFlows(Struct, frozen=True, kw_only=True):
    """The factory of the mail flows and their routes. ``enabled``: the deployment sends mails.

    ``claims_from`` (seconds since the epoch): accounts that were created earlier are from a time without mail. A reset
    never claims such an account: the account keeps its identities, roles and attributes.
    """

    clock: Clock
    entropy: Entropy
    key_ring: KeyRing
    users: MailUsers
    lineage_store: LineageStore
    ephemeral: RateLimits
    queue: QueueMail
    log: Log
    record: Record
    proof: RequestVerifier
    introduce: ReadLoginRequest
    new_password: NewPassword
    enabled: bool
    limits: bool
    claims_from: int
    forget_later: ForgetLater | None

    @property
    def prove_address(self) -> ProveAddress:
        """Return the part that checks the mail code of a registration."""
        return ProveAddress(codes=self._codes, enabled=self.enabled)

    @property
    def login_codes(self) -> LoginCodesByMail | None:
        """Return the part that sends and checks the mail code that a login needs before it enrols a second factor.

        ``None`` if mail is off.
        """
        return LoginCodesByMail(start=self._start, ephemeral=self.ephemeral, log=self.log) if self.enabled else None

    def routes(self) -> tuple[Route, ...]:
        """List the routes of mail. The list does not depend on ``enabled``."""
        clock, key_ring, users, start, codes = self.clock, self.key_ring, self.users, self._start, self._codes
        read_link = ReadMailLink(key_ring=key_ring)
        of_codes = routes(
            enabled=self.enabled,
            start_registration=StartRegistration(clock=clock, key_ring=key_ring, introduce=self.introduce, start=start),
            forgot=ForgotPassword(
                clock=clock,
                key_ring=key_ring,
                introduce=self.introduce,
                users=users,
                lineage_store=self.lineage_store,
                start=start,
            ),
            reset=ResetPassword(
                clock=clock,
                entropy=self.entropy,
                key_ring=key_ring,
                new_password=self.new_password,
                users=users,
                lineage_store=self.lineage_store,
                codes=codes,
                read_link=read_link,
                record=self.record,
                claims_from=self.claims_from,
            ),
            request_code=RequestAddressCode(clock=clock, key_ring=key_ring, users=users, start=start),
            verify=VerifyAddress(clock=clock, users=users, codes=codes, read_link=read_link, record=self.record),
        )
        changes = change_routes(
            enabled=self.enabled,
            new_address=RequestNewAddress(clock=clock, key_ring=key_ring, users=users, start=start),
            confirm=ConfirmNewAddress(
                clock=clock,
                key_ring=key_ring,
                users=users,
                lineage_store=self.lineage_store,
                codes=codes,
                record=self.record,
            ),
            undo=UndoChanges(
                clock=clock,
                entropy=self.entropy,
                key_ring=key_ring,
                users=users,
                lineage_store=self.lineage_store,
                read_link=read_link,
                record=self.record,
            ),
            not_me=DeleteUnproved(
                clock=clock,
                users=users,
                lineage_store=self.lineage_store,
                read_link=read_link,
                record=self.record,
                forget_later=self.forget_later,
                claims_from=self.claims_from,
            ),
        )
        return (*of_codes, *changes)

    @property
    def _start(self) -> StartMailSession:
        return StartMailSession(
            entropy=self.entropy, ephemeral=self.ephemeral, queue=self.queue, log=self.log, limits=self.limits
        )

    @property
    def _codes(self) -> CheckMailCode:
        return CheckMailCode(key_ring=self.key_ring, proof=self.proof, ephemeral=self.ephemeral, log=self.log)
