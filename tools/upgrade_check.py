"""``make upgrade-check``: list the work of a team before the deployment of a release of Baton.

It makes seven comparisons: local changes in files of Baton, pins, settings of each stage, IAM actions of each stage,
the API, stored formats, and public names. Each finding has a remedy. ``SINCE`` names the old release: a commit
or a folder. Without ``SINCE``, the old release is the last commit. The command changes nothing, and needs no network.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct

from chalicelib.baton.settings import unknown_settings
from tools import manifest, openapi, requirements
from tools.manifest import DESCRIPTION, MANIFEST, ROOT, VERSION, Differences
from tools.printed import aligned, counted
from tools.stages import QUEUE_JOBS, mail_of, read_config
from tools.wire_changes import wire_changes

NEEDS: Final = "chalicelib/baton/needs.toml"
PUBLIC: Final = "chalicelib/baton/__init__.py"
CONFIG: Final = ".chalice/config.json"
API: Final = "api"
"""The name of the function of the API in ``needs.toml``. The other functions there, such as ``jobs``, serve no API."""

_OTHER: Final = "other"
_ON: Final = {"1", "on"}
_READ_CHANGELOG: Final = 'read "Upgrading" in CHANGELOG.md of the release, and '

_NAME_THE_OLD: Final = "make upgrade-check SINCE=<commit or folder of the old release>"

Json = Mapping[str, Any]
Read = Callable[[str], str | None]
"""Read a file of the old release by its path. ``None``: the old release has no such file."""


class Finding(Struct, frozen=True):
    """A result of a comparison, with its remedy.

    An ``error`` must be corrected before a deployment. A ``warning`` must be read. ``skipped``: the command could not
    compare with an older release.
    """

    state: Literal["error", "warning", "skipped"]
    part: str
    found: str
    remedy: str


class NoOldRelease(ValueError):
    """The old release cannot be read. The message says why."""


class UnknownStage(ValueError):
    """``STAGE`` is not a stage of ``.chalice/config.json``."""


# --- The old release ---------------------------------------------------------------------------------------------


def old_release(since: str, root: Path) -> Read:
    """Return a function that reads a file of the old release, from a folder or a commit. Raises ``NoOldRelease``."""
    if Path(since).is_dir():
        return lambda name: (Path(since) / name).read_text("utf-8") if (Path(since) / name).is_file() else None
    git = shutil.which("git")
    if git is None or since.startswith("-"):
        raise NoOldRelease(
            f"{since} is no folder, and git is not installed" if git is None else f"{since} is no commit"
        )
    known = _git(git, root, "rev-parse", "--verify", "--quiet", f"{since}^{{commit}}")
    if known is None:
        raise NoOldRelease(f"{since} is neither a folder nor a commit")
    prefix = (_git(git, root, "rev-parse", "--show-prefix") or "").strip()
    return lambda name: _git(git, root, "show", f"{known.strip()}:{prefix}{name}")


def _git(git: str, root: Path, *words: str) -> str | None:
    done = subprocess.run([git, *words], cwd=root, capture_output=True, check=False)
    return done.stdout.decode("utf-8") if done.returncode == 0 else None


def major(version: str) -> str:
    """Return the first number of a version: 1.4.2-dev -> 1."""
    return version.partition(".")[0]


# --- The comparisons ---------------------------------------------------------------------------------------------


def local_changes(found: Differences) -> Iterator[Finding]:
    """Yield a finding for each difference between this tree and its ``MANIFEST``, which lists the files of Baton.

    The differences are changed and missing files of Baton, and other files in the folders of Baton.
    """
    for name in found.changed:
        yield Finding(
            "warning", "files", f"{name} was changed here", "move the change to a file of yours: an upgrade removes it"
        )
    for name in found.missing:
        yield Finding("error", "files", f"{name} is missing", "make upgrade FROM=<folder of this release>")
    for name in found.unknown:
        yield Finding("warning", "files", f"{name} is not a file of Baton", "move it out of the folders of Baton")


def pins(root: Path) -> Iterator[Finding]:
    """Yield a finding for each requirement that ``requirements.txt`` or ``requirements-dev.txt`` does not satisfy."""
    yield from (Finding("error", "pins", problem, "make lock") for problem in requirements.unsatisfied(root))


def settings(stage: str, variables: Mapping[str, str], needs: Json) -> Iterator[Finding]:
    """Yield a finding for each renamed, unknown or missing setting of a stage."""
    renamed: Mapping[str, str] = needs["settings"]["renamed"]
    for old in sorted(renamed.keys() & variables.keys()):
        yield Finding("error", "settings", f"{stage}: {old} was renamed", f"write {renamed[old]} in {CONFIG}")
    others = {name: value for name, value in variables.items() if name not in renamed}
    for problem in unknown_settings(others):
        yield Finding("error", "settings", f"{stage}: {problem}", f"correct or remove it in {CONFIG}")
    replaced = {renamed[old] for old in renamed.keys() & variables.keys()}
    if variables.get("BATON_DEVELOPMENT") not in _ON:
        present = {name for name, value in variables.items() if value} | replaced
        for name in sorted(set(needs["settings"]["required"]) - present):
            yield Finding(
                "error", "settings", f"{stage}: {name} is missing", f"add it to {CONFIG}: docs/baton/operations.md"
            )


def rights(stage: str, described: Json, needs: Json, policy: Callable[[str], Json | None]) -> Iterator[Finding]:
    """Yield a finding for each function of a stage without a policy, and for each needed action that a policy lacks.

    ``policy``: reads a policy file of ``.chalice/``. ``None``: there is no such file.
    This function does not compare conditions and denials: ``make audit STAGE=`` compares them.
    """
    variables = described.get("environment_variables", {})
    prefix, mail = variables.get("BATON_TABLE_PREFIX", ""), mail_of(variables)
    for function, needed in needs["iam"].items():
        if mail not in QUEUE_JOBS.get(function, (mail,)):  # the stage does not have this function
            continue
        own = described if function == API else described.get("lambda_functions", {}).get(function, {})
        file = own.get("iam_policy_file")
        statements = policy(file) if file else None
        if statements is None:
            yield Finding(
                "error",
                "IAM",
                f"{stage}: {function} has no policy" + (f": .chalice/{file} is missing" if file else f" in {CONFIG}"),
                f"write it with the actions of [iam.{function}] in {NEEDS}",
            )
            continue
        for target, actions in needed.items():
            resource = "" if target == _OTHER else f"table/{prefix}-{target}"
            for action in actions:
                if not _allowed(statements, action, resource):
                    on = f" on {prefix}-{target}" if resource else ""
                    found = f"{stage}: {function} may not {action}{on}"
                    yield Finding("error", "IAM", found, f"allow it in .chalice/{file}")


def _allowed(policy: Json, action: str, resource: str) -> bool:
    """Return whether a statement of the policy allows an action. An empty ``resource`` fits every statement."""
    return any(
        statement["Effect"] == "Allow"
        and any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _list(statement.get("Action", ())))
        and (
            not resource
            or any(fnmatchcase(resource, one.rpartition(":")[2]) for one in _list(statement.get("Resource", ())))
        )
        for statement in policy["Statement"]
    )


def _list(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value


def wire(old: Json, new: Json, state: Literal["error", "warning"]) -> Iterator[Finding]:
    """Yield a finding for each change of the API that breaks calls of old apps."""
    remedy = _READ_CHANGELOG + "update your apps before you deploy. That page does not have the routes of your features"
    yield from (Finding(state, "wire", change, remedy) for change in wire_changes(old, new))


def formats(old: Json, new: Json, versions: tuple[str, str]) -> Iterator[Finding]:
    """Yield findings for formats that the new release cannot read, and for new formats that prevent a rollback."""
    before, after = versions
    for kind, formats_ in old.items():
        reads, writes = new.get(kind, {}).get("reads", []), new.get(kind, {}).get("writes")
        stored = f"{kind} items in format {formats_['writes']}"
        if formats_["writes"] not in reads:
            found = f"{before} writes {stored}, which {after} cannot read"
            yield Finding("error", "formats", found, "upgrade to the release between them first, and deploy it")
        elif left := sorted(set(formats_["reads"]) - set(reads)):
            found = f"{after} cannot read {kind} items in format {', '.join(map(str, left))}"
            yield Finding("warning", "formats", found, _READ_CHANGELOG + "convert older items before you deploy")
        if writes is not None and writes not in formats_["reads"]:
            found = f"{after} writes {kind} items in format {writes}, which {before} cannot read: no rollback"
            yield Finding("warning", "formats", found, "upgrade to the release between them first, and deploy it")


def public_names(source: str) -> set[str]:
    """Read ``__all__`` in the source text of a module. Return an empty set if ``__all__`` is missing."""
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return set(ast.literal_eval(value))
            case ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value):
                return set(ast.literal_eval(value))
            case _:
                continue
    return set()


def names(old: str, new: str, state: Literal["error", "warning"]) -> Iterator[Finding]:
    """Yield a finding for each removed public name. ``old``, ``new``: the texts of ``chalicelib/baton/__init__.py``."""
    for name in sorted(public_names(old) - public_names(new)):
        yield Finding(
            state, "names", f"chalicelib.baton.{name} was removed", _READ_CHANGELOG + "replace it in your code"
        )


# --- The command -------------------------------------------------------------------------------------------------


def of_stages(root: Path, only: str | None, needs: Json) -> Iterator[Finding]:
    """Yield the findings about settings and IAM actions of one stage, or of all stages. Raises ``UnknownStage``."""
    config = read_config(root / CONFIG)
    if only is not None and only not in config["stages"]:
        raise UnknownStage(f"STAGE is one of {', '.join(config['stages'])}, not {only!r}")

    def policy(name: str) -> Json | None:
        file = root / ".chalice" / name
        read: Json | None = json.loads(file.read_text("utf-8")) if file.is_file() else None
        return read

    for stage in [only] if only else config["stages"]:
        described = config["stages"][stage]
        variables = described["environment_variables"]
        yield from settings(stage, variables, needs)
        if variables.get("BATON_DEVELOPMENT") not in _ON:
            yield from rights(stage, described, needs, policy)


def of_the_old_release(root: Path, read: Read) -> Iterator[Finding]:
    """Yield the findings of the comparison with the old release: the API, the stored formats and the public names."""
    before, after = (read(VERSION) or "").strip(), manifest.version(root)
    state: Literal["error", "warning"] = "error" if major(before) == major(after) else "warning"
    if before == after and not manifest.in_development(root):
        found = f"wire, formats and names were compared with {before} itself: the commit has the new release already"
        yield Finding("skipped", "old release", found, _NAME_THE_OLD)
    if (described := read(DESCRIPTION)) is not None:
        try:
            new = json.loads(openapi.current())
        except Exception as problem:  # noqa: BLE001 - the code of the team may fail in any way
            found = f"app.py does not start: {type(problem).__name__}: {problem}"
            yield Finding("error", "wire", found, _READ_CHANGELOG + "correct your code")
        else:
            yield from wire(json.loads(described), new, state)
    if (needed := read(NEEDS)) is not None:
        new_formats = tomllib.loads((root / NEEDS).read_text("utf-8"))["formats"]
        yield from formats(tomllib.loads(needed)["formats"], new_formats, (before, after))
    if (public := read(PUBLIC)) is not None:
        yield from names(public, (root / PUBLIC).read_text("utf-8"), state)


def findings(root: Path, stage: str | None, read: Read | NoOldRelease) -> Iterator[Finding]:
    """Yield the findings of all comparisons. Raises ``UnknownStage``.

    ``stage``: compare only this stage. ``None``: compare every stage.
    ``read``: if it is a ``NoOldRelease``, yield a finding ``skipped`` in place of the comparison with the old release.
    """
    try:
        yield from local_changes(manifest.differences(manifest.read(root), root))
    except manifest.NoManifest as problem:
        yield Finding("error", "files", str(problem), f"restore it: git checkout HEAD -- {MANIFEST}")
    yield from pins(root)
    yield from of_stages(root, stage, tomllib.loads((root / NEEDS).read_text("utf-8")))
    if isinstance(read, NoOldRelease):
        found = f"wire, formats and names were not compared: {read}"
        yield Finding("skipped", "old release", found, _NAME_THE_OLD)
    else:
        yield from of_the_old_release(root, read)


def laid_out(found: Sequence[Finding]) -> Iterator[str]:
    """Format findings, errors first, each with its remedy in the next line."""
    order = ("error", "warning", "skipped")
    rows = sorted(found, key=lambda one: order.index(one.state))
    cells = [row for one in rows for row in ([one.state, one.part, one.found], ["", "", f"remedy: {one.remedy}"])]
    return (f"  {line}" for line in aligned(cells))


def main(root: Path, environ: Mapping[str, str]) -> int:
    """Print the findings. Return the exit code: 1 if a finding is an error, or 2 if the stage is unknown."""
    since = environ.get("SINCE") or "HEAD"
    read: Read | NoOldRelease
    try:
        read = old_release(since, root)
    except NoOldRelease as problem:
        read = problem
    old = "" if isinstance(read, NoOldRelease) else (read(VERSION) or "").strip()
    versions = f"{old or 'unknown'} ({since}) -> {manifest.version(root)}"
    try:
        found = list(findings(root, environ.get("STAGE") or None, read))
    except UnknownStage as problem:
        print(f"error: {problem}\nremedy: make upgrade-check STAGE=prod", file=sys.stderr)
        return 2
    errors = sum(one.state == "error" for one in found)
    if not found:
        print(f"ok: {versions}: files, pins, settings, IAM actions, wire, formats and names. next: make test")
        return 0
    print(
        f"{'error' if errors else 'warning'}: {versions}: {counted(len(found), 'finding')}, {counted(errors, 'error')}"
    )
    print("\n".join(laid_out(found)))
    print("next: correct the errors, then: make upgrade-check" if errors else "next: make test")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(ROOT, os.environ))
