"""Read the requirements files: the required packages and the pins.

``requirements.in`` is Baton's, ``requirements-app.in`` is the team's, and ``make lock`` pins both in
``requirements.txt``. No network.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

SOURCES: Final = ("requirements.in", "requirements-app.in")
PINNED: Final = "requirements.txt"
_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)")


def pins(text: str) -> dict[str, str]:
    """Read the pins of a requirements file: canonical name -> version."""
    matches = map(_PIN.match, text.splitlines())
    return {canonicalize_name(match[1]): match[2] for match in matches if match}


def unsatisfied(root: Path) -> Iterator[str]:
    """Yield a message for each line of the files ``SOURCES`` that the pins of ``PINNED`` do not satisfy."""
    pinned = pins((root / PINNED).read_text("utf-8"))
    for source in SOURCES:
        file = root / source
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        for line in filter(None, (line.partition("#")[0].strip() for line in lines)):
            try:
                wanted = Requirement(line)
            except InvalidRequirement:
                yield f"{source} has a line that is not a requirement (PEP 508): {line}"
                continue
            version = pinned.get(canonicalize_name(wanted.name))
            if version is None:
                yield f"{PINNED} has no pin for {wanted.name}, which {source} names"
            elif not wanted.specifier.contains(version, prereleases=True):
                yield f"{PINNED} pins {wanted.name} {version}, and {source} requires {wanted.specifier}"


def brought_by(source: str, pinned: str) -> set[str]:
    """Return the packages that the file ``source`` requires, directly or through other packages.

    ``pinned``: the text of the file with the pins. Its ``# via`` comments by uv say what requires each package.
    """
    parents = dict(_parents(pinned))
    found = {name for name, via in parents.items() if f"-r {source}" in via}
    while more := {name for name, via in parents.items() if via & found} - found:
        found |= more
    return found


def _parents(pinned: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each package with the packages that require it. A source that requires it is ``-r <source>``."""
    for block in re.split(r"^(?=[A-Za-z0-9])", pinned, flags=re.MULTILINE)[1:]:
        comments = re.findall(r"^ +# +(?:via\b)?[ ]*(\S.*)$", block, re.MULTILINE)
        via = {one if one.startswith("-") else canonicalize_name(one) for one in comments}
        yield canonicalize_name(block.partition("==")[0]), via


def distribution_of(folder: str) -> str:
    """Read the canonical name of a distribution from its folder, such as ``argon2_cffi-25.1.0.dist-info``."""
    return canonicalize_name(folder.partition("-")[0])


def modules_of(records: Mapping[str, str], distributions: set[str]) -> set[str]:
    """Return the names of the top-level files and folders that ``distributions`` installed.

    ``records`` maps the folder ``<name>-<version>.dist-info`` to the text of its ``RECORD``.
    """
    return {
        line.partition("/")[0].partition(",")[0]
        for folder, record in records.items()
        if distribution_of(folder) in distributions
        for line in record.splitlines()
    }
