"""The settings of a stage of ``.chalice/config.json``, for commands that run beside a deployment rather than in it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

CONFIG: Final = Path(__file__).parents[1] / ".chalice" / "config.json"

DEPLOYED = CONFIG.with_name("deployed")
"""What Chalice writes down of deployments; whoever loses it deploys a second API beside the first."""

PLACEHOLDER: Final = "https://api.example.com"
"""The issuer of a stage nobody has given a domain: the API's own URL takes its place, once there is one."""


class UnknownStage(ValueError):
    """There is no such stage; the message names those there are."""


def enter(stage: str) -> None:
    """Put the settings of a stage in place. What the environment says already wins. Raises ``UnknownStage``."""
    stages: dict[str, Any] = json.loads(CONFIG.read_text("utf-8"))["stages"]
    if stage not in stages:
        raise UnknownStage(f"STAGE is one of {', '.join(stages)}, not {stage!r}")
    for name, value in stages[stage]["environment_variables"].items():
        issuer = deployed_url(stage) if (name, value) == ("BATON_ISSUER", PLACEHOLDER) else None
        os.environ.setdefault(name, issuer or value)


def deployed_url(stage: str) -> str | None:
    """Read where a stage is served."""
    api = _deployed_api(stage)
    return str(api["rest_api_url"]).rstrip("/") if api else None


def deployed_api(stage: str) -> str | None:
    """Read the id of a stage's API."""
    api = _deployed_api(stage)
    return str(api["rest_api_id"]) if api else None


def _deployed_api(stage: str) -> dict[str, Any] | None:
    """Read what Chalice wrote down of a stage's API, once it made one."""
    record = DEPLOYED / f"{stage}.json"
    resources = json.loads(record.read_text("utf-8"))["resources"] if record.exists() else []
    return next((one for one in resources if one["resource_type"] == "rest_api"), None)


def policies(function: str, described: Mapping[str, Any]) -> dict[str, str]:
    """Name the functions of a stage as Chalice names them, the API's first, and the file of each one's policy."""
    jobs = described.get("lambda_functions", {}).items()
    return {function: described["iam_policy_file"]} | {f"{function}-{job}": its["iam_policy_file"] for job, its in jobs}
