"""The public API of Baton. Everything else in this package may change in any release."""

from chalicelib.baton import errors
from chalicelib.baton.accounts.migration import Migrated
from chalicelib.baton.routing import Answer, Body, Cookie, Once, Query, StepUp
from chalicelib.baton.service import Baton
from chalicelib.baton.storage.aws.cognito import cognito_hook
from chalicelib.baton.tokens.caller import Caller
from chalicelib.baton.tokens.claims import Claims

__all__ = [
    "Answer",
    "Baton",
    "Body",
    "Caller",
    "Claims",
    "Cookie",
    "Migrated",
    "Once",
    "Query",
    "StepUp",
    "cognito_hook",
    "errors",
]
