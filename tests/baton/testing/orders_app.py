"""The app of these tests: orders, with a route that runs once, a step-up, a role and a query."""

import os
from typing import Annotated

from chalice.app import Chalice
from msgspec import Meta

from chalicelib.baton import Answer, Baton, Body, Caller, Query
from tests.baton.testing.placed import ORDERS

app = Chalice(app_name="orders", configure_logs=False)
baton = Baton.from_environment()
baton.install(app)
ENVIRONMENT = os.urandom(4).hex()


class Order(Body):
    """An item, and its price in cents."""

    item: Annotated[int, Meta(ge=1)]
    price: Annotated[int, Meta(ge=0)] = 0


class Page(Query):
    """The page of orders to list."""

    at_least: int = 0
    word: str = ""


@app.route("/orders", methods=["POST"])
@baton.signed(body=Order, once=True)
def place(caller: Caller, order: Order) -> Answer:
    """Place an order exactly once. Above 100.00 it needs a step-up with the password."""
    if order.price > 10_000:
        caller.require_step_up(max_age=120)
    ORDERS.append((caller.account, order.item))
    baton.record("app_ordered", caller, item=order.item)
    return Answer(201, {"number": len(ORDERS)})


@app.route("/drafts", methods=["POST", "PUT", "PATCH", "DELETE"])
@baton.signed()
def draft(caller: Caller) -> Answer:
    """Place an order at each request, also at a repeated request."""
    ORDERS.append((caller.account, 0))
    return Answer(201)


@app.route("/orders", methods=["GET"])
@baton.signed(query=Page)
def show(caller: Caller, page: Page) -> Answer:
    """List the orders of the caller."""
    items = [item for account, item in ORDERS if account == caller.account and item >= page.at_least]
    return Answer(200, {"items": items, "word": page.word, "environment": ENVIRONMENT})


@app.route("/orders/all", methods=["GET"])
@baton.signed(role="support")
def show_all(caller: Caller) -> Answer:
    """List all orders, for the support team."""
    return Answer(200, {"by": caller.account, "items": [item for _, item in ORDERS]})
