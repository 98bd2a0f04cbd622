"""The two checks of a new password. Each route that sets a password runs both.

``check_strength`` is first, because it needs no network. ``check_breach`` is later: before the password is stored, but
after the rate limit of the route, or after the proof that the route requires, such as a step-up. Otherwise a stranger
could make Baton send any number of requests to another service.
"""

from msgspec import Struct

from chalicelib.baton.factors import strength
from chalicelib.baton.factors.breach import BreachCheck


class NewPassword(Struct, frozen=True, kw_only=True):
    """The checks that refuse a new password if it is weak or breached."""

    characters_min: int
    """The minimum length, in code points."""
    breaches: BreachCheck | None
    """``None``: the breach check is off."""
    product: str = ""
    """The name of the service, which no password may consist of."""

    def check_strength(self, password: str, *, email: str) -> None:
        """Refuse a weak password. Raises ``WeakPassword``.

        ``password`` is as typed. The caller has checked that ``normalise`` accepts it.
        """
        strength.check_strength(password, email=email, product=self.product, characters_min=self.characters_min)

    def check_breach(self, secret: bytes) -> None:
        """Refuse a normalised password that leaked from another service. Raises ``Breached``."""
        if self.breaches is not None:
            self.breaches(secret)
