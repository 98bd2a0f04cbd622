"""The settings of a stage of ``.chalice/config.json``, for commands that do not run in the deployment."""

import json
import os
from collections.abc import Mapping
from email.utils import parseaddr
from pathlib import Path
from typing import Any, Final

CONFIG: Final = Path(__file__).parents[1] / ".chalice" / "config.json"

DEPLOYED = CONFIG.with_name("deployed")
"""Chalice's record of deployments. Without it, Chalice makes a second API."""

PLACEHOLDER: Final = "https://api.example.com"
"""The issuer of a stage without a domain. After the first deployment it is replaced by the URL of the API."""

SENDER: Final = "MAIL_FROM"
"""The sender in the policies, before a deployment fills in the address of ``BATON_MAIL_FROM``."""

QUEUE_JOBS: Final = {"jobs": ("queue", "ses"), "mail_feedback": ("ses",)}
"""The functions that only stages with these values of ``mail_of`` have."""


class UnknownStage(ValueError):
    """The stage does not exist. The message lists the stages."""


def read_config(file: Path = CONFIG) -> dict[str, Any]:
    """Read a ``config.json`` of Chalice.

    As in Chalice, each stage also has the environment variables of the top level. Those of the stage take precedence.
    """
    config: dict[str, Any] = json.loads(file.read_text("utf-8"))
    for described in config["stages"].values():
        own = described.get("environment_variables", {})
        described["environment_variables"] = config.get("environment_variables", {}) | own
    return config


def enter(stage: str) -> None:
    """Put the settings of a stage into the environment. Existing variables are kept. Raises ``UnknownStage``."""
    stages = read_config()["stages"]
    if stage not in stages:
        raise UnknownStage(f"STAGE is one of {', '.join(stages)}, not {stage!r}")
    for name, value in stages[stage]["environment_variables"].items():
        issuer = deployed_url(stage) if (name, value) == ("BATON_ISSUER", PLACEHOLDER) else None
        os.environ.setdefault(name, issuer or value)


def deployed_url(stage: str) -> str | None:
    """Return the URL of a stage's API from Chalice's record, or ``None`` if this checkout has no such record."""
    api = _deployed_api(stage)
    return str(api["rest_api_url"]).rstrip("/") if api else None


def deployed_api(stage: str) -> str | None:
    """Return the id of a stage's API from Chalice's record, or ``None`` if this checkout has no such record."""
    api = _deployed_api(stage)
    return str(api["rest_api_id"]) if api else None


def _deployed_api(stage: str) -> dict[str, Any] | None:
    """Return Chalice's record of a stage's API, or ``None``."""
    record = DEPLOYED / f"{stage}.json"
    resources = json.loads(record.read_text("utf-8"))["resources"] if record.exists() else []
    return next((one for one in resources if one["resource_type"] == "rest_api"), None)


def policies(function: str, described: Mapping[str, Any]) -> dict[str, str]:
    """Return the policy files of the functions of a stage: name of the function in AWS -> name of its file.

    ``function``: the name of the API's function. It is the first key.
    ``described``: the stage's entry in ``CONFIG``.
    """
    mail = mail_of(described["environment_variables"])
    jobs = {
        job: its
        for job, its in described.get("lambda_functions", {}).items()
        if job not in QUEUE_JOBS or mail in QUEUE_JOBS[job]
    }
    return {function: described["iam_policy_file"]} | {
        f"{function}-{job}": its["iam_policy_file"] for job, its in jobs.items()
    }


def mail_of(variables: Mapping[str, str]) -> str:
    """Return which mail parts a stage has: ``off`` (none), ``queue`` (queue and function ``jobs``) or ``ses`` (all)."""
    if variables.get("BATON_MAIL") == "ses":
        return "ses"
    return "queue" if variables.get("BATON_MAIL_QUEUE") else "off"


def mail_address(variables: Mapping[str, str]) -> str:
    """Return the address in ``BATON_MAIL_FROM``, without the name of the sender. Empty if no address is set."""
    return parseaddr(variables.get("BATON_MAIL_FROM", ""))[1]
