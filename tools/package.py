"""``make package``: build the Lambda zip with ``chalice package``, and check what is in it."""

import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPY = ROOT / "build" / "source"
BUILT = ROOT / "build" / "package"
ZIP = BUILT / "deployment.zip"
ZIP_BYTES_MAX = 8 * 1000 * 1000
MACHINES = {"x86_64": 62, "arm64": 183}
"""``lambda_architecture`` -> ``e_machine`` of ELF."""

OURS = {"app.py", "chalicelib"}
RUNTIME = {
    "_argon2_cffi_bindings",
    "_cffi_backend",
    "argon2",
    "aws_lambda_powertools",
    "cffi",
    "chalice",
    "cryptography",
    "http_sf",
    "jmespath",
    "jwt",
    "msgspec",
    "pycparser",
    "typing_extensions",
}
"""What the requirements bring along, by the names they are imported by; ``chalice`` is its own runtime."""


def copy_of_what_ships() -> Path:
    """Copy what Chalice needs to a folder of its own: it packs all of chalicelib/, this machine's bytecode too.

    What it downloaded for an earlier zip stays there.
    """
    shutil.rmtree(COPY / "chalicelib", ignore_errors=True)
    for name in ("chalicelib", ".chalice"):
        left_out = shutil.ignore_patterns("__pycache__", "deployments", "deployed")
        shutil.copytree(ROOT / name, COPY / name, ignore=left_out, dirs_exist_ok=True)
    for name in ("app.py", "requirements.txt"):
        shutil.copyfile(ROOT / name, COPY / name)
    return COPY


def build() -> None:
    """Run ``chalice package``. The zip is the same for every stage, and making it asks no AWS."""
    command = [str(Path(sys.executable).with_name("chalice")), "package", "--stage", "prod", str(BUILT)]
    done = subprocess.run(
        command,
        cwd=copy_of_what_ships(),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "AWS_DEFAULT_REGION": "us-east-1", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if done.returncode:
        raise SystemExit(f"chalice package failed:\n{done.stdout}{done.stderr}")


def top_level(name: str) -> str:
    """Name the package a file of the zip belongs to: the folder, or the extension module without its platform."""
    first = name.split("/", maxsplit=1)[0]
    return first.split(".", maxsplit=1)[0] if first.endswith(".so") else first


def parts(archive: Path) -> Counter[str]:
    """Weigh the parts of the zip, compressed bytes."""
    weights: Counter[str] = Counter()
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            weights[top_level(entry.filename)] += entry.compress_size
    return weights


def strangers(archive: Path) -> set[str]:
    """Name what is in the zip and should not be."""
    return {
        part
        for part in parts(archive)
        if part not in OURS | RUNTIME
        and part.removesuffix(".py") not in RUNTIME
        and not part.endswith((".dist-info", ".data", ".libs"))
    }


def foreign(archive: Path) -> set[str]:
    """Name the native modules that the architecture of ``.chalice/config.json`` cannot load."""
    architecture = json.loads((ROOT / ".chalice" / "config.json").read_text("utf-8"))["lambda_architecture"]
    with zipfile.ZipFile(archive) as opened:
        return {
            name
            for name in opened.namelist()
            if name.endswith((".so", ".pyd", ".dylib")) and opened.read(name)[:20] != _elf(MACHINES[architecture])
        }


def _elf(machine: int) -> bytes:
    """Build the first bytes of a 64-bit, little-endian shared object for a machine (System V ABI, ELF header)."""
    return b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HH", 3, machine)


def main() -> int:
    """Build, weigh, and say whether it may ship."""
    print("packaging for Lambda (downloads wheels the first time)", flush=True)
    build()
    size, unwanted = ZIP.stat().st_size, strangers(ZIP)
    for part, weight in parts(ZIP).most_common(8):
        print(f"  {part:<28}{weight / 1000:>8.0f} kB")
    print(f"  {'in all':<28}{size / 1000:>8.0f} kB   (limit {ZIP_BYTES_MAX / 1000:.0f} kB)")
    if unwanted:
        print(f"not to ship: {', '.join(sorted(unwanted))}", file=sys.stderr)
    if unloadable := foreign(ZIP):
        print(f"built for another machine: {', '.join(sorted(unloadable))}", file=sys.stderr)
    if size > ZIP_BYTES_MAX:
        print("over the limit", file=sys.stderr)
    if unwanted or unloadable or size > ZIP_BYTES_MAX:
        return 1
    print(f"next: {ZIP.relative_to(ROOT)} is what `chalice deploy` uploads")
    return 0


if __name__ == "__main__":
    sys.exit(main())
