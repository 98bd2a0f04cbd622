"""Compare the configuration of the deployment with the requirements. A daily job and an operator's command do this."""

import contextlib

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.events.ports import Log
from chalicelib.baton.storage.aws.deployment.ports import Deployment
from chalicelib.baton.storage.aws.deployment.required import Finding, judge


class AuditConfiguration(Struct, frozen=True):
    """Observe every part of the configuration and report the differences from the required configuration.

    ``expiry`` is the name of the TTL attribute.
    """

    deployment: Deployment
    log: Log
    expiry: str

    def __call__(self) -> list[Finding]:
        """Return the findings. Each finding is logged, and the number of findings is a metric.

        A part that cannot be read is a finding: an audit without access must not look like an audit without findings.
        """
        findings: list[Finding] = []
        expected_key = ""
        with contextlib.suppress(errors.Unavailable):  # `observations` reads the key too, and reports this failure
            expected_key = self.deployment.key_arn()
        for subject, look in self.deployment.observations().items():
            try:
                for found in look():
                    findings += judge(found, expected_key=expected_key, expected_expiry=self.expiry)
            except errors.Unavailable as trouble:
                findings.append(
                    Finding(
                        subject,
                        f"it cannot be read: {trouble.reason}",
                        "check that it exists, and that the role may read it",
                    )
                )
        for finding in findings:
            self.log.record("configuration_finding", subject=finding.subject, finding=finding.problem)
        self.log.record("configuration_audited", configuration_findings=len(findings))
        return findings
