"""The content of the Lambda zip."""

import ast
import importlib.util
import marshal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import CodeType

import pytest

from tools import package
from tools.package import (
    LEFT_OUT,
    MACHINES,
    ZIP_BYTES_MAX,
    fits_lambda,
    foreign,
    glibc_needed,
    parts,
    runtime,
    strangers,
    top_level,
    unfit,
    weighed,
)
from tools.template import ROOT

HERE = "x86_64"
"""The architecture of this machine. The other architecture is packaged only in the long form of the tests."""


@pytest.fixture(
    scope="module",
    params=[HERE, *(pytest.param(name, marks=pytest.mark.prove(ci=True)) for name in MACHINES if name != HERE)],
)
def architecture(request: pytest.FixtureRequest) -> str:
    """Use each architecture of Lambda in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def archive(packaged: Callable[[str], Path], architecture: str) -> Path:
    """Build the zip."""
    return packaged(architecture) / "deployment.zip"


def named(archive: Path) -> set[str]:
    """List the files of a zip."""
    with zipfile.ZipFile(archive) as opened:
        return set(opened.namelist())


def test_the_zip_has_only_the_application_and_its_dependencies(archive: Path) -> None:
    """It has app.py, chalicelib/ and the runtime dependencies: no tests, no tools, no boto3, and less than 8 MB."""
    assert strangers(archive) == set()
    assert {"app.py", "chalicelib", "argon2", "cryptography", "msgspec", "chalice"} <= parts(archive).keys()
    assert archive.stat().st_size < ZIP_BYTES_MAX


def test_the_zip_has_every_file_of_chalicelib_except_the_test_kit(archive: Path) -> None:
    """The registry and the password block list are in the zip. Bytecode of this machine is not."""
    bytecode_only = {
        name[:-1]
        for name in named(archive)
        if name.startswith("chalicelib/baton/") and name.endswith(".pyc") and "__pycache__" not in name
    }
    shipped = {name for name in named(archive) if name.startswith("chalicelib/") and not name.endswith(".pyc")}
    assert not {name for name in shipped if name.startswith("chalicelib/baton/") and name.endswith(".py")}
    shipped |= bytecode_only
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "chalicelib").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    test_kit = {name for name in ours if name.startswith("chalicelib/baton/testing/")}
    assert test_kit
    assert shipped == ours - test_kit - {"chalicelib/baton/MANIFEST"}


def test_what_is_left_out_is_never_imported() -> None:
    """Passkeys, passwords and keys work without these files: the library of cbor2, other ASN.1 modules, build tools."""
    program = (
        "import sys; sys.modules['_cbor2'] = None\n"
        "import webauthn.authentication.verify_authentication_response as one\n"
        "import webauthn.registration.verify_registration_response as other\n"
        "from argon2.low_level import Type, hash_secret\n"
        "hash_secret(b'password', b'salt' * 4, 1, 8, 1, 16, Type.ID)\n"
        "print([name.replace('.', '/') for name in sys.modules if sys.modules[name]])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = [f"{name}.py" for name in ast.literal_eval(done.stdout)]
    assert "pyasn1_modules/rfc5280.py" in loaded
    found = {name for name in loaded for pattern in LEFT_OUT.values() if pattern.match(name)}
    assert found <= {"pyasn1_modules.py"}


def test_imported_modules_are_compiled(archive: Path) -> None:
    """Bytecode is beside each source of the team, compiled from that source, and is not checked at run time.

    Baton, and the packages that it requires, have bytecode only.
    """
    with zipfile.ZipFile(archive) as opened:
        names = set(opened.namelist())
        sources = {name for name in names if name.endswith(".py")}
        assert {top_level(name) for name in sources} == {"app.py", "chalicelib"}
        compiled = {importlib.util.cache_from_source(name): name for name in sources}
        required = {name for name in names if name.endswith(".pyc")} - compiled.keys()
        assert {"chalice/app.pyc", "cryptography/__init__.pyc", "typing_extensions.pyc"} <= required
        assert {"chalicelib/baton/__init__.pyc", "chalicelib/baton/tokens/exchange.pyc"} <= required
        for name in compiled.keys() | required:
            content = opened.read(name)
            assert content[:8] == importlib.util.MAGIC_NUMBER + b"\x01\0\0\0"
        for name, source in compiled.items():
            assert opened.read(name)[8:16] == importlib.util.source_hash(opened.read(source))
        code = marshal.loads(opened.read(importlib.util.cache_from_source("app.py"))[16:])  # noqa: S302 - bytecode that this build wrote
    assert isinstance(code, CodeType)
    assert code.co_filename == "/var/task/app.py"


def test_packaging_again_gives_the_same_zip(packaged: Callable[[str], Path], tmp_path: Path) -> None:
    """The zip is equal byte for byte.

    So an unchanged zip is not uploaded again, and every reader of the source can compare it.
    """
    with zipfile.ZipFile(packaged(HERE) / "deployment.zip") as opened:
        kept = [name for name in opened.namelist() if name.startswith(("app.", "chalicelib/baton/lineages/"))]
        compiled = {name: opened.read(name) for name in kept if name.endswith(".pyc")}
    sources = ["app.py", *(name[:-1] for name in compiled if name.startswith("chalicelib/"))]
    contents = {name: (ROOT / name).read_bytes() for name in sources}
    for number, order in enumerate((sorted(contents), sorted(contents, reverse=True))):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w") as planted:
            for name in order:
                planted.writestr(zipfile.ZipInfo(name, (2020 + number, 1, 1, 0, 0, 0)), contents[name])
        package._rewrite(tmp_path / f"{number}.zip")
    assert (tmp_path / "0.zip").read_bytes() == (tmp_path / "1.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "0.zip") as again:
        assert {name: again.read(name) for name in compiled} == compiled


def test_an_unexpected_file_in_the_zip_is_noticed(tmp_path: Path) -> None:
    """A control of the test above: it fails if the zip has such a file."""
    planted = tmp_path / "planted.zip"
    with zipfile.ZipFile(planted, "w") as opened:
        for name in ("app.py", "tests/test_x.py", "moto/__init__.py", "boto3/__init__.py", "__pycache__/app.x.pyc"):
            opened.writestr(name, "")
    assert strangers(planted) == {"tests", "moto", "boto3"}
    assert unfit(planted, "arm64", "python3.11") == ["must not be in the zip: boto3, moto, tests"]


def test_a_zip_over_the_limit_is_refused_with_its_largest_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message shows what to remove."""
    planted = tmp_path / "planted.zip"
    with zipfile.ZipFile(planted, "w") as opened:
        opened.writestr("app.py", b"x" * 100)
        opened.writestr("chalicelib/large.txt", b"x" * 5000)
    assert unfit(planted, "arm64", "python3.11") == []
    monkeypatch.setattr(package, "ZIP_BYTES_MAX", 4000)
    (said,) = unfit(planted, "arm64", "python3.11")
    assert said.endswith("the largest parts: chalicelib 5 kB, app.py 0 kB")
    assert weighed(planted).splitlines()[0].split() == ["chalicelib", "5", "kB"]


def test_every_native_module_can_be_loaded_by_lambda(archive: Path, architecture: str) -> None:
    """Five modules and their wheels fit the machine, the Python version and the glibc of Lambda."""
    assert sum(name.endswith(".so") for name in named(archive)) == 5
    assert foreign(archive, architecture, runtime()) == set()
    other = next(name for name in MACHINES if name != architecture)
    assert len([name for name in foreign(archive, other, runtime()) if name.endswith(".so")]) == 5


ARM = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\x03\x00\xb7\x00"


@pytest.mark.parametrize(
    ("name", "content"),
    {
        "x86_64": ("jwt/fast.so", ARM[:18] + b"\x3e\x00"),
        "arm": ("jwt/fast.so", ARM[:18] + b"\x28\x00"),
        "no ELF": ("jwt/fast.so", b"MZ"),
        "another Python": ("jwt/fast.cpython-312-aarch64-linux-gnu.so", ARM),
        "another machine by its name": ("jwt/fast.cpython-311-x86_64-linux-gnu.so", ARM),
        "a newer glibc": ("jwt/fast.so", ARM + b"\0GLIBC_2.17\0GLIBC_2.27\0"),
        "a newer glibc by its wheel": ("x.dist-info/WHEEL", b"Tag: cp311-cp311-manylinux_2_28_aarch64\n"),
        "a wheel of another machine": ("x.dist-info/WHEEL", b"Tag: cp311-cp311-manylinux2014_x86_64\n"),
    }.values(),
)
def test_a_native_module_that_lambda_cannot_load_is_noticed(tmp_path: Path, name: str, content: bytes) -> None:
    """An example is a module that pip compiled on this machine because there was no wheel."""
    planted = tmp_path / "planted.zip"
    with zipfile.ZipFile(planted, "w") as opened:
        opened.writestr(name, content)
        opened.writestr("jwt/right.cpython-311-aarch64-linux-gnu.so", ARM + b"\0GLIBC_2.26\0")
        opened.writestr("y.dist-info/WHEEL", b"Tag: cp311-cp311-manylinux_2_28_aarch64\nTag: py3-none-any\n")
    assert foreign(planted, "arm64", "python3.11") == {name}


@pytest.mark.parametrize(
    ("tag", "fits"),
    {
        "py3-none-any": True,
        "py2.py3-none-any": True,
        "py2-none-any": False,
        "cp311-cp311-manylinux2014_x86_64": True,
        "cp311-cp311-manylinux_2_26_x86_64": True,
        "cp311-cp311-manylinux_2_27_x86_64": False,
        "cp311-cp311-manylinux_2_17_aarch64": False,
        "cp311-cp311-musllinux_1_2_x86_64": False,
        "cp311-cp311-linux_x86_64": False,
        "cp311-cp311-macosx_11_0_arm64": False,
        "cp39-abi3-manylinux1_x86_64": True,
        "cp311-abi3-manylinux2010_x86_64": True,
        "cp312-abi3-manylinux2014_x86_64": False,
        "cp312-cp312-manylinux2014_x86_64": False,
    }.items(),
)
def test_the_platform_of_a_wheel_is_read_from_its_tags(tag: str, fits: bool) -> None:  # noqa: FBT001 - a column of the table
    """The tags follow PEP 425 and PEP 600. The test uses Python 3.11 on glibc 2.26."""
    assert fits_lambda(tag, "cp311", "x86_64", 26) is fits


def test_the_newest_required_glibc_counts() -> None:
    """The versions are compared as numbers, not as texts."""
    assert glibc_needed(b"\0GLIBC_2.4\0GLIBC_2.17\0GLIBC_2.9\0") == 17
    assert glibc_needed(b"") == 0


def test_a_stage_without_a_client_registry_is_not_packaged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The function would not start. The message has the remedy and no traceback.

    ``dev`` has a registry in the repository.
    """
    monkeypatch.setattr(package, "COPY", tmp_path / "never made")
    monkeypatch.setenv("STAGE", "prod")
    assert package.main() == 1
    told = capsys.readouterr().err
    assert "clients-prod.toml" in told
    assert "docs/baton/operations.md" in told
    assert "Traceback" not in told
    assert not (tmp_path / "never made").exists()


def test_a_python_that_lambda_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Chalice would use the nearest version, and package native modules that cannot be loaded there."""

    class Future:
        """A future Python version."""

        major, minor = 3, 99

    monkeypatch.setattr(sys, "version_info", Future)
    monkeypatch.setattr(package, "COPY", tmp_path / "never made")
    with pytest.raises(SystemExit, match=r"Lambda has no python3\.99.*Nothing was changed"):
        package.build()
    assert not (tmp_path / "never made").exists()


def test_an_error_of_chalice_is_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line has the last line of the error, and the remedy. The traceback is written to a file."""
    monkeypatch.setattr(package, "COPY", tmp_path / "source")
    monkeypatch.setattr(package, "BUILT", tmp_path / "package")
    (tmp_path / "source" / ".chalice").mkdir(parents=True)
    (tmp_path / "source" / ".chalice" / "config.json").write_text('{"version": "2.0", "app_name": "x"}', "utf-8")
    (tmp_path / "source" / "app.py").write_text("raise RuntimeError('the engine lacks a call')\n", "utf-8")
    with pytest.raises(SystemExit) as failed:
        package.chalice("package", str(tmp_path / "out"))
    said = str(failed.value)
    assert said.startswith("error: chalice package failed: RuntimeError: the engine lacks a call. remedy: ")
    assert len(said.splitlines()) == 1
    assert "Traceback" in (tmp_path / "package" / "chalice.log").read_text("utf-8")
