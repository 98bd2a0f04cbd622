"""The settings of a stage of ``.chalice/config.json``, for commands that run beside a deployment rather than in it."""

import json
import os
from pathlib import Path
from typing import Any, Final

CONFIG: Final = Path(__file__).parents[1] / ".chalice" / "config.json"


class UnknownStage(ValueError):
    """There is no such stage; the message names those there are."""


def enter(stage: str) -> None:
    """Put the settings of a stage in place. What the environment says already wins. Raises ``UnknownStage``."""
    stages: dict[str, Any] = json.loads(CONFIG.read_text("utf-8"))["stages"]
    if stage not in stages:
        raise UnknownStage(f"STAGE is one of {', '.join(stages)}, not {stage!r}")
    for name, value in stages[stage]["environment_variables"].items():
        os.environ.setdefault(name, value)
