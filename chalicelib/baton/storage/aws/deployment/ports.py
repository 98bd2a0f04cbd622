"""How a deployment is observed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from chalicelib.baton.storage.aws.deployment.required import Observed


class Deployment(Protocol):
    """How this deployment is configured: looked at, never changed."""

    def key_arn(self) -> str:
        """Give the ARN of the deployment's key."""

    def observations(self) -> Mapping[str, Callable[[], Sequence[Observed]]]:
        """Give every look, by the name of what it looks at. What may not be seen raises ``errors.Unavailable``."""
