"""Read the requirements files: the required packages and the pins.

``make lock`` pins ``requirements.in`` (Baton's) and ``requirements-app.in`` (the team's) in ``requirements.txt``.
``requirements-dev.in`` includes these two files, and its pins are in ``requirements-dev.txt``. This module needs no
network.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

SOURCES: Final = {
    "requirements.in": "requirements.txt",
    "requirements-app.in": "requirements.txt",
    "requirements-dev.in": "requirements-dev.txt",
}
"""Each file with requirements -> the file with its pins."""
_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)")


def pins(text: str) -> dict[str, str]:
    """Read the pins of a requirements file: canonical name -> version."""
    matches = map(_PIN.match, text.splitlines())
    return {canonicalize_name(match[1]): match[2] for match in matches if match}


def unsatisfied(root: Path) -> Iterator[str]:
    """Yield a message for each line that the pins do not satisfy, in each source file that ``SOURCES`` names.

    A missing file counts as an empty file.
    """
    for source, file in SOURCES.items():
        pinned = pins(_text(root / file))
        for line in filter(None, (line.partition("#")[0].strip() for line in _text(root / source).splitlines())):
            if line.removeprefix("-r ") in SOURCES:
                continue
            try:
                wanted = Requirement(line)
            except InvalidRequirement:
                yield f"{source} has a line that is not a requirement (PEP 508): {line}"
                continue
            version = pinned.get(canonicalize_name(wanted.name))
            if version is None:
                yield f"{file} has no pin for {wanted.name}, which {source} names"
            elif not wanted.specifier.contains(version, prereleases=True):
                yield f"{file} pins {wanted.name} {version}, and {source} requires {wanted.specifier}"


def _text(file: Path) -> str:
    return file.read_text("utf-8") if file.exists() else ""


def brought_by(source: str, pinned: str) -> set[str]:
    """Return the packages that the file ``source`` requires, directly or through other packages.

    ``pinned``: the text of the file with the pins, with the ``# via`` comments of uv.
    """
    parents = dict(_parents(pinned))
    found = {name for name, via in parents.items() if f"-r {source}" in via}
    while more := {name for name, via in parents.items() if via & found} - found:
        found |= more
    return found


def _parents(pinned: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each package with the packages that require it. A requirements file counts as ``-r <file>``."""
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
