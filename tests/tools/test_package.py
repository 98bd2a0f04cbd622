"""What the Lambda zip holds."""

import zipfile
from pathlib import Path

import pytest

from tools.package import ROOT, ZIP, ZIP_BYTES_MAX, build, foreign, parts, strangers


@pytest.fixture(scope="module")
def archive() -> Path:
    """Build the zip."""
    build()
    return ZIP


def test_the_zip_holds_the_application_and_what_it_runs_on_alone(archive: Path) -> None:
    """app.py, chalicelib/, runtime dependencies: no tests, no tools, no boto3, under 8 MB."""
    assert strangers(archive) == set()
    assert {"app.py", "chalicelib", "jwt", "argon2", "cryptography", "msgspec", "chalice"} <= parts(archive).keys()
    assert archive.stat().st_size < ZIP_BYTES_MAX


def test_the_zip_holds_every_file_of_chalicelib(archive: Path) -> None:
    """The registry and the block list ship too; bytecode of this machine does not."""
    with zipfile.ZipFile(archive) as opened:
        shipped = {name for name in opened.namelist() if name.startswith("chalicelib/")}
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "chalicelib").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert shipped == ours


def test_a_stranger_in_the_zip_is_noticed(tmp_path: Path) -> None:
    """The check above can fail."""
    planted = tmp_path / "planted.zip"
    with zipfile.ZipFile(planted, "w") as opened:
        for name in ("app.py", "tests/test_x.py", "moto/__init__.py", "boto3/__init__.py"):
            opened.writestr(name, "")
    assert strangers(planted) == {"tests", "moto", "boto3"}


def test_every_native_module_loads_where_it_goes(archive: Path) -> None:
    """Four of them, all for the architecture of .chalice/config.json."""
    with zipfile.ZipFile(archive) as opened:
        assert sum(name.endswith(".so") for name in opened.namelist()) == 4
    assert foreign(archive) == set()


@pytest.mark.parametrize("machine", [b"\x3e\x00", b"\x28\x00"], ids=["x86_64", "arm"])
def test_a_native_module_of_another_machine_is_noticed(tmp_path: Path, machine: bytes) -> None:
    """Such as one that pip built here, where no wheel was to be had."""
    planted = tmp_path / "planted.zip"
    with zipfile.ZipFile(planted, "w") as opened:
        opened.writestr("jwt/fast.so", b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\x03\x00" + machine)
    assert foreign(planted) == {"jwt/fast.so"}
