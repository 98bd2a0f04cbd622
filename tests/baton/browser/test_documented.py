"""The page docs/baton/web.md: its code works."""

import re
from pathlib import Path

import pytest

from chalicelib.baton import settings
from chalicelib.baton.testing.world import World
from tests.baton.browser.browser import Browser
from tests.baton.browser.test_pages import APP, OPENS
from tests.baton.fixture import FOLDER
from tests.baton.repository import ROOT


def test_the_page_of_the_documentation_works(tmp_path: Path) -> None:
    """docs/baton/web.md, "Your own pages"."""
    block, _ = re.findall(r"```python\n(.*?)```", (ROOT / "docs/baton/web.md").read_text("utf-8"), re.DOTALL)
    head = APP.read_text("utf-8").partition("class Place")[0]
    file = tmp_path / "documented.py"
    file.write_text(head + block, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_FOLDER", FOLDER)
        browser = Browser(World(file, settings={"BATON_CLIENTS": "clients-web.toml"}))
    assert browser.request("GET", "/home", page=OPENS).headers["location"] == "/login?next=%2Fapi%2Fhome"
    account = browser.register().members["account_id"]
    assert account in browser.request("GET", "/home", page=OPENS).body.decode()
