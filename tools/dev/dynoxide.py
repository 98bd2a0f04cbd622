"""dynoxide: an optional DynamoDB emulator that several processes can use, and that counts capacity.

``make dynoxide`` downloads the pinned version. If ``DYNOXIDE`` is set, it is the path of the program that is used
instead. Without a download and without ``DYNOXIDE``, a ``dynoxide`` on the PATH is used.
"""

import base64
import contextlib
import hashlib
import io
import os
import platform
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PACKAGE, VERSION = "@dynoxide/linux-x64", "1.2.1"
INTEGRITY = "sBHqlxJ9ANkLluFkYRfd5r8Y0ApFew4FhOrlhgRAgD4XzEoFOukEo1nuBTQ1+jTtofqwn4NWQ2k0Tn5mNTjgUg=="
"""The SHA-512 of the npm package. A file with another digest is not unpacked."""
MEMBER = "package/dynoxide"
ROOT = Path(__file__).parents[2]
FETCHED = ROOT / "build" / "engines" / f"dynoxide-{VERSION}"

START_S = 20
FETCH_S = 120


class Unfetchable(Exception):
    """The pinned dynoxide cannot be downloaded. The message has the reason."""


def find() -> Path | None:
    """Return the path of the program: ``DYNOXIDE``, the downloaded program, or a program on the PATH. Else ``None``."""
    named = os.environ.get("DYNOXIDE")
    if named:
        return Path(named)
    if FETCHED.exists():
        return FETCHED
    on_path = shutil.which("dynoxide")
    return Path(on_path) if on_path else None


@contextlib.contextmanager
def running(program: Path, log: Path) -> Iterator[str]:
    """Run dynoxide in memory on a free port of loopback, and yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])
    with log.open("wb") as written:
        process = subprocess.Popen(
            [program, "--host", "127.0.0.1", "--port", str(port)],
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
        )
        try:
            _await(process, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(timeout=START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"dynoxide did not start: {log.read_text(errors='replace')[-500:]}")


def unpack(package: bytes, integrity: str, to: Path) -> None:
    """Check the digest of the package, then unpack the program. Raises ``Unfetchable`` for another digest."""
    found = base64.b64encode(hashlib.sha512(package).digest()).decode()
    if found != integrity:
        raise Unfetchable(f"the package from npm is not the pinned package: sha512-{found}")
    with tarfile.open(fileobj=io.BytesIO(package)) as members:
        program = members.extractfile(MEMBER)
        assert program is not None
        to.write_bytes(program.read())
    to.chmod(0o755)


def fetch(to: Path = FETCHED) -> None:
    """Download the pinned program from npm, without running its install scripts. Raises ``Unfetchable``."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise Unfetchable(f"it is pinned for x86_64 Linux, and this is {platform.machine()} {sys.platform}")
    if shutil.which("npm") is None:
        raise Unfetchable("npm is not on the PATH")
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent) as place:
        command = ["npm", "pack", "--ignore-scripts", f"{PACKAGE}@{VERSION}"]
        packed = subprocess.run(command, cwd=place, check=False, capture_output=True, text=True, timeout=FETCH_S)
        if packed.returncode:
            raise Unfetchable(f"npm could not serve {PACKAGE}@{VERSION}: {packed.stderr.strip()[-300:]}")
        (package,) = Path(place).glob("*.tgz")
        program = Path(place) / "dynoxide"
        unpack(package.read_bytes(), INTEGRITY, program)
        program.replace(to)


def main() -> int:
    """Download the program, if it is missing, and print the next step."""
    if not FETCHED.exists():
        try:
            fetch()
        except (Unfetchable, subprocess.TimeoutExpired) as problem:
            print(f"no dynoxide: {problem}", file=sys.stderr)
            return 1
    print(f"dynoxide    {VERSION}, {FETCHED.relative_to(ROOT)}")
    print("next        make test: the tests that need dynoxide use this program")
    return 0


if __name__ == "__main__":
    sys.exit(main())
