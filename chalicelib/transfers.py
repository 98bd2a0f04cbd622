"""A sample feature: one signed route. Copy this file for a feature of your own, and register it in ``app.py``."""

from typing import Annotated

from chalice.app import Blueprint
from msgspec import Meta

from chalicelib.baton import Answer, Baton, Body, Caller

UNCONFIRMED_MAX = 10_000
"""The largest amount without a step-up, in cents. For a larger amount, the person must prove a factor again."""


class Transfer(Body):
    """The body of ``POST /transfers``. The amount is in cents."""

    to: Annotated[str, Meta(min_length=1, max_length=256)]
    amount: Annotated[int, Meta(ge=1, le=1_000_000)]


def transfers(baton: Baton) -> Blueprint:
    """Make the routes of this feature."""
    routes = Blueprint(__name__)

    @routes.route("/transfers", methods=["POST"])
    @baton.signed(body=Transfer, once=True)
    def create_transfer(caller: Caller, transfer: Transfer) -> Answer:
        """Transfer money, once for each key. Above 100.00, the person proves a factor for exactly this body."""
        if transfer.amount > UNCONFIRMED_MAX:
            caller.require_step_up(max_age=120)
        return Answer(201, {"from": caller.account, "to": transfer.to, "amount": transfer.amount})

    return routes
