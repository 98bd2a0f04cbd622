"""``make upgrade FROM=<folder>``: replace Baton's files by those of an unpacked release, and keep the team's files.

The command writes the files that the manifest of the release names. It deletes the files that only the manifest of this
tree names. Before the first write, it refuses a damaged release, changes in files of Baton, and a new file that would
replace a file of the team. After an interruption, run it again. It needs no network and no git.
"""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from tools.manifest import MANIFEST, ROOT, NoManifest, digest, read, version
from tools.printed import counted

_SHOWN_MAX: Final = 10


class NotDone(ValueError):
    """The upgrade was refused, and nothing was changed. The message has the remedy."""


class Steps(Struct, frozen=True):
    """The files that an upgrade writes and deletes in a tree: paths, sorted."""

    write: list[str]
    delete: list[str]


def steps(release: Path, root: Path, *, overwrite: bool = False) -> Steps:
    """Compare release and tree, and return the files that an upgrade writes and deletes. Raises ``NotDone``.

    ``overwrite`` accepts that local changes in files of Baton are lost.
    """
    new = _manifest(release, "unpack the release, and name its folder: make upgrade FROM=../baton-release")
    old = _manifest(root, f"restore it: git checkout HEAD -- {MANIFEST}")
    _require_sound(release, new)
    for name in new.keys() | old.keys():
        if not (root / name).resolve().is_relative_to(root.resolve()):
            raise NotDone(f"{name} is a link that leads out of this tree\nremedy: replace the link by a folder")
    here = {name: digest(root / name) for name in new.keys() | old.keys() if (root / name).is_file()}
    if taken := sorted(name for name in new.keys() - old.keys() if here.get(name, new[name]) != new[name]):
        raise NotDone(f"{_listed(taken, 'of yours', 'the name of a new file of Baton')}\nremedy: rename your file")
    changed = sorted(name for name in old.keys() & here.keys() if here[name] not in {old[name], new.get(name)})
    if changed and not overwrite:
        raise NotDone(
            f"{_listed(changed, 'of Baton', 'changes that were made here')}\n"
            "remedy: move the changes to files of yours; or commit them, and run again with OVERWRITE=1, which removes "
            "them"
        )
    return Steps(
        write=sorted(name for name in new if here.get(name) != new[name]),
        delete=sorted(here.keys() - new.keys()),
    )


def _manifest(root: Path, remedy: str) -> dict[str, str]:
    try:
        return read(root)
    except NoManifest as problem:
        raise NotDone(f"{problem}\nremedy: {remedy}") from None


def _require_sound(release: Path, new: Mapping[str, str]) -> None:
    """Compare each file of a release with its manifest. Raises ``NotDone`` for a missing or changed file.

    A link to a file outside the release counts as a changed file.
    """
    damaged = sorted(
        name
        for name, sha256 in new.items()
        if not (release / name).is_file()
        or not (release / name).resolve().is_relative_to(release.resolve())
        or digest(release / name) != sha256
    )
    if damaged:
        raise NotDone(
            f"{_listed(damaged, 'of the release', 'another SHA-256 than its MANIFEST')}\nremedy: unpack it again"
        )


def _listed(names: list[str], whose: str, what: str) -> str:
    more = f" and {len(names) - _SHOWN_MAX} more" if len(names) > _SHOWN_MAX else ""
    verb = "has" if len(names) == 1 else "have"
    return f"{counted(len(names), 'file')} {whose} {verb} {what}: {', '.join(names[:_SHOWN_MAX])}{more}"


def carry_out(planned: Steps, release: Path, root: Path) -> None:
    """Write and delete the planned files. The manifest is last, so that you can repeat an interrupted upgrade."""
    for name in [*planned.write, MANIFEST]:
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        written = target.with_name(f"{target.name}.new")
        shutil.copy(release / name, written)
        if name == MANIFEST:
            _delete(planned.delete, root)
        written.replace(target)


def _delete(names: list[str], root: Path) -> None:
    """Delete files, then the folders that contain only bytecode."""
    for name in names:
        (root / name).unlink()
        for folder in (root / name).parents:
            if folder == root or {path.name for path in folder.iterdir()} - {"__pycache__"}:
                break
            shutil.rmtree(folder)


def main(root: Path, words: list[str], environ: Mapping[str, str]) -> int:
    """Upgrade a tree to the release in the folder that ``words`` names. Return the exit code."""
    if len(words) != 1:
        print("error: no release is named\nremedy: make upgrade FROM=<folder of the unpacked release>", file=sys.stderr)
        return 2
    release = Path(words[0])
    try:
        planned = steps(release, root, overwrite=bool(environ.get("OVERWRITE")))
    except NotDone as problem:
        print(f"error: nothing was changed: {problem}", file=sys.stderr)
        return 1
    before = version(root)
    carry_out(planned, release, root)
    print(
        f"ok: {before} -> {version(root)}: {counted(len(planned.write), 'file')} written, "
        f"{len(planned.delete)} deleted. Your files were not changed"
    )
    print(
        f'next: read "Upgrading" in {release / "CHANGELOG.md"}, then: make lock && make openapi && make upgrade-check'
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(ROOT, sys.argv[1:], os.environ))
