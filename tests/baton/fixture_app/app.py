"""Create the Chalice app of Baton's tests: Baton, and one route as a team writes them."""

from chalice.app import Chalice

from chalicelib.baton import Baton
from tests.baton.fixture_app.transfers import transfers

app = Chalice(app_name="baton", configure_logs=False)
baton = Baton.from_environment()
baton.install(app)
app.register_blueprint(transfers(baton))
