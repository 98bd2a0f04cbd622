"""The public API of Baton. Everything else in this package may change in any release."""

from chalicelib.baton import errors
from chalicelib.baton.routing import Answer, Body, Cookie, Once, Query, StepUp
from chalicelib.baton.service import Baton
from chalicelib.baton.tokens.caller import Caller

__all__ = ["Answer", "Baton", "Body", "Caller", "Cookie", "Once", "Query", "StepUp", "errors"]
