"""Audit the configuration of this deployment: every day, on no route, and by an operator's command."""

import contextlib

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.events.ports import Log
from chalicelib.baton.storage.aws.deployment.ports import Deployment
from chalicelib.baton.storage.aws.deployment.required import Finding, judge


class AuditConfiguration(Struct, frozen=True):
    """Look at everything, and tell what is not as it must be."""

    deployment: Deployment
    log: Log
    expiry: str

    def __call__(self) -> list[Finding]:
        """Give the findings, having told each in a line and their number in a metric.

        What cannot be seen is a finding itself: an audit that sees nothing must not look like one that finds nothing.
        """
        findings: list[Finding] = []
        expected_key = ""
        with contextlib.suppress(errors.Unavailable):  # the look at the key below says so
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
