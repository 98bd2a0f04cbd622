"""Create the Chalice app of Baton's tests: Baton, and one route as a team writes them."""

from pathlib import Path

from chalice.app import Chalice

from chalicelib.baton import Baton, settings
from tests.baton.fixture_app.transfers import transfers

settings._FOLDER = Path(__file__).parent  # the registries of the tests, and not those of the team
app = Chalice(app_name="baton", configure_logs=False)
baton = Baton.from_environment()
baton.install(app)
app.register_blueprint(transfers(baton))
