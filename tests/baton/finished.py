"""A login of the reference client that needs no second factor."""

from baton_client import LoginStep, Session


def finished(login: Session | LoginStep) -> Session:
    """Return the session of a finished login."""
    assert isinstance(login, Session), login.factors
    return login
