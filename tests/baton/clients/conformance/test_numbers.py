"""The suite has 91 numbered scenarios. Each has a test, in this folder or in a real browser."""

import importlib
import pkgutil
import re
from types import ModuleType

from tests.baton import chromium
from tests.baton.clients import conformance

COUNT = 91
IN_BROWSERS = {26, 27}


def claimed(package: ModuleType) -> dict[str, tuple[int, ...]]:
    """Return the tests of a package, with the scenarios that they run."""
    names = [one.name for one in pkgutil.iter_modules(package.__path__) if one.name.startswith("test_")]
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    return {
        f"{module.__name__}.{name}": test.__dict__.get("scenarios", ())
        for module in modules
        for name, test in vars(module).items()
        if name.startswith("test_") and callable(test) and test.__module__ == module.__name__
    }


def test_each_scenario_has_a_test() -> None:
    """The scenarios of tabs run only in a browser."""
    here, there = ({n for numbers in claimed(one).values() for n in numbers} for one in (conformance, chromium))
    assert here == set(range(1, COUNT + 1)) - IN_BROWSERS
    assert there >= IN_BROWSERS


def test_a_name_with_a_number_is_that_scenario() -> None:
    """A test whose name begins with a number runs that scenario, or skips it with a reason."""
    for name, numbers in claimed(conformance).items():
        begun = re.search(r"\.test_(\d\d)_", name)
        if begun and int(begun[1]) not in IN_BROWSERS:
            assert int(begun[1]) in numbers, name
