"""The public API of Baton. Everything else in this package may change in any release."""

from typing import TYPE_CHECKING

from chalicelib.baton import errors
from chalicelib.baton.routing import Answer, Body, Cookie, Once, Query, StepUp
from chalicelib.baton.service import Baton
from chalicelib.baton.tokens.caller import Caller
from chalicelib.baton.tokens.claims import Claims

if TYPE_CHECKING:
    from chalicelib.baton.accounts.migration import Migrated
    from chalicelib.baton.storage.aws.cognito import cognito_hook

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


def __getattr__(name: str) -> object:
    """Import a name that only migrations need (PEP 562), at its first use. A cold start does not import these names."""
    if name == "Migrated":
        from chalicelib.baton.accounts.migration import Migrated  # noqa: PLC0415 - cold start

        return Migrated
    if name == "cognito_hook":
        from chalicelib.baton.storage.aws.cognito import cognito_hook  # noqa: PLC0415 - cold start

        return cognito_hook
    raise AttributeError(name)
