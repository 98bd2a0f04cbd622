"""The blocks of docs/baton/testing.md are a project of a team, and its tests pass there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.baton.repository import ours_only

pytestmark = [ours_only, pytest.mark.prove(ci=True)]

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "baton" / "testing.md").read_text("utf-8")
CONFTEST, FEATURE, *TESTS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
(ROLES,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Create a project with Baton, the feature of the page, and the tests of the page."""
    ours = tmp_path / "chalicelib"
    ours.mkdir()
    (ours / "baton").symlink_to(ROOT / "chalicelib" / "baton")
    for name in ("__init__.py", "clients.toml"):
        shutil.copy(ROOT / "chalicelib" / name, ours)
    with (ours / "clients.toml").open("a", encoding="utf-8") as registry:
        registry.write(ROLES)
    (ours / "orders.py").write_text(FEATURE, "utf-8")
    app = (ROOT / "app.py").read_text("utf-8").replace("transfers", "orders")
    (registration,) = re.findall(r"^`(app\.register_blueprint\(.*\))`:", PAGE, re.MULTILINE)
    assert registration in app
    (tmp_path / "app.py").write_text(app, "utf-8")
    tests = tmp_path / "tests"
    tests.mkdir()
    # The tests of a process share PLACED: a new account has no orders.
    (tests / "conftest.py").write_text(CONFTEST, "utf-8")
    (tests / "test_orders.py").write_text("".join(TESTS), "utf-8")
    return tmp_path


def run(project: Path) -> tuple[int, str]:
    """Run pytest as a team does. Return the exit code and the output."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--strict-markers", "-W", "error", "tests"],
        cwd=project,
        env={**kept, "PYTHONPATH": ".", "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_tests_of_the_page_pass(project: Path) -> None:
    """All tests of the page pass, with warnings as errors."""
    code, printed = run(project)
    assert code == pytest.ExitCode.OK, printed
    assert f"{PAGE.count('def test_')} passed" in printed


def test_a_broken_feature_fails_the_tests_of_the_page(project: Path) -> None:
    """Without `once`, a lost answer places two orders. Without the role, every caller lists all orders."""
    feature = project / "chalicelib" / "orders.py"
    feature.write_text(FEATURE.replace(", once=True", "").replace('role="support"', ""), "utf-8")
    code, printed = run(project)
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "FAILED tests/test_orders.py::test_an_order_survives_a_lost_answer" in printed
    assert "FAILED tests/test_orders.py::test_only_support_lists_all_orders" in printed
    assert "FAILED tests/test_orders.py::test_a_stolen_token_places_no_order" not in printed
    assert '"message": "registered"' in printed.partition("Log of the world")[2], "the log of a failed test is shown"


def test_without_moto_the_fixture_says_what_to_install(project: Path) -> None:
    """The other tests of the page pass."""
    (project / "moto.py").write_text("raise ModuleNotFoundError('No module named moto', name='moto')\n", "utf-8")
    code, printed = run(project)
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "remedy: pip install 'moto[dynamodb]'" in printed
    assert f"{PAGE.count('def test_') - 1} passed, 1 error" in printed
