"""Write ``chalicelib/baton/factors/common_passwords.txt`` from two packages: ``python -m tools.common_passwords``.

The list is the union of two published lists of common passwords, and of the phrases below. The entries are folded
(NFKC, ``casefold``) and sorted. Entries under 8 characters are left out, because no password of Baton is that short.

    pip download --no-deps --dest build/lists Django==5.2 zxcvbn==4.5.0
    python -m tools.common_passwords build/lists

The command refuses a downloaded file whose hash is not in ``HASHES``. Therefore it writes the same bytes each time.
"""

import ast
import gzip
import hashlib
import sys
import unicodedata
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from chalicelib.baton.factors.block_list import LISTED_CHARACTERS_MIN, without_separators

LIST: Final = Path(__file__).parents[1] / "chalicelib" / "baton" / "factors" / "common_passwords.txt"

DJANGO: Final = "Django-5.2-py3-none-any.whl"
ZXCVBN: Final = "zxcvbn-4.5.0-py2.py3-none-any.whl"
HASHES: Final = {
    DJANGO: "91ceed4e3a6db5aedced65e3c8f963118ea9ba753fc620831c77074e620e7d83",
    ZXCVBN: "2b6eed621612ce6d65e6e4c7455b966acee87d0280e257956b1f06ccc66bd5ff",
}
"""The wheels of PyPI, with their SHA-256."""

PHRASES: Final = """
a journey of a thousand miles begins with a single step
a long time ago in a galaxy far far away
a picture is worth a thousand words
absence makes the heart grow fonder
actions speak louder than words
all for one and one for all
all i want for christmas is you
all that glitters is not gold
all you need is love
all your base are belong to us
an apple a day keeps the doctor away
another brick in the wall
ask and you shall receive
beam me up scotty
beauty is in the eye of the beholder
better late than never
big brother is watching you
call me ishmael
can you hear me now
carpe diem quam minimum credula postero
change is the only constant
cogito ergo sum
correct horse battery staple
do or do not there is no try
do you want to build a snowman
don't stop believing
don't worry be happy
dont stop believing
dont worry be happy
easy come easy go
elementary my dear watson
everything happens for a reason
fly me to the moon
for the love of god
fortune favors the bold
four score and seven years ago
frankly my dear i don't give a damn
frankly my dear i dont give a damn
game of thrones
go ahead make my day
god bless america
god is our refuge and strength
good morning vietnam
harry potter and the philosophers stone
hasta la vista baby
hello darkness my old friend
here's looking at you kid
hit me baby one more time
home sweet home
houston we have a problem
i am the master of my fate
i am your father
i have a dream
i love my family
i love you so much
i love you to the moon and back
i think therefore i am
i want to break free
i will always love you
i'll be back
if it aint broke dont fix it
in god we trust
in the beginning god created the heaven and the earth
it was a dark and stormy night
it was the best of times it was the worst of times
jesus is my savior
jesus loves me this i know
just do it tomorrow
keep calm and carry on
knowledge is power
laughter is the best medicine
let it be let it be
let me in please
let there be light
life is a journey not a destination
life is like a box of chocolates
like a rolling stone
live long and prosper
lord of the rings
lorem ipsum dolor sit amet
love is all you need
luke i am your father
make america great again
mary had a little lamb
may the force be with you
merry christmas and a happy new year
money can't buy happiness
my name is inigo montoya
my password is password
my precious my precious
never give up never surrender
never gonna give you up
never say never again
no pain no gain
nobody puts baby in a corner
nothing is impossible
once upon a time
one ring to rule them all
open sesame open sesame
our father who art in heaven
over the rainbow
password is my password
peace love and happiness
please let me in
practice makes perfect
resistance is futile
ring around the rosie
rome wasn't built in a day
roses are red violets are blue
row row row your boat
say hello to my little friend
shall i compare thee to a summers day
stairway to heaven
super califragilistic expialidocious
supercalifragilisticexpialidocious
the answer is forty two
the answer is fortytwo
the cake is a lie
the early bird catches the worm
the lord is my shepherd
the pen is mightier than the sword
the quick brown fox
the quick brown fox jumps over the lazy dog
the truth is out there
there is no place like home
there is no spoon
there's no place like home
this is my new password
this is my password
this is not a password
this is sparta
this is the password
time flies like an arrow
to be or not to be
to be or not to be that is the question
to infinity and beyond
twinkle twinkle little star
we are the champions
we hold these truths to be self evident
we will rock you
welcome to the jungle
what doesn't kill you makes you stronger
where there is a will there is a way
winter is coming
with great power comes great responsibility
you can't handle the truth
you only live once
you shall not pass
you're gonna need a bigger boat
yesterday all my troubles seemed so far away
""".strip().split("\n")
"""Well-known phrases, collected by hand, because few entries of the two lists have 15 characters or more."""

_HEAD: Final = """\
# Common passwords, folded, one a line: `python -m tools.common_passwords` writes this file.
#
# The entries are those of three sources that have at least 8 characters:
# - django/contrib/auth/common-passwords.txt.gz of Django 5.2, by Royce Williams;
# - the list `passwords` of zxcvbn 4.5.0 for Python;
# - quoted phrases, by hand for Baton.
"""


class NotDone(ValueError):
    """The list was not written. The message says why."""


def main(arguments: list[str]) -> int:
    """Write the list from the wheels in a folder. Return the exit code."""
    if len(arguments) != 1:
        print("usage: python -m tools.common_passwords FOLDER")
        return 2
    folder = Path(arguments[0])
    try:
        wheels = {name: _checked(folder / name) for name in (DJANGO, ZXCVBN)}
    except NotDone as problem:
        print(problem)
        return 1
    text = render(wheels[DJANGO], wheels[ZXCVBN])
    LIST.write_text(text, "utf-8", newline="\n")
    print(f"ok: {text.partition(chr(10) * 2)[2].count(chr(10)):,} entries")
    return 0


def render(django: Path, zxcvbn: Path) -> str:
    """Return the text of the list: the licences as comments, an empty line, then the entries."""
    notices = [
        ("Django", _read(django, "Django-5.2.dist-info/LICENSE").decode()),
        ("zxcvbn", _read(zxcvbn, "zxcvbn-4.5.0.dist-info/LICENSE.txt").decode()),
    ]
    lines = (f"# {line}".rstrip() for name, text in notices for line in (f"Licence of {name}:", *text.split("\n")))
    passwords = (*_of_django(django), *_of_zxcvbn(zxcvbn))
    return _HEAD + "\n".join(lines) + "\n\n" + "\n".join(entries(passwords, PHRASES)) + "\n"


def entries(passwords: Iterable[str], phrases: Iterable[str]) -> list[str]:
    """Fold passwords and phrases, remove the separators of each phrase, and leave out short entries."""
    folded = {unicodedata.normalize("NFKC", password).casefold() for password in passwords}
    folded |= {without_separators(phrase.casefold()) for phrase in phrases}
    return sorted(entry for entry in folded if len(entry) >= LISTED_CHARACTERS_MIN)


def _of_django(wheel: Path) -> list[str]:
    text = gzip.decompress(_read(wheel, "django/contrib/auth/common-passwords.txt.gz")).decode()
    return [line.strip() for line in text.split("\n")]


def _of_zxcvbn(wheel: Path) -> list[str]:
    """Read the list from the source, without running it: the value of ``passwords`` is a text, split at its commas."""
    for node in ast.walk(ast.parse(_read(wheel, "zxcvbn/frequency_lists.py"))):
        for key, value in zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ():
            if isinstance(key, ast.Constant) and key.value == "passwords":
                texts = [str(text.value) for text in ast.walk(value) if isinstance(text, ast.Constant)]
                return max(texts, key=len).split(",")  # the other text is the separator
    raise NotDone("error: zxcvbn has no list of passwords. Nothing was written")


def _read(wheel: Path, name: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(name)


def _checked(wheel: Path) -> Path:
    if not wheel.is_file() or hashlib.sha256(wheel.read_bytes()).hexdigest() != HASHES[wheel.name]:
        raise NotDone(f"error: {wheel} is missing, or has another SHA-256. Nothing was written")
    return wheel


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
