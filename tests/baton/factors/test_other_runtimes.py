"""Passwords and addresses have the same stored form in each Python version.

The password hash is over the normalised password, and an account is found by the index of its canonical address. If
two Python versions disagree about either, the owner cannot log in.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import idna
import pytest

from chalicelib.baton.factors.normal_form import normalise
from tests.baton.report import NO_OTHER_PYTHON

ROOT = Path(__file__).parents[3]

GOLDEN: dict[str, str] = {
    "copper lantern": "copper lantern",
    "e\u0301": "\u00e9",
    "\u212b": "\u00e5".upper(),
    "\ufb01\uff21\u2460": "fiA1",
    "\u1e9b\u0323": "\u1e69",
    "\u0344": "\u0308\u0301",
    "q\u0307\u0323": "q\u0323\u0307",
    "\uac00\u11a8": "\uac01",
    "\u0958": "\u0915\u093c",
    "\u3392\u2126": "MHz\u03a9",
    "\u3000": " ",
    "\u200d\ufeff": "\u200d\ufeff",
    # Characters later than Unicode 3.2 are not changed. A later table would change each of them.
    "\U0001e030": "\U0001e030",  # 15.0
    "\U0001f12f": "\U0001f12f",  # 11.0
    "\u1d2c": "\u1d2c",  # 4.0
    "a\U0001e08f\u0316": "a\U0001e08f\u0316",  # 15.0, a mark that later tables order before the other
    "\U0001e08f\u0316": "\U0001e08f\u0316",
    "\U000105d2\u0307": "\U000105d2\u0307",  # 16.0, composes by later tables
    "\U00011099\U000110ba": "\U00011099\U000110ba",  # 5.2, composes by later tables
    "e\u0301\U0001e030e\u0301": "\u00e9\U0001e030\u00e9",
    "e\U0001e030\u0301": "e\U0001e030\u0301",
    "\U0010ffff": "\U0010ffff",
}
"""Text -> its normal form, which must never change."""

FROZEN = {
    "passwords": "f3b50217203ee6d8b785abc7a7aac02e0befc731ed6e50c04a52adfea51aee93",
    "addresses": "538aaa33ac0d7110fcb4f549348e26ad24c32bedabd93dca4e8aea2830c956e8",
}
"""The digests of the normal forms of the characters of ``PROGRAM``, in a password and in an address.

They must not change: with a new Python or a new version of idna, owners could not log in. If a release changes one,
keep the old form of its characters in the code, and do not write the new digest here.
"""

PROGRAM = """
import hashlib, json, sys, types

class Struct:
    def __init_subclass__(cls, **_): pass
    def __init__(self, *given, **named):
        vars(self).update(zip(self.__annotations__, given), **named)

sys.modules["msgspec"] = types.ModuleType("msgspec")  # compiled for another Python
sys.modules["msgspec"].Struct = Struct
sys.modules["chalicelib.baton"] = types.ModuleType("chalicelib.baton")  # without its public names: they need msgspec
sys.modules["chalicelib.baton"].__path__ = [f"{sys.path[1]}/chalicelib/baton"]
from chalicelib.baton.accounts.email import canonical_email
from chalicelib.baton.factors.normal_form import normalise

def address(text):
    try:
        return canonical_email(text).encode()
    except ValueError as no:  # the rules raise another exception
        raise SystemExit(repr(no))
    except Exception as no:
        return type(no).__name__.encode()

# Long blocks of similar characters, of which every sixteenth is used: Han, Hangul, private use, cuneiform to Kana.
alike = [range(0x3400, 0xA000), range(0xAC00, 0xD800), range(0xE000, 0xF900), range(0x12000, 0x1B000)]
each = [range(0x3400), range(0xA000, 0xAC00), range(0xF900, 0x12000), range(0x1B000, 0x20000), range(0xE0000, 0xE0200)]
characters = [chr(code) for block in (*each, *(block[::16] for block in alike)) for code in block]
passwords, addresses = hashlib.sha256(), hashlib.sha256()
for character in characters:
    if character != chr(0):
        passwords.update(normalise(character + "e" + chr(0x301) + character + chr(0x316)))
    addresses.update(address(f"{character}a@{character}\u00fc.example"))
    addresses.update(address(f"A\u03a3{character}@A\u03a3{character}.example"))
wrong = [text for text, frozen in json.load(sys.stdin).items() if normalise(text) != frozen.encode()]
told = {"passwords": passwords.hexdigest(), "addresses": addresses.hexdigest()}
json.dump({"version": sys.version_info[:2], "wrong": wrong, "told": told}, sys.stdout)
"""


def run(python: str, folder: Path) -> dict[str, object] | None:
    """Compute all forms with a Python. Return ``None`` if it does not start or is too old."""
    folder.joinpath("idna").symlink_to(Path(idna.__file__).parent)
    supported = "import sys; sys.exit(sys.version_info < (3, 11))"
    if subprocess.run([python, "-c", supported], capture_output=True, check=False).returncode:
        return None
    done = subprocess.run(
        [python, "-c", PROGRAM],
        env={"PATH": os.defpath, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "PYTHONDONTWRITEBYTECODE": "1"},
        input=json.dumps(GOLDEN),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_normal_forms_equal_the_stored_ones() -> None:
    """The list is readable, character by character."""
    assert {text: normalise(text).decode() for text in GOLDEN} == GOLDEN


def test_this_python_computes_the_stored_digests(tmp_path: Path) -> None:
    """The digests cover nearly all kinds of characters: of long blocks of similar characters, every sixteenth."""
    assert run(sys.executable, tmp_path) == {"version": [*sys.version_info[:2]], "wrong": [], "told": FROZEN}


def other_pythons() -> list[str]:
    """Find other Python versions by their names. Some of them may not start."""
    names = [f"python3.{minor}" for minor in range(11, 20) if minor != sys.version_info.minor]
    installed = [Path(sys.executable).resolve().parents[2].glob(f"3.*/bin/{name}") for name in names]
    on_the_path = [path for name in names if (path := shutil.which(name))]
    return sorted({*on_the_path, *(str(path) for paths in installed for path in paths)})


@pytest.mark.prove(ci=True)
def test_every_other_installed_python_computes_the_same(tmp_path: Path) -> None:
    """Before the fix, a password with U+1E030 that was set on Python 3.11 was wrong on 3.13."""
    seen = []
    for number, python in enumerate(other_pythons()):
        folder = tmp_path / str(number)
        folder.mkdir()
        answer = run(python, folder)
        if answer is not None:
            seen.append(answer["version"])
            assert answer == {"version": answer["version"], "wrong": [], "told": FROZEN}, python
    if not seen:
        pytest.skip(NO_OTHER_PYTHON)
