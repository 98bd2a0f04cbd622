"""``make package``: build the Lambda zip and the template around it with ``chalice package``, and check the zip.

Chalice would download some wheels by name and version alone. Here pip downloads every wheel, compares it with its hash
in requirements.txt, and installs the wheels offline into ``vendor/``. Chalice copies that folder and runs no pip.

The zip gets bytecode, because Lambda cannot write bytecode: compiling would take a third of a cold start.
``chalice deploy`` uploads this same file, so the uploaded file is the checked file. For Baton and the packages that it
requires, the zip has no sources: Lambda never reads the sources, and they would be a sixth of the zip.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from chalicelib.baton.http.answer import EXPOSED_FIELDS
from chalicelib.baton.settings import SettingsProblems, read_settings
from tools import requirements, stages
from tools.printed import widths
from tools.template import EDGE, ROOT, of_type, parse

WHEELS = ROOT / "build" / "wheels"
"""The downloaded wheels. They are compared with their hashes again each time they are installed."""
COPY = ROOT / "build" / "source"
BUILT = ROOT / "build" / "package"
ZIP_BYTES_MAX = 8 * 1000 * 1000
MACHINES = {"x86_64": ("x86_64", 62), "arm64": ("aarch64", 183)}
"""``lambda_architecture`` -> the machine in the names of wheels, and ``e_machine`` of ELF."""

GLIBC_OF_AMAZON_LINUX_2 = 26
GLIBC_OF_AMAZON_LINUX_2023 = 34
"""The x of glibc 2.x on Amazon Linux 2023. Lambda's Python 3.11 is the last Python on Amazon Linux 2."""

BATON = "chalicelib/baton/"
TEST_KIT = f"{BATON}testing"
"""The folder of chalicelib/ that is not in the zip."""

OURS = {"app.py", "chalicelib"}
RUNTIME = {
    "OpenSSL",
    "_argon2_cffi_bindings",
    "_cffi_backend",
    "argon2",
    "bcrypt",
    "cbor2",
    "chalice",
    "cryptography",
    "idna",
    "msgspec",
    "pyasn1",
    "pyasn1_modules",
    "typing_extensions",
    "webauthn",
}
"""The import names of the required packages. ``chalice`` is the part of Chalice that runs in Lambda."""

MACHINE_MARKER = re.compile(r"\b(?:sys_platform|os_name|platform_\w+)\b")
"""Environment markers (PEP 508) that depend on the machine. pip evaluates them for the machine it runs on."""

LEFT_OUT: Mapping[str, re.Pattern[str]] = {
    "cbor2": re.compile(r"_cbor2\."),
    "cffi": re.compile(r"cffi/"),
    "pycparser": re.compile(r"pycparser/"),
    "pyasn1-modules": re.compile(r"pyasn1_modules/(?!(?:__init__|rfc5280)\.py)"),
}
"""Files that Baton never imports, by distribution. They have 1 MB. Without its native library, cbor2 uses its Python
code. cffi and pycparser are for building: at run time only ``_cffi_backend`` is imported."""

_MADE: dict[Path, str] = {}
"""The zips that this process made, and their SHA-256."""

_EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)


def runtime() -> str:
    """Return the Lambda runtime with the Python version of this process. Exit if Lambda does not have this version.

    The zip is for this Python version: ``chalice package`` uses the version that runs Chalice.
    """
    import botocore.session  # noqa: PLC0415 - slow to import

    ours = f"python{sys.version_info.major}.{sys.version_info.minor}"
    shape: Any = botocore.session.get_session().get_service_model("lambda").shape_for("Runtime")
    theirs = [name for name in shape.enum if name.startswith("python3")]
    if ours not in theirs:
        raise SystemExit(
            f"error: Lambda has no {ours}; its newest is {theirs[-1]}. Nothing was changed.\n"
            f"remedy: make clean, put {theirs[-1]} (or another version of Lambda) first on the PATH, and run it again"
        )
    return ours


def glibc_of(runtime_: str) -> int:
    """Return the minor version of glibc in a Lambda runtime: the x of 2.x."""
    return GLIBC_OF_AMAZON_LINUX_2 if runtime_ == "python3.11" else GLIBC_OF_AMAZON_LINUX_2023


def configuration() -> dict[str, Any]:
    """Read ``.chalice/config.json``."""
    return stages.read_config(ROOT / ".chalice" / "config.json")


def configured_architecture() -> str:
    """Return the Lambda architecture of ``.chalice/config.json``."""
    return str(configuration()["lambda_architecture"])


def names_of(stage: str) -> dict[str, str]:
    """Return the template parameters that the settings of a stage determine: parameter name -> value."""
    variables = configuration()["stages"][stage]["environment_variables"]
    tables, issuer = variables["BATON_TABLE_PREFIX"], variables["BATON_ISSUER"]
    names = {"Prefix": variables.get("BATON_DEPLOYMENT") or tables, "Tables": tables}
    names |= {"Mail": stages.mail_of(variables), "MailFrom": stages.mail_address(variables)}
    return names if issuer == stages.PLACEHOLDER else names | {"Issuer": issuer}


def origins_of(stage: str) -> tuple[str, ...]:
    """Return the origins of the web pages that may call a stage."""
    listed = configuration()["stages"][stage]["environment_variables"].get("BATON_ORIGINS", "")
    return tuple(filter(None, map(str.strip, listed.split(","))))


def this_architecture() -> str | None:
    """Return Lambda's name for the architecture of this machine. ``None``: not Linux, or not one of ``MACHINES``."""
    here = {machine: name for name, (machine, _) in MACHINES.items()} if sys.platform == "linux" else {}
    return here.get(platform.machine())


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold a lock of this checkout. Only one process packages at a time, because all use the same ``COPY``."""
    import fcntl  # noqa: PLC0415 - the module does not exist on Windows, where this module is imported too

    COPY.parent.mkdir(exist_ok=True)
    with (COPY.parent / "packaging").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def copy_of_what_ships(architecture: str, clients: str | None = None) -> Path:
    """Make ``COPY``, a folder with the files that Chalice needs, and return it.

    Chalice packs all files of chalicelib/, so the copy omits old bytecode and the test kit.

    ``clients``: replaces the setting ``BATON_CLIENTS`` of every stage in the copy.
    """
    shutil.rmtree(COPY / "chalicelib", ignore_errors=True)
    for name in ("chalicelib", ".chalice"):
        left_out = shutil.ignore_patterns("__pycache__", "deployments", "deployed", "MANIFEST")
        shutil.copytree(ROOT / name, COPY / name, ignore=left_out, dirs_exist_ok=True)
    shutil.rmtree(COPY / TEST_KIT)
    shutil.copyfile(ROOT / "app.py", COPY / "app.py")
    (COPY / "requirements.txt").write_text(
        "# vendor/ has the requirements: Chalice has nothing to download.\n", "utf-8"
    )
    stages.DEPLOYED.mkdir(parents=True, exist_ok=True)
    link = COPY / ".chalice" / "deployed"
    link.unlink(missing_ok=True)
    link.symlink_to(stages.DEPLOYED, target_is_directory=True)
    config = COPY / ".chalice" / "config.json"
    copied = configuration() | {"lambda_architecture": architecture}
    for stage in copied["stages"].values() if clients else ():
        stage["environment_variables"]["BATON_CLIENTS"] = clients
    config.write_text(json.dumps(copied), "utf-8")
    return COPY


def machine_markers(pinned: str) -> list[str]:
    """List the requirements whose marker depends on the machine. pip evaluates markers for this machine, not Lambda."""
    lines = [line for line in pinned.splitlines() if not line.lstrip().startswith("#")]
    return [line.rstrip(" \\") for line in lines if MACHINE_MARKER.search(line.partition(";")[2])]


def platforms(architecture: str, runtime_: str) -> list[str]:
    """List the platform tags (PEP 600) of the wheels that a runtime loads, as pip's options."""
    machine, _ = MACHINES[architecture]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(17, glibc_of(runtime_) + 1)]
    return [word for tag in [*tags, f"manylinux2014_{machine}"] for word in ("--platform", tag)]


def pip(command: str, architecture: str, runtime_: str, *words: str, offline: bool) -> str:
    """Run pip for a runtime on the pinned requirements, with their hashes. Return its error, or an empty text.

    ``offline``: pip uses only the wheels in ``WHEELS``.
    """
    environment = dict(os.environ)
    if offline:
        environment = {name: value for name, value in environment.items() if not name.startswith("PIP_")}
        environment["PIP_CONFIG_FILE"] = os.devnull
        words = ("--no-index", "--no-cache-dir", "--find-links", str(WHEELS), *words)
    pinned = ["--require-hashes", "--only-binary=:all:", "-r", str(ROOT / "requirements.txt")]
    run = [sys.executable, "-m", "pip", "--disable-pip-version-check", command, "--quiet"]
    target = ["--implementation", "cp", "--python-version", runtime_.removeprefix("python")]
    done = subprocess.run(
        [*run, *pinned, *target, *platforms(architecture, runtime_), *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    return done.stderr.strip() if done.returncode else ""


def install(architecture: str, runtime_: str) -> None:
    """Install the pinned requirements into ``vendor/`` of ``COPY``, from wheels with matching hashes, or exit."""
    pinned = (ROOT / "requirements.txt").read_text("utf-8")
    if unclear := machine_markers(pinned):
        raise SystemExit(
            f"error: requirements.txt has a requirement for one kind of machine only: {'; '.join(unclear)}\n"
            "remedy: remove the marker, or the requirement: pip compares it with this machine, not with Lambda"
        )
    vendor = COPY / "vendor"
    installing = ["--target", str(vendor), "--no-compile"]
    shutil.rmtree(vendor, ignore_errors=True)
    if pip("install", architecture, runtime_, *installing, offline=True):
        for one in MACHINES:
            problem = pip("download", one, runtime_, "--dest", str(WHEELS), offline=False)
            if problem:
                raise SystemExit(_not_downloaded(problem))
        shutil.rmtree(vendor, ignore_errors=True)
        if problem := pip("install", architecture, runtime_, *installing, offline=True):
            raise SystemExit(_not_downloaded(problem))
    shutil.rmtree(vendor / "bin", ignore_errors=True)  # commands for a shell: Lambda runs none


def _not_downloaded(problem: str) -> str:
    """Describe a failure of pip: a wheel with another hash, or no wheel."""
    if "DO NOT MATCH THE HASHES" in problem:
        found = re.search(r"^ *(\S+==\S+) from (\S+)", problem, re.MULTILINE)
        named = f"{found[1]} from {found[2].partition('#')[0]}" if found else "a wheel"
        return (
            f"error: {named} does not match its hash in requirements.txt. Nothing was packaged.\n"
            "remedy: check the package index (PIP_INDEX_URL, pip config list), and run the command again. "
            "Do not change the hash, unless you have checked the file"
        )
    return (
        f"error: pip cannot get the wheels of requirements.txt. Nothing was packaged.\n{problem}\n"
        "remedy: check the network and the package index (PIP_INDEX_URL, pip config list), and run the command again"
    )


def chalice(*words: str) -> str:
    """Run the command ``chalice`` in the folder ``COPY``, and return its output."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("chalice")), *words],
        cwd=COPY,
        capture_output=True,
        text=True,
        check=False,
        env={"AWS_DEFAULT_REGION": "us-east-1", **os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PIP_NO_INDEX": "1"},
    )
    if done.returncode:
        log = BUILT / "chalice.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(done.stdout + done.stderr, "utf-8")
        last = next((line for line in reversed((done.stdout + done.stderr).splitlines()) if line.strip()), "")
        lacks = (
            " The engine may lack this call: unset AWS_ENDPOINT_URL to use AWS."
            if "AWS_ENDPOINT_URL" in os.environ
            else ""
        )
        raise SystemExit(
            f"error: chalice {words[0]} failed: {last.strip()[:300]}. "
            f"remedy: correct this, and run the command again.{lacks} "
            f"{os.path.relpath(log, ROOT)} has everything that Chalice printed"
        )
    return done.stdout


def build(stage: str = "dev", architecture: str | None = None, *, clients: str | None = None) -> Path:
    """Build zip and template, and return the path of the zip. Call this within ``alone()``.

    The template is for ``stage``. The zip is the same for every stage.

    ``architecture``: by default the configured architecture.
    ``clients``: replaces the stage's ``BATON_CLIENTS``. Set it if the registry file of the stage does not exist yet:
    Chalice starts the application, and the application reads this file.
    """
    architecture = architecture or configured_architecture()
    runtime_ = runtime()
    copy_of_what_ships(architecture, clients)
    install(architecture, runtime_)
    zipped, built = _zip_of_chalice(architecture, runtime_), BUILT / architecture
    # Chalice reuses a zip by its name without reading it, so only a zip of this process may stay.
    if not zipped.exists() or _MADE.get(zipped) != _digest(zipped):
        for earlier in zipped.parent.glob(f"*-{runtime_}{zipped.stem.partition(runtime_)[2]}.zip"):
            earlier.unlink()
        _MADE.pop(zipped, None)
    chalice("package", "--stage", stage, "--merge-template", str(EDGE), str(built))
    if zipped not in _MADE:
        _rewrite(zipped)
        _MADE[zipped] = _digest(zipped)
    shutil.copyfile(zipped, built / "deployment.zip")
    template = built / "sam.yaml"
    template.write_text(
        yaml.safe_dump(
            readable_by_pages(
                hardened(parse(template.read_text("utf-8")), names_of(stage), runtime_), origins_of(stage)
            ),
            sort_keys=False,
        ),
        "utf-8",
    )
    return built / "deployment.zip"


def _zip_of_chalice(architecture: str, runtime_: str) -> Path:
    """Return the path of the zip that Chalice makes of ``COPY``. ``chalice deploy`` uses the same file."""
    from chalice.deploy.packager import DependencyBuilder, LambdaDeploymentPackager  # noqa: PLC0415 - slow to import
    from chalice.utils import UI, OSUtils  # noqa: PLC0415 - slow to import

    system = OSUtils()
    packager = LambdaDeploymentPackager(system, DependencyBuilder(system), UI(), architecture)
    return Path(packager.deployment_package_filename(str(COPY), runtime_))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _rewrite(archive: Path) -> None:
    """Compile the sources in a zip, and remove unused files.

    For Baton and the packages that it requires, the bytecode replaces the source. All files get the same time and
    rights, so equal content gives an equal zip.
    """
    pinned = (ROOT / "requirements.txt").read_text("utf-8")
    teams = requirements.brought_by("requirements-app.in", pinned)
    # Packages that the team's packages require stay complete, because any part of them may be imported.
    left_out = [pattern for package, pattern in LEFT_OUT.items() if package not in teams]
    entries = {name: content for name, content in _entries(archive) if not any(one.match(name) for one in left_out)}
    with tempfile.TemporaryDirectory() as place:
        compiled = dict(_bytecode(entries, Path(place)))
    for source, content in compiled.items():
        if source.startswith(BATON) or top_level(source).removesuffix(".py") in RUNTIME:
            del entries[source]
            entries[f"{source}c"] = content
        else:
            entries[importlib.util.cache_from_source(source)] = content
    written = archive.with_suffix(".new")
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as opened:
        for name, content in sorted(entries.items()):
            entry = zipfile.ZipInfo(name, _EPOCH_OF_ZIP)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            opened.writestr(entry, content)
    written.replace(archive)


def _entries(archive: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            if not entry.is_dir():
                yield entry.filename, opened.read(entry)


def _bytecode(entries: Mapping[str, bytes], place: Path) -> Iterator[tuple[str, bytes]]:
    """Compile the sources in a new process, because strings that this process has interned would change the bytecode.

    Yield the name of each source, and the bytecode of this source.

    The bytecode is marked so that Python does not compare it with its source: the file time after unpacking is unknown.
    """
    sources = [name for name in entries if name.endswith(".py")]
    for name in sources:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(entries[name])
    command = [sys.executable, "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    where = ["-s", str(place), "-p", "/var/task", str(place)]
    subprocess.run([*command, *where], check=True)
    for name in sources:
        yield name, (place / importlib.util.cache_from_source(name)).read_bytes()


def hardened(template: dict[str, Any], names: Mapping[str, str], runtime_: str) -> dict[str, Any]:
    """Point every route at the alias ``live``, and make these other changes to the template of a stage.

    1. CloudFormation references replace the placeholders in the policies, such as the region and the account.
    2. Each parameter in ``names`` (see `names_of`) accepts only the value in ``names``: the template is for one stage.
    3. With Python 3.11, the parameter ``SnapStart`` accepts only ``None``.
    4. Resources without a type are removed. They are the settings that ``infra/edge.yaml`` has for functions that this
       stage does not have.
    """
    template = _filled_in_by_cloudformation(template)
    template["Resources"] = {name: one for name, one in template["Resources"].items() if "Type" in one}
    for parameter, name in names.items():
        template["Parameters"][parameter] |= {"Default": name, "AllowedValues": [name]}
    # Lambda refuses SnapStart only during a deployment. With ``AllowedValues``, CloudFormation refuses it before that.
    if runtime_ == "python3.11":
        template["Parameters"]["SnapStart"]["AllowedValues"] = ["None"]
    for paths in (api["DefinitionBody"]["paths"] for api in of_type(template, "AWS::Serverless::Api").values()):
        for methods in paths.values():
            for method in methods.values():
                integration = method.get("x-amazon-apigateway-integration", {})
                if "uri" in integration:
                    integration["uri"] = {
                        "Fn::Sub": "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/"
                        "${APIHandlerAliaslive}/invocations"
                    }
    return template


def readable_by_pages(template: dict[str, Any], origins: Sequence[str]) -> dict[str, Any]:
    """Allow pages of these origins to read the answers that API Gateway and the firewall make without Baton.

    - With one origin, API Gateway and the firewall send this origin in ``Access-Control-Allow-Origin``.
    - With several origins, API Gateway sends the origin of the request, and the firewall sends ``*``, because they
      cannot compare origins. This is safe, because these answers are the same for every client and have no credentials.
    """
    if not origins:
        return template
    (literal,) = origins if len(origins) == 1 else (None,)
    shared = {"Access-Control-Expose-Headers": EXPOSED_FIELDS, "Vary": "Origin"}
    by_gateway = {
        "gatewayresponse.header.Access-Control-Allow-Origin": (
            f"'{literal}'" if literal else "method.request.header.Origin"
        ),
        **{f"gatewayresponse.header.{name}": f"'{value}'" for name, value in shared.items()},
    }
    by_firewall = [
        {"Name": name, "Value": value}
        for name, value in {"Access-Control-Allow-Origin": literal or "*", **shared}.items()
    ]
    for api in of_type(template, "AWS::Serverless::Api").values():
        for answer in api["DefinitionBody"]["x-amazon-apigateway-gateway-responses"].values():
            answer["responseParameters"] = {**answer["responseParameters"], **by_gateway}
    for firewall in of_type(template, "AWS::WAFv2::WebACL").values():
        for rule in firewall["Rules"]:
            answer = rule.get("Action", {}).get("Block", {}).get("CustomResponse")
            if answer:
                own = [one for one in answer.get("ResponseHeaders", ()) if one not in by_firewall]
                answer["ResponseHeaders"] = [*own, *by_firewall]
    return template


def _filled_in_by_cloudformation(value: Any) -> Any:  # noqa: ANN401 - any part of a template
    match value:
        case str():
            return _filled_in(value)
        case dict():
            return {name: _filled_in_by_cloudformation(part) for name, part in value.items()}
        case list():
            return [_filled_in_by_cloudformation(part) for part in value]
        case _:
            return value


def _filled_in(value: str) -> str | dict[str, Any]:
    """Replace the placeholders of a policy by CloudFormation references."""
    if value.endswith(":key/KEY"):
        return {"Fn::ImportValue": {"Fn::Sub": "${Prefix}-key"}}
    if re.search(r"::/restapis/\w+/stages\Z", value):  # the API of the stack, in place of the API of Chalice
        return {"Fn::Sub": "arn:${AWS::Partition}:apigateway:${AWS::Region}::/restapis/${RestAPI}/stages"}
    if value == stages.SENDER:
        return {"Ref": "MailFrom"}
    if not {"REGION", "ACCOUNT"} & set(re.split(r"[:.]", value)):
        return value
    place = value.replace("REGION", "${AWS::Region}").replace(":ACCOUNT:", ":${AWS::AccountId}:")
    place = place.replace("/ACCOUNT/", "/${AWS::AccountId}/")  # in the URL of a queue
    place = place.replace("arn:aws:", "arn:${AWS::Partition}:", 1)
    if "::/domainnames/" not in place:
        return {"Fn::Sub": place}
    host = {"Fn::Select": [2, {"Fn::Split": ["/", {"Ref": "Issuer"}]}]}
    return {"Fn::Sub": [re.sub(r"(?<=:/domainnames/)[^/]+", "${Host}", place), {"Host": host}]}


def top_level(name: str) -> str:
    """Return the top-level part of the zip that has this file: a folder, a ``.py`` module, or a native module.

    Examples: ``a/b.pyc`` -> ``a``, ``m.pyc`` -> ``m.py``, ``n.abi3.so`` -> ``n``.
    """
    parts_ = name.split("/")
    if parts_[0] == "__pycache__":
        return f"{parts_[1].split('.', maxsplit=1)[0]}.py"
    if parts_[0].endswith(".so"):
        return parts_[0].split(".", maxsplit=1)[0]
    return f"{parts_[0].removesuffix('.pyc')}.py" if parts_[0].endswith(".pyc") else parts_[0]


def parts(archive: Path) -> Counter[str]:
    """Return the compressed size in bytes of each top-level part of the zip."""
    weights: Counter[str] = Counter()
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            weights[top_level(entry.filename)] += entry.compress_size
    return weights


def strangers(archive: Path, pinned: str | None = None) -> set[str]:
    """Return the parts of the zip that neither Baton nor ``requirements-app.in`` needs.

    ``pinned`` is the text of ``requirements.txt``.
    """
    pinned = (ROOT / "requirements.txt").read_text("utf-8") if pinned is None else pinned
    records = {
        name.removesuffix("/RECORD"): content.decode()
        for name, content in _entries(archive)
        if name.endswith(".dist-info/RECORD")
    }
    of_the_team = {
        top_level(module)
        for module in requirements.modules_of(records, requirements.brought_by("requirements-app.in", pinned))
    }
    return {
        part
        for part in parts(archive)
        if part not in OURS | RUNTIME | of_the_team
        and part.removesuffix(".py") not in RUNTIME
        and not part.endswith((".dist-info", ".data", ".libs"))
    }


def foreign(archive: Path, architecture: str, runtime_: str) -> set[str]:
    """Return the files that Lambda cannot load: built for another machine or Python, or in need of a newer glibc."""
    machine, elf_machine = MACHINES[architecture]
    tag = "cp" + runtime_.removeprefix("python").replace(".", "")
    found = set()
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            if name.endswith((".so", ".pyd", ".dylib")):
                content, suffix = opened.read(name), name.rpartition("/")[2].partition(".")[2]
                fits = suffix in {f"cpython-{tag[2:]}-{machine}-linux-gnu.so", "abi3.so", "so"}
                fits = fits and content[:20] == _elf(elf_machine)
                if not fits or glibc_needed(content) > glibc_of(runtime_):
                    found.add(name)
            elif name.endswith(".dist-info/WHEEL"):
                tags = re.findall(r"^Tag: (\S+)$", opened.read(name).decode(), re.MULTILINE)
                if not any(fits_lambda(one, tag, machine, glibc_of(runtime_)) for one in tags):
                    found.add(name)
    return found


def fits_lambda(wheel_tag: str, python_tag: str, machine: str, glibc: int) -> bool:
    """Return whether a wheel with this tag (PEP 425, PEP 600) fits a runtime with glibc 2.x. ``glibc`` is this x."""
    interpreter, abi, platform_ = wheel_tag.split("-")
    if (abi, platform_) == ("none", "any"):
        return "py3" in interpreter or interpreter == python_tag
    older = interpreter.startswith("cp3") and abi == "abi3" and int(interpreter[3:]) <= int(python_tag[3:])
    if not older and (interpreter, abi) != (python_tag, python_tag):
        return False
    legacy = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}
    name, _, rest = platform_.partition("_")
    if name == "manylinux":
        numbered = re.fullmatch(r"2_(\d+)_(.+)", rest)
        return numbered is not None and int(numbered[1]) <= glibc and numbered[2] == machine
    return name in legacy and rest == machine


def glibc_needed(library: bytes) -> int:
    """Return the x of the newest glibc 2.x that a library needs. The string table of the library has the versions."""
    return max((int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", library)), default=0)


def _elf(machine: int) -> bytes:
    """Build the first bytes of a 64-bit, little-endian shared object for a machine (System V ABI, ELF header)."""
    return b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HH", 3, machine)


def unfit(archive: Path, architecture: str, runtime_: str) -> list[str]:
    """Return the reasons why a zip cannot be used. The list is empty for a good zip."""
    said = []
    if unwanted := strangers(archive):
        said.append(f"must not be in the zip: {', '.join(sorted(unwanted))}")
    if unloadable := foreign(archive, architecture, runtime_):
        said.append(f"built for another machine, Python or glibc: {', '.join(sorted(unloadable))}")
    if (size := archive.stat().st_size) > ZIP_BYTES_MAX:
        largest = ", ".join(f"{part} {weight / 1000:.0f} kB" for part, weight in parts(archive).most_common(3))
        said.append(
            f"the zip has {size / 1000:.0f} kB, over the limit of {ZIP_BYTES_MAX / 1000:.0f} kB; "
            f"the largest parts: {largest}"
        )
    return said


def weighed(archive: Path) -> str:
    """Format the largest parts of a zip, and its total size."""
    largest = [*parts(archive).most_common(8), ("total", archive.stat().st_size)]
    (width,) = widths([[name] for name, _ in largest])
    lines = [f"  {name:<{width}}  {weight / 1000:>8.0f} kB" for name, weight in largest]
    return "\n".join(lines) + f"   (limit {ZIP_BYTES_MAX / 1000:.0f} kB)"


def main() -> int:
    """Build the zip, and print its size and whether it can be used."""
    stage = os.environ.get("STAGE") or "dev"
    try:
        read_settings(configuration()["stages"][stage]["environment_variables"])
    except SettingsProblems as wrong:  # Chalice would print a traceback
        print(f"error: stage {stage}, in .chalice/config.json: {wrong}", file=sys.stderr)
        return 1
    architecture, runtime_ = configured_architecture(), runtime()
    print(f"package for Lambda, {runtime_} on {architecture} (downloads wheels the first time)", flush=True)
    with alone():
        archive = build(stage)
    print(weighed(archive))
    if problems := unfit(archive, architecture, runtime_):
        print("\n".join(f"error: {problem}" for problem in problems), file=sys.stderr)
        return 1
    print(f"ok: {archive.relative_to(ROOT)}. next: make deploy, or docs/baton/operations.md for the hardened way")
    return 0


if __name__ == "__main__":
    sys.exit(main())
