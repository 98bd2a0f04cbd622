"""A tree of a team: Baton, with changes to the files that belong to the team."""

import json
import shutil
from pathlib import Path
from typing import Final

from tests.baton.repository import ROOT

LEFT_OUT: Final = shutil.ignore_patterns(".*", "__pycache__", "build", "node_modules", "target")

ORDERS = '''"""A team's own feature: four routes, each of another kind."""

from chalice.app import Blueprint

from chalicelib.baton import Answer, Baton, Body, Caller, Cookie

UNCONFIRMED_MAX = 3


class Order(Body):
    """The body of ``POST /orders``."""

    item: int
    count: int = 1


def orders(baton: Baton) -> Blueprint:
    """Make the routes of this feature."""
    routes = Blueprint(__name__)

    @routes.route("/orders", methods=["POST"])
    @baton.signed(body=Order, once=True)
    def place_order(caller: Caller, order: Order) -> Answer:
        """Place an order once."""
        return Answer(201, {"by": caller.account, "item": order.item})

    @routes.route("/orders/{order_id}", methods=["PUT"])
    @baton.signed(body=Order, role="packer")
    def change_order(caller: Caller, order: Order, order_id: str) -> Answer:
        """Change an order. A large one requires the password again."""
        if order.count > UNCONFIRMED_MAX:
            caller.require_step_up(max_age=120)
        return Answer(200, {"id": order_id})

    @routes.route("/catalogue", methods=["GET"])
    @baton.public()
    def show_catalogue(message: object) -> Answer:
        """Show what there is, and remember the visit in a cookie."""
        return Answer(200, {"items": [7]}, cookies=(Cookie("visited", "1"),))

    @routes.route("/basket", methods=["GET"])
    @baton.page(login="/login")
    def show_basket(caller: Caller) -> Answer:
        """Show a page, or send the browser to the login page."""
        return Answer.html("<!doctype html><title>Basket</title>")

    return routes
'''

APP = '''"""The shop of a team."""

from chalice.app import Chalice

from chalicelib.baton import Baton
from chalicelib.orders import orders

app = Chalice(app_name="baton", configure_logs=False)
baton = Baton.from_environment()
app.register_blueprint(orders(baton))
baton.install(app)


@app.route("/plain")
def plain() -> dict[str, str]:
    """Answer without Baton."""
    return {"hello": "world"}
'''

CLIENTS = """[client.{name}]
code = {code}
mechanism = "exchange"
form = "jwt"
binding = "required"
scope = "account shop"

"""
ROLES = "[roles]\npacker = { code = 1 }\n"

NOTHING_PUBLIC = "PUBLIC: set[str] = set()\n"
SHOP_PUBLIC = 'PUBLIC = {"GET /catalogue", "GET /plain"}\n'


def make_team_tree(tree: Path) -> Path:
    """Copy this tree to ``tree``, and change it as a team may: docs/baton/upgrading.md lists its files."""
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
    shutil.copytree(ROOT / ".chalice", tree / ".chalice")
    (tree / "chalicelib" / "transfers.py").unlink()
    (tree / "chalicelib" / "orders.py").write_text(ORDERS, "utf-8")
    (tree / "app.py").write_text(APP, "utf-8")
    for name in ("clients.toml", "clients-dev.toml"):
        registry = CLIENTS.format(name="shop", code=1) + CLIENTS.format(name="till", code=2) + ROLES
        (tree / "chalicelib" / name).write_text(registry, "utf-8")
    (tree / "README.md").write_text("# The shop\n\nRun it with `make dev`, and sell with `make sale`.\n", "utf-8")
    (tree / "CHANGELOG.md").write_text("# Changes of the shop\n\n## [7]\n\n- Sells.\n", "utf-8")
    (tree / "CONTRIBUTING.md").write_text("Ask at the counter.\n", "utf-8")
    (tree / "SECURITY.md").unlink()
    (tree / "Makefile").write_text("include baton.mk\n\n.PHONY: sale\nsale: $(READY) ## Sell\n\t@true\n", "utf-8")
    project = (tree / "pyproject.toml").read_text("utf-8")
    (tree / "pyproject.toml").write_text(project.replace('name = "baton"', 'name = "shop"'), "utf-8")
    (tree / "tests" / "test_transfers.py").unlink()
    test_app = (tree / "tests" / "test_app.py").read_text("utf-8")
    (tree / "tests" / "test_app.py").write_text(test_app.replace(NOTHING_PUBLIC, SHOP_PUBLIC), "utf-8")
    (tree / "docs" / "shop").mkdir()
    (tree / "docs" / "shop" / "tour.md").write_text("Whatever stands here, nobody asks.\n", "utf-8")
    _change_stages(tree / ".chalice")
    return tree


def _change_stages(folder: Path) -> None:
    """Allow the functions a table of the team, and add a setting of the team."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["lambda_memory_size"] = 1769
    for stage in config["stages"].values():
        stage["environment_variables"] |= {"SHOP_TABLE": "orders", "BATON_LOG_LEVEL": "DEBUG"}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    for stage in ("dev", "prod"):
        file = folder / f"policy-{stage}.json"
        policy = json.loads(file.read_text("utf-8"))
        table = "arn:aws:dynamodb:REGION:ACCOUNT:table/orders"
        own = {"Sid": "Orders", "Effect": "Allow", "Action": ["dynamodb:PutItem"], "Resource": [table]}
        policy["Statement"].append(own)
        file.write_text(json.dumps(policy), "utf-8")
