"""The port of a deployment's configuration."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from chalicelib.baton.storage.aws.deployment.required import Observed


class Deployment(Protocol):
    """Read the configuration of the deployment."""

    def key_arn(self) -> str:
        """Return the ARN of the deployment's key."""

    def observations(self) -> Mapping[str, Callable[[], Sequence[Observed]]]:
        """Return one function for each part of the configuration, by the name of the part.

        The function reads this part. It may raise ``errors.Unavailable``.
        """
