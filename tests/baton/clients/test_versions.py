"""The first two numbers of the version of every client library are the version of the API.

The third number is its own.
"""

import json
import re
from xml.etree import ElementTree as ET

import baton_client
from tests.baton.repository import ROOT

CLIENTS = ROOT / "clients"
WIRE = re.search(r"This is version (\d+\.\d+) of the wire", (ROOT / "docs" / "baton" / "wire.md").read_text("utf-8"))


def versions() -> dict[str, str]:
    """Read the version of each library."""
    swift = (CLIENTS / "swift" / "Sources" / "Baton" / "Version.swift").read_text("utf-8")
    found = {
        "python": baton_client.__version__,
        "typescript": str(json.loads((CLIENTS / "typescript" / "package.json").read_text("utf-8"))["version"]),
        "swift": swift.partition('batonClientVersion = "')[2].partition('"')[0],
    }
    for pom in sorted((CLIENTS / "kotlin").glob("**/pom.xml")):
        project = ET.parse(pom).getroot()  # noqa: S314 - a file of this repository
        named = {child.tag.rpartition("}")[2]: child for child in project}
        version = named["version"] if "version" in named else named["parent"].find("{*}version")
        found[str(pom.parent.relative_to(CLIENTS))] = str(version.text if version is not None else "")
    return found


def test_each_client_has_the_version_of_the_wire() -> None:
    """Major and minor version are equal, so that a developer sees for which server a library was written."""
    assert WIRE
    found = versions()
    assert len(found) > 6
    assert {name: text for name, text in found.items() if not re.fullmatch(rf"{re.escape(WIRE[1])}\.\d+", text)} == {}
