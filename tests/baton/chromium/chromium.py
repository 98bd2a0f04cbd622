"""Debian's Chromium as the platform of an app. It has `create` and `get`, as the software authenticator has them."""

import json
import os
import select
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

HERE: Final = Path(__file__).parent
TIMEOUT_S: Final = 30
ORIGIN: Final = "https://example.com"


def missing() -> str:
    """Return what is missing to run Chromium, and how to get it. It is empty if nothing is missing."""
    if not shutil.which("node"):
        return "node is not installed"
    if not shutil.which("chromium"):
        return "chromium is not installed (Debian: apt-get install chromium)"
    for package in ("playwright-core", "axe-core"):
        if not (HERE / "node_modules" / package).is_dir():
            return f"{package} is not installed (make browser installs it)"
    return ""


def program(*, light: bool) -> str:
    """Return the browser to start. ``light``: Debian's headless shell, if it is installed.

    The shell is the same Chromium without visible windows, so its pages open with a quarter of the CPU time. It has no
    Device Bound Session Credentials.
    """
    shell = shutil.which("chromium-headless-shell") if light else None
    return shell or shutil.which("chromium") or ""


def missing_certutil() -> str:
    """Return how to get the program that makes a browser trust a certificate. Empty if it is installed."""
    return "" if shutil.which("certutil") else "certutil is not installed (Debian: apt-get install libnss3-tools)"


class PlatformError(Exception):
    """The browser refused a ceremony, or did not answer. The message is the message of the browser."""


class Chromium:
    """A running browser. Use it as a context manager."""

    def __init__(
        self,
        driver: str = "platform.mjs",
        *,
        light: bool = False,
        home: Path | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        """Start the browser (see ``program``) with one of the drivers of this folder, a home folder and arguments."""
        self._process = subprocess.Popen(
            [shutil.which("node") or "node", driver],
            cwd=HERE,
            env=os.environ
            | {"CHROMIUM": program(light=light), "CHROMIUM_ARGUMENTS": json.dumps(list(arguments))}
            | ({"HOME": str(home)} if home else {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        """Return the browser."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, at: TracebackType | None
    ) -> None:
        """Close the browser."""
        with self._process as process:  # closes the pipes and waits
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()

    def platform(self, *, origin: str = ORIGIN, user_verification: bool = True) -> "Platform":
        """Open a page at an origin, with an empty authenticator.

        ``user_verification``: the authenticator has a PIN or biometry.
        """
        return Platform(self, self.ask("open", origin=origin, userVerification=user_verification))

    def ask(self, command: str, **members: object) -> Any:
        """Send a command to the driver, and return its value. Raises ``PlatformError``."""
        commands, answers = self._process.stdin, self._process.stdout
        assert commands is not None
        assert answers is not None
        commands.write(json.dumps({"command": command, **members}).encode() + b"\n")
        commands.flush()
        if not select.select([answers], [], [], TIMEOUT_S)[0]:
            self._process.kill()  # the answer to this command must not be taken for that of the next one
            raise PlatformError(f"no answer to {command} in {TIMEOUT_S} s")
        line = answers.readline()
        if not line:
            raise PlatformError(f"the browser ended at {command}")
        answer = json.loads(line)
        if "error" in answer:
            raise PlatformError(answer["error"])
        return answer["value"]


class Platform:
    """A page in the browser, and its authenticator."""

    def __init__(self, browser: Chromium, number: int) -> None:
        """Use a page of the browser."""
        self._browser, self._number = browser, number

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """Register a passkey: ``navigator.credentials.create()`` and ``toJSON()``."""
        return dict(self._ask("create", options=options))

    def get(self, options: dict[str, Any]) -> dict[str, Any]:
        """Sign with a passkey: ``navigator.credentials.get()`` and ``toJSON()``."""
        return dict(self._ask("get", options=options))

    def forget_unknown(self, refusal: dict[str, Any]) -> None:
        """Tell the platform that the server does not know a passkey: the members of ``unknown_passkey``."""
        self._ask("unknown", rpId=refusal["rp_id"], credentialId=refusal["credential_id"])

    def keep_accepted(self, passkeys: dict[str, Any]) -> None:
        """Tell the platform which passkeys are left: the members of ``GET /me/passkeys``."""
        rp_id, user, ids = (passkeys[name] for name in ("rp_id", "user_handle", "accepted_credential_ids"))
        self._ask("accepted", rpId=rp_id, userId=user, allAcceptedCredentialIds=ids)

    def passkeys(self) -> list[dict[str, Any]]:
        """List the passkeys of the authenticator."""
        return list(self._ask("passkeys"))

    def close(self) -> None:
        """Close the page."""
        self._ask("close")

    def _ask(self, command: str, **members: object) -> Any:
        return self._browser.ask(command, platform=self._number, **members)
