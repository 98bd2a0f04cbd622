"""Links in mails: an encrypted ticket behind ``#``, which reaches the app or a script, but no log of a server.

1. The link in a mail with a code for ``reset`` or ``verify`` opens the app, such as
   ``https://{link_host}/baton/reset#t=ml...``. The mail has this link only if the client registry has ``link_host``.
   The link of an undo opens Baton's own page: ``{issuer}/mail/action#t=ml...``. The link "this was not me" opens the
   same page, with ``#n=`` in place of ``#t=``.
2. ``link_host`` and ``issuer`` come from the configuration. No header of a request changes a link.
3. A ``GET`` of a link changes nothing, so programs that open each link of a mail do no harm.
"""

from collections.abc import Mapping

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.refusals import InvalidCode
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.keys.tickets import TicketInvalid, UnknownRoot, open_ticket, seal_ticket
from chalicelib.baton.mail.tickets import LinkUse, MailLink, MailOrder

ACTION_PATH = "/mail/action"
"""The path of the page for an undo and for "this was not me", below the issuer."""

_USE_OF_TEMPLATE: Mapping[str, LinkUse] = {"reset": "reset", "verify": "verify"}
_OF_UNPROVED = frozenset({"verify", "login"})
"""The mails that may have the link "this was not me": they have a code that proves the address."""


class MailLinks(Struct, frozen=True, kw_only=True):
    """Make the links of a mail. If ``link_host`` is empty, no mail has a link for ``reset`` or ``verify``."""

    issuer: str
    link_host: str

    def __call__(self, order: MailOrder, *, to: str, ring: Ring, unproved: bool = False) -> Mapping[str, str]:
        """Return the URLs of the links in this mail: name of a part of the text (``templates.PARTS``) -> URL.

        ``unproved``: the address was never proved, so a person with access to the mailbox may delete the account.
        """
        urls, use = {}, _USE_OF_TEMPLATE.get(order.template)
        if use and order.code and self.link_host:
            link = _sealed(order, use, to=to, ring=ring)
            urls["link"] = f"https://{self.link_host}/baton/{use}#t={link}"
        if unproved and order.template in _OF_UNPROVED:
            urls["not_me"] = f"{self.issuer}{ACTION_PATH}#n={_sealed(order, 'not_me', to=to, ring=ring)}"
        if order.undo_since is not None:
            undo: LinkUse = "undo_address" if order.template == "address_changed" else "undo"
            urls["undo"] = f"{self.issuer}{ACTION_PATH}#t={_sealed(order, undo, to=to, ring=ring)}"
        return urls


def _sealed(order: MailOrder, use: LinkUse, *, to: str, ring: Ring) -> str:
    link = MailLink(
        id=order.link_id(use),
        issued_at=order.at,
        use=use,
        account=order.account,
        address=to,
        version=order.version,
        since=order.undo_since or 0,
    )
    return seal_ticket(link, ring, now=order.at)


class MailProof(Struct, frozen=True, kw_only=True):
    """The proof that a person can read a mailbox: the code of a session, or a link."""

    mail_session: str | None = None
    code: str | None = None
    link: str | None = None

    def __post_init__(self) -> None:
        """Require either the code or the link. Raises ``Malformed``."""
        given = (self.mail_session is not None, self.code is not None, self.link is not None)
        if given not in {(True, True, False), (False, False, True)}:
            raise errors.Malformed("not one proof", detail="Send `mail_session` and `code`, or only `link`.")

    def __repr__(self) -> str:
        """Mask the code and the link."""
        return "MailProof('**********')"


class ReadMailLink(Struct, frozen=True, kw_only=True):
    """Decrypt the ticket of a link, which the app or Baton's page sends in a request."""

    key_ring: KeyRing

    def __call__(self, text: str, *, uses: frozenset[LinkUse], now: int) -> MailLink:
        """Decrypt a link for one of these uses. This reads no table, except for the key ring, which is cached.

        Raises ``InvalidCode``.
        """
        try:
            try:
                link = open_ticket(MailLink, text, self.key_ring.current(now=now), now=now, bound_to={})
            except UnknownRoot:
                link = open_ticket(MailLink, text, self.key_ring.refreshed(now=now), now=now, bound_to={})
        except TicketInvalid as invalid:
            raise InvalidCode(f"mail link: {invalid}") from None
        if link.use not in uses:
            raise InvalidCode("mail link: for another use")
        return link
