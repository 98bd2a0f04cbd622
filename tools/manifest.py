"""Write ``chalicelib/baton/MANIFEST``, the SHA-256 of each file of Baton: ``python -m tools.manifest``.

The file has the form of ``sha256sum``, sorted by path. ``make upgrade`` and ``make upgrade-check`` compare it with the
tree. Therefore the file must describe the release, not the tree of a team. The command writes it only while ``VERSION``
ends in ``-dev``. To make a release, remove ``-dev`` from ``VERSION`` and ``chalicelib/__init__.py``, run
``make openapi``, then ``python -m tools.manifest --release``.
"""

import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

ROOT: Final = Path(__file__).parents[1]
MANIFEST: Final = "chalicelib/baton/MANIFEST"
VERSION: Final = "chalicelib/baton/VERSION"
DESCRIPTION: Final = "chalicelib/baton/http/openapi.json"

FOLDERS: Final = (
    "bench",
    "chalicelib/baton",
    "clients",
    "docs/baton",
    "infra",
    "tests/baton",
    "tests/vectors",
    "tools",
)
"""The folders of Baton. An upgrade replaces them."""

FILES: Final = (
    "baton.importlinter.toml",
    "baton.mk",
    "baton.ruff.toml",
    "chalicelib/__init__.py",
    "requirements-audit.in",
    "requirements-audit.txt",
    "requirements-dev.in",
    "requirements.in",
)
"""The other files of Baton, beside files of the team."""

EXCLUDED: Final = frozenset({MANIFEST, DESCRIPTION})
"""Two files in folders of Baton that have no line in ``MANIFEST``. ``openapi.json`` also describes the routes of the
team: ``make openapi`` writes this file."""

_DEVELOPMENT: Final = "-dev"
_LINE: Final = re.compile(r"([0-9a-f]{64})  ([^\s/][^\n]*)\Z")
_CACHES: Final = {"__pycache__", "node_modules", "target"}


class NoManifest(ValueError):
    """There is no ``MANIFEST``, or it has an invalid line. The caller adds the remedy to the message."""


class Differences(Struct, frozen=True):
    """The differences between a tree and a manifest: paths, sorted."""

    changed: list[str]
    missing: list[str]
    unknown: list[str]
    """Files in a folder of Baton that the manifest does not name."""


def names(root: Path) -> Iterator[str]:
    """List the files of Baton in a tree, without caches and hidden files."""
    for folder in FOLDERS:
        for path in (root / folder).rglob("*"):
            name = path.relative_to(root).as_posix()
            hidden = any(part in _CACHES or part.startswith(".") for part in name.split("/"))
            if path.is_file() and not hidden and path.suffix != ".pyc" and name not in EXCLUDED:
                yield name
    yield from (name for name in FILES if (root / name).is_file())


def digest(file: Path) -> str:
    """Compute the SHA-256 of a file, in hex."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def of_tree(root: Path) -> dict[str, str]:
    """Compute the manifest of a tree: path -> SHA-256."""
    return {name: digest(root / name) for name in sorted(names(root))}


def render(manifest: Mapping[str, str]) -> str:
    """Return the text of a manifest, one file a line: ``sha256sum --check`` reads it."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(manifest.items()))


def parse(text: str) -> dict[str, str]:
    """Read a manifest: path -> SHA-256. Raises ``NoManifest`` for a malformed line, or a path that leaves the tree."""
    found = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None or {"", ".", ".."} & set(match[2].split("/")) or "\\" in match[2]:
            raise NoManifest(f"{MANIFEST} has a line that is not a SHA-256 and a path: {line[:120]!r}")
        found[match[2]] = match[1]
    return found


def read(root: Path) -> dict[str, str]:
    """Read the manifest of a tree. Raises ``NoManifest`` if it is missing or invalid."""
    file = root / MANIFEST
    if not file.is_file():
        raise NoManifest(f"{file} does not exist")
    return parse(file.read_text("utf-8"))


def version(root: Path) -> str:
    """Read the version of Baton in a tree, such as ``1.1.0`` or ``1.1.0-dev``."""
    return (root / VERSION).read_text("utf-8").strip()


def in_development(root: Path) -> bool:
    """Return whether a tree is between two releases of Baton."""
    return version(root).endswith(_DEVELOPMENT)


def differences(manifest: Mapping[str, str], root: Path) -> Differences:
    """Compare the files of Baton in a tree with a manifest."""
    found = of_tree(root) | {name: digest(root / name) for name in manifest if (root / name).is_file()}
    return Differences(
        changed=sorted(name for name in manifest.keys() & found.keys() if manifest[name] != found[name]),
        missing=sorted(manifest.keys() - found.keys()),
        unknown=sorted(found.keys() - manifest.keys()),
    )


def main(root: Path, words: list[str]) -> int:
    """Write the manifest of a tree in development, or, with ``--release``, of any tree. Return the exit code.

    Without ``--release``, the manifest of a released tree is not changed, and the exit code is 0.
    """
    if words not in ([], ["--release"]):
        print("usage: python -m tools.manifest [--release]", file=sys.stderr)
        return 2
    if not words and not in_development(root):
        print(f"skipped: MANIFEST is that of release {version(root)}. next: make upgrade-check lists your changes")
        return 0
    (root / MANIFEST).write_text(render(of_tree(root)), "utf-8")
    print("ok: MANIFEST written")
    return 0


if __name__ == "__main__":
    sys.exit(main(ROOT, sys.argv[1:]))
