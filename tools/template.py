"""Read CloudFormation templates with their tags, and resolve known names.

Only ``infra/`` defines the tables, keys and limits of a deployment. The development server, the tests and the commands
read them there.
"""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
DATA = ROOT / "infra" / "data.yaml"
EDGE = ROOT / "infra" / "edge.yaml"
OWN = ROOT / "tables.yaml"
"""The tables of the team, if it has any: docs/baton/tables.md."""

_VARIABLE = re.compile(r"\$\{([A-Za-z0-9:.]+)\}")


# The loader in C is ten times as fast as the loader in Python. A PyYAML that was built from source may lack it.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # yaml has no types
    """A YAML loader that replaces CloudFormation's short tags by their long forms, such as ``{"Fn::Sub": ...}``."""


def _long_form(loader: _Loader, tag: str, node: yaml.Node) -> dict[str, Any]:
    name = tag if tag in {"Ref", "Condition"} else f"Fn::{tag}"
    match node:
        case yaml.ScalarNode():
            value: Any = loader.construct_scalar(node)
        case yaml.SequenceNode():
            value = loader.construct_sequence(node, deep=True)
        case _:
            value = loader.construct_mapping(node, deep=True)
    return {name: value.split(".", 1) if tag == "GetAtt" and isinstance(value, str) else value}


_Loader.add_multi_constructor("!", _long_form)


def parse(text: str) -> dict[str, Any]:
    """Parse a CloudFormation template. Short tags become their long forms, such as ``{"Fn::Sub": ...}``."""
    template = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader, with tags that only build dictionaries
    assert isinstance(template, dict)
    return template


@functools.lru_cache
def read(path: Path) -> dict[str, Any]:
    """Read a template. The result is cached and must not be changed."""
    return parse(path.read_text("utf-8"))


def resolve(value: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - any part of a template
    """Replace ``Ref`` and ``${}`` by the values of ``names``. Unknown names are kept."""
    match value:
        case {"Ref": str(name)} if name in names:
            return names[name]
        case {"Fn::Sub": str(text)}:
            known = _VARIABLE.sub(lambda found: names.get(found[1], found[0]), text)
            return {"Fn::Sub": known} if _VARIABLE.search(known) else known
        case dict():
            return {key: resolve(part, names) for key, part in value.items()}
        case list():
            return [resolve(part, names) for part in value]
        case _:
            return value


def exists(template: Mapping[str, Any], resource: str, parameters: Mapping[str, str]) -> bool:
    """Return whether a resource is created with these parameters. Other parameters have the template's defaults."""
    condition = template["Resources"][resource].get("Condition")
    declared = {name: str(row.get("Default", "")) for name, row in template["Parameters"].items()}
    return condition is None or _holds({"Condition": condition}, template["Conditions"], {**declared, **parameters})


def _holds(condition: Any, named: Mapping[str, Any], parameters: Mapping[str, str]) -> bool:  # noqa: ANN401
    match condition:
        case {"Condition": str(name)}:
            return _holds(named[name], named, parameters)
        case {"Fn::Not": [one]}:
            return not _holds(one, named, parameters)
        case {"Fn::And": parts}:
            return all(_holds(one, named, parameters) for one in parts)
        case {"Fn::Or": parts}:
            return any(_holds(one, named, parameters) for one in parts)
        case {"Fn::Equals": sides}:
            one, other = resolve(sides, parameters)
            return bool(one == other)
        case _:
            raise ValueError(f"not a condition of this template: {condition}")


def of_type(template: Mapping[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Return the properties of the resources of a type, by logical id."""
    return {
        name: resource.get("Properties", {})
        for name, resource in template["Resources"].items()
        if resource.get("Type") == kind
    }


def tables(prefix: str, path: Path = DATA) -> dict[str, dict[str, Any]]:
    """Return the properties of a template's tables, by their names in AWS."""
    declared = of_type(read(path), "AWS::DynamoDB::Table").values()
    return {table["TableName"]: table for table in resolve(list(declared), {"Prefix": prefix})}


def own_tables(prefix: str) -> dict[str, dict[str, Any]]:
    """Return the tables of the team in ``tables.yaml``, by their names in AWS. Empty if the file does not exist."""
    return tables(prefix, OWN) if OWN.exists() else {}
