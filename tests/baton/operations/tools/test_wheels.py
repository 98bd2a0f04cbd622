"""The wheels of the zip: a wheel that differs from its hash in requirements.txt is never packaged."""

import base64
import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tools import package
from tools.template import ROOT

DISTRIBUTION = "msgspec"
PLANTED = b"raise SystemExit('tampered')\n"


def tampered(wheel: bytes) -> bytes:
    """Change a module of a wheel, and its RECORD with it. The wheel is well-formed, and only its hash differs."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(PLANTED).digest()).rstrip(b"=").decode()
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(wheel)) as opened, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as planted:
        for entry in opened.infolist():
            content = opened.read(entry)
            if entry.filename == f"{DISTRIBUTION}/__init__.py":
                content = PLANTED
            elif entry.filename.endswith(".dist-info/RECORD"):
                lines = content.decode().splitlines()
                listed = f"{DISTRIBUTION}/__init__.py,sha256={digest},{len(PLANTED)}"
                lines = [listed if line.startswith(f"{DISTRIBUTION}/__init__.py,") else line for line in lines]
                content = ("\n".join(lines) + "\n").encode()
            planted.writestr(entry, content)
    return written.getvalue()


def content_of(archive: Path) -> bytes:
    """Read the module that a tampered wheel changes."""
    with zipfile.ZipFile(archive) as opened:
        return opened.read(f"{DISTRIBUTION}/__init__.pyc")


@pytest.fixture
def genuine(packaged: Callable[[str], Path]) -> dict[str, bytes]:
    """Return every wheel of the pinned requirements, by file name."""
    packaged("arm64")
    return {wheel.name: wheel.read_bytes() for wheel in package.WHEELS.glob("*.whl")}


class Index:
    """A package index on loopback (PEP 503)."""

    def __init__(self, wheels: dict[str, bytes]) -> None:
        """Offer these wheels, by file name."""
        self.wheels, self.asked = wheels, 0
        index = self

        class Handler(BaseHTTPRequestHandler):
            """Serves project pages and wheels."""

            def do_GET(self) -> None:
                """Serve a page or a wheel."""
                index.asked += 1
                name = self.path.strip("/").rpartition("/")[2]
                body = index.wheels.get(name)
                media_type = "application/octet-stream"
                if body is None:
                    project = name.replace("-", "_") + "-"
                    links = "".join(f'<a href="/{one}">{one}</a>' for one in index.wheels if one.startswith(project))
                    body, media_type = f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html"
                self.send_response(200)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/simple"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def index(genuine: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Index]:
    """Serve the genuine wheels as the only index, and package into folders of this test."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    served = Index(dict(genuine))
    for name, value in {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": served.url, "PIP_NO_CACHE_DIR": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(package, "WHEELS", tmp_path / "wheels")
    monkeypatch.setattr(package, "COPY", tmp_path / "source")
    monkeypatch.setattr(package, "BUILT", tmp_path / "package")
    yield served
    served.close()


def tamper(wheels: dict[str, bytes]) -> str:
    """Change the wheel for the other machine, which Chalice accepts by name and version only. Return its name."""
    (name,) = [name for name in wheels if name.startswith(f"{DISTRIBUTION}-") and "aarch64" in name]
    wheels[name] = tampered(wheels[name])
    return name


@pytest.mark.prove(ci=True)
def test_a_tampered_wheel_of_the_same_version_is_refused(index: Index) -> None:
    """The index offers it under the right name and version. The message names the package and the remedy."""
    tamper(index.wheels)
    with pytest.raises(SystemExit) as refused:
        package.build("dev", "arm64")
    assert not list(package.BUILT.rglob("*.zip"))
    said = str(refused.value)
    assert f"{DISTRIBUTION}==" in said
    assert "hash" in said
    assert "requirements.txt" in said
    assert "Traceback" not in said


def installed(architecture: str) -> bytes:
    """Install the requirements, and read the module that a tampered wheel changes."""
    package.install(architecture, package.runtime())
    return (package.COPY / "vendor" / DISTRIBUTION / "__init__.py").read_bytes()


@pytest.mark.prove(ci=True)
def test_genuine_wheels_of_an_index_are_installed_and_kept(index: Index) -> None:
    """A control of the test above: genuine wheels are not refused.

    The next installation reads no index, for either architecture.
    """
    assert installed("arm64") != PLANTED
    asked = index.asked
    assert asked
    assert installed("arm64") == installed("x86_64")
    assert index.asked == asked


@pytest.mark.prove(ci=True)
def test_a_wheel_that_is_changed_after_its_download_is_not_packaged(index: Index, genuine: dict[str, bytes]) -> None:
    """Without an index, packaging is refused. With an index, the wheel is downloaded again."""
    installed("arm64")
    kept = {path.name: path.read_bytes() for path in package.WHEELS.iterdir()}
    name = tamper(kept)
    (package.WHEELS / name).write_bytes(kept[name])
    offered = dict(index.wheels)
    index.wheels.clear()
    with pytest.raises(SystemExit, match="Nothing was packaged"):
        package.build("dev", "arm64")
    index.wheels.update(offered)
    assert installed("arm64") != PLANTED
    assert (package.WHEELS / name).read_bytes() == genuine[name]


@pytest.mark.prove
def test_old_files_in_the_build_folder_are_not_packaged(index: Index) -> None:
    """The test has an old zip, which Chalice would reuse, and a package beside the installed packages."""
    del index
    package.build("dev", "arm64")
    (zipped,) = (package.COPY / ".chalice" / "deployments").glob("*.zip")
    poisoned = zipped.with_name("poisoned.zip")
    with zipfile.ZipFile(zipped) as opened, zipfile.ZipFile(poisoned, "w") as planted:
        for entry in opened.infolist():
            of_target = entry.filename == f"{DISTRIBUTION}/__init__.pyc"
            planted.writestr(entry, PLANTED if of_target else opened.read(entry))
    shutil.move(poisoned, zipped)
    (package.COPY / "vendor" / DISTRIBUTION / "__init__.py").write_bytes(PLANTED)
    (package.COPY / "vendor" / DISTRIBUTION / "planted.py").write_bytes(PLANTED)
    archive = package.build("dev", "arm64")
    assert content_of(archive) != PLANTED
    with zipfile.ZipFile(archive) as again:
        assert not {f"{DISTRIBUTION}/planted.py", f"{DISTRIBUTION}/planted.pyc"} & set(again.namelist())


@pytest.mark.parametrize(
    ("line", "refused"),
    {
        'uvloop==1.0 ; sys_platform == "linux" \\': True,
        'uvloop==1.0 ; platform_machine != "arm64" \\': True,
        'uvloop==1.0 ; os_name == "posix"': True,
        "pycparser==3.12 ; implementation_name != 'PyPy' \\": False,
        'tomli==2.0 ; python_full_version < "3.11"': False,
        "# via sys_platform": False,
    }.items(),
)
def test_a_requirement_for_one_platform_only_is_refused(line: str, refused: bool) -> None:  # noqa: FBT001 - a column of the table
    """On macOS pip would leave the package out: it evaluates the marker for this machine, not for Lambda."""
    assert bool(package.machine_markers(f"msgspec==1 \\\n    --hash=sha256:0\n{line}\n")) is refused


def test_the_packaged_requirements_are_the_same_on_every_machine() -> None:
    """The zip that macOS packages is the zip that Linux packages."""
    assert package.machine_markers((ROOT / "requirements.txt").read_text("utf-8")) == []
