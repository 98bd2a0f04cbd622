"""An app with pages and routes of its own: pages with a cookie, a route for keys, and a route that runs once."""

from chalice.app import Chalice

from chalicelib.baton import Answer, Baton, Body, Caller, Cookie, Query, StepUp, errors

app = Chalice(app_name="pages", configure_logs=False)
baton = Baton.from_environment()
baton.install(app)


class Place(Query):
    """The query of the page: the number of the page, and the last action."""

    page: int = 1
    by: str = ""
    said: str = ""


class Order(Body):
    """An order."""

    item: str


@app.route("/home")
@baton.page(login="/api/login-page", query=Place)
def home(caller: Caller, query: Place) -> Answer:
    """Show the page, with the token for its form."""
    return Answer.html(f"<p>{caller.account} {query.page} {caller.csrf_token}</p>")


class Greeting(Body):
    """A form."""

    text: str = ""


@app.route("/home", methods=["POST"])
@baton.page(login="/api/login-page", form=Greeting)
def change_home(caller: Caller, fields: dict[str, str]) -> Answer:
    """Accept the form of the page, and redirect."""
    return Answer.redirect(f"/api/home?by={caller.account}&said={fields.get('text', '')}")


@app.route("/busy")
@baton.signed()
def busy(caller: Caller) -> Answer:
    """Raise an error, as if the service were unavailable."""
    raise errors.Unavailable(caller.account)


@app.route("/admin")
@baton.page(login="/api/login-page", acr="aal2")
def admin(caller: Caller) -> Answer:
    """Show a page for a strong login."""
    return Answer.html(caller.account)


@app.route("/keys")
@baton.signed(bound=True)
def keys(caller: Caller) -> Answer:
    """Answer only logins that are bound to a key."""
    return Answer(200, {"bound": caller.bound})


@app.route("/orders", methods=["POST"])
@baton.signed(body=Order, once=True, step_up=StepUp())
def order(caller: Caller, body: Order) -> Answer:
    """Run once, and set a cookie of the app."""
    return Answer(201, {"item": body.item, "by": caller.account}, cookies=(Cookie("ordered", "1"),))


@app.route("/whence")
@baton.signed()
def whence(caller: Caller) -> Answer:
    """Answer with the source of the request."""
    return Answer(200, {"source": caller.source})


@app.route("/kept")
@baton.signed()
def kept(caller: Caller) -> Answer:
    """Answer with a body that a browser may keep."""
    return Answer(200, {"by": caller.account}, headers={"Vary": "Accept-Language"}, cache_s=60)
