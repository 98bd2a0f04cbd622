"""The scheduled jobs: each job is a separate Lambda function with a separate policy (.chalice/config.json).

Chalice names their handlers ``chalicelib.baton.http.jobs.rotate_keys`` and so on. For these handlers, Lambda imports
this module and not ``app.py``. So the first job imports ``app``, and its ``Baton.install`` sets the functions of the
jobs.
"""

import functools
import importlib
from collections.abc import Callable
from typing import TypeVar

from chalice.app import Blueprint, CloudWatchEvent, Rate
from msgspec import Struct

from chalicelib.baton.http.dispatch import Dispatch

Event = TypeVar("Event")

blueprint = Blueprint(__name__)


class Jobs(Struct, frozen=True, kw_only=True):
    """The functions that the scheduled jobs call, in one environment."""

    dispatch: Dispatch
    rotate_keys: Callable[[], object]
    audit_configuration: Callable[[], object]

    def run(self, event: CloudWatchEvent, job: Callable[[], object]) -> None:
        """Run a job for a scheduled event."""
        as_job(self.dispatch, lambda _: job())(event)


_installed: list[Jobs] = []
"""The jobs of this environment; empty before ``Baton.install``."""


def install(jobs: Jobs) -> None:
    """Set the functions of the jobs.

    In a process with several environments, the functions of the last environment run.
    """
    _installed[:] = [jobs]


def as_job(dispatch: Dispatch, handler: Callable[[Event], object]) -> Callable[[Event], None]:
    """Return a job that runs ``handler``. Its log lines have the id of the event, and its defects are logged.

    An exception is raised again: Lambda counts the failure, and runs the job again.
    """

    @functools.wraps(handler)
    def job(event: Event) -> None:
        request_id = getattr(event, "event_id", "") or dispatch.entropy(8).hex()
        dispatch.log.start_request(request_id=str(request_id))
        try:
            handler(event)
        except Exception as defect:
            dispatch.note_defect(defect)
            raise

    return job


def _jobs() -> Jobs:
    if not _installed:
        importlib.import_module("app")
    return _installed[0]


@blueprint.schedule(Rate(1, unit=Rate.DAYS))
def rotate_keys(event: CloudWatchEvent) -> None:
    """Rotate the keys at the end of their period."""
    jobs = _jobs()
    jobs.run(event, jobs.rotate_keys)


@blueprint.schedule(Rate(1, unit=Rate.DAYS))
def audit_configuration(event: CloudWatchEvent) -> None:
    """Check the configuration of tables, keys, logs and API, and report each difference from the required one."""
    jobs = _jobs()
    jobs.run(event, jobs.audit_configuration)
