"""The interface through which the audit reads the configuration of a deployment."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from chalicelib.baton.storage.aws.deployment.required import Observed


class Deployment(Protocol):
    """Read the configuration of the deployment."""

    def key_arn(self) -> str:
        """Return the ARN of the deployment's KMS key, which encrypts the key ring."""

    def observations(self) -> Mapping[str, Callable[[], Sequence[Observed]]]:
        """Map the name of each part of the configuration to a function that reads this part.

        Each function may raise ``errors.Unavailable``.
        """
