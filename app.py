"""Create the Chalice app. Importing this module makes no network call."""

from chalice.app import Chalice

from chalicelib.baton import Baton
from chalicelib.transfers import transfers

app = Chalice(app_name="baton", configure_logs=False)
baton = Baton.from_environment()
baton.install(app)
app.register_blueprint(transfers(baton))
