"""Routes of factors: step-up."""

from typing import Annotated, Literal

from msgspec import Meta

from chalicelib.baton.factors.step_up import IssueStepUpGrant
from chalicelib.baton.routing import Answer, Body, Route
from chalicelib.baton.tokens.caller import Caller, Operation


class OperationShape(Body):
    """The operation of a step-up: the exact method, path and body digest of the request that follows."""

    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET"]
    path: Annotated[str, Meta(pattern=r"^/[!-~]*$", max_length=2048)]
    digest: Annotated[str, Meta(pattern=r"^sha-256=:[A-Za-z0-9+/]{43}=:$")]


class StepUpShape(Body):
    """``POST /step-up``."""

    operation: OperationShape
    password: str


def routes(*, step_up: IssueStepUpGrant) -> tuple[Route, ...]:
    """List the routes of factors."""

    def issue_grant(caller: Caller, body: StepUpShape) -> Answer:
        asked = body.operation
        operation = Operation(asked.method, asked.path, asked.digest)
        return Answer(200, step_up(caller, operation, body.password))

    return (Route("POST", "/step-up", issue_grant, body=StepUpShape, takes_attempt=True),)
