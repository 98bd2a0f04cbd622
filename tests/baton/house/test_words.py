"""The words of public texts: a reader with English as a second language understands a line at first reading.

The texts are README, SECURITY, the pages of docs/baton/ and clients/, the details of all errors, the alarms, the texts
that the commands in tools/ print, and the docstrings of chalicelib/baton/, clients/python/ and tools/. They do not use
the words of ``NOT_TO_WRITE``. A sentence of a page has at most 35 words, and a page has at most 20 words a sentence on
average. Code spans, fenced blocks and indented blocks do not count. The length of a sentence in a table is not limited.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.baton.repository import OURS
from tools import template
from tools.errors_page import leaves

ROOT = Path(__file__).parents[3]
PAGES = [
    *((ROOT / "README.md", ROOT / "SECURITY.md") if OURS else ()),
    *(page for folder in ("clients", "docs/baton") for page in sorted((ROOT / folder).rglob("*.md"))),
]
TOOLS = sorted((ROOT / "tools").rglob("*.py"))
MODULES = [path for folder in ("chalicelib/baton", "clients/python", "tools") for path in (ROOT / folder).rglob("*.py")]
AVERAGE_MAX = 20
SENTENCE_MAX = 35

NOT_TO_WRITE = (
    "mend",
    "mends",
    "mended",
    "whoever",
    "whatever",
    "whom",
    "stands",
    "tells of",
    "says no",
    "of ours",
    "by itself",
    "nobody",
    "somebody",
    "at once",
    "so that one",
    "lets",
    "wants",
    "asks",
    "knows",
)
"""Words with a plainer counterpart: fix, any client, every, is, returns, refuses, Baton's, immediately, reads, has."""

PRINTING = {
    *("print", "say", "tell", "note", "prove", "refused", "expect", "Row", "Finding", "Change", "SystemExit"),
    *(
        "NotDone",
        "NotProved",
        "NotReady",
        "NotServing",
        "Surprise",
        "Unfetchable",
        "Unreached",
        "InTheWay",
        "Unavailable",
    ),
}
"""Calls in tools/ whose texts reach the terminal: ``print``, what calls it, and the errors whose message is printed."""

_WORDS = re.compile(r"\b(" + "|".join(word.replace(" ", r"\s+") for word in NOT_TO_WRITE) + r")\b", re.IGNORECASE)
_CODE_SPAN = re.compile(r"`[^`]*`")
_LINK_TARGET = re.compile(r"\]\([^)\s]*\)")
_ITEM = re.compile(r"^\s*([-*]|\d+\.) ")
_SENTENCE_END = re.compile(r"(?<=[.?!])[\"')\]*]*\s+(?=[\"'(\[*]*[A-Z0-9])")


def without_blocks(text: str) -> list[str]:
    """Return the lines of a page. A line of a fenced or an indented block becomes an empty line."""
    lines: list[str] = []
    fenced = in_item = False
    for line in text.splitlines():
        not_before = line.lstrip().startswith("```")
        fenced ^= not_before
        indent = len(line) - len(line.lstrip())
        after_gap = not lines or not lines[-1].strip()
        in_item = bool(_ITEM.match(line)) or (in_item and (not line.strip() or indent > 0))
        code = not_before or fenced or (after_gap and indent >= (7 if in_item else 4))
        lines.append("" if code else line)
    return lines


def plain(text: str) -> str:
    """Replace each code span by one word, and drop the targets of links."""
    return _LINK_TARGET.sub("]", _CODE_SPAN.sub("CODE", text))


def paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Yield each paragraph and each list item, with the number of its first line. Headings and tables are omitted."""
    start, gathered = 0, [""]
    for number, line in enumerate([*without_blocks(text), ""], 1):
        left_out = not line.strip() or line.startswith(("#", "|", "!", ">"))
        if gathered[0] and (left_out or _ITEM.match(line)):
            yield start, plain(" ".join(gathered))
            gathered = [""]
        if not left_out:
            start, gathered = (start, [*gathered, line.strip()]) if gathered[0] else (number, [line.strip()])


def sentences(paragraph: str) -> list[str]:
    """Split a paragraph after a full stop, a question mark or an exclamation mark, before a capital or a number."""
    return [detail for detail in _SENTENCE_END.split(_ITEM.sub("", paragraph, count=1)) if words(detail)]


def words(detail: str) -> int:
    """Count the words of a sentence: runs between spaces that have a letter or a digit."""
    return sum(any(character.isalnum() for character in word) for word in detail.split())


def unwanted(text: str) -> list[str]:
    """List the words of a text that public texts do not use."""
    return [" ".join(found.lower().split()) for found in _WORDS.findall(text)]


def printed(source: str) -> Iterator[tuple[int, str]]:
    """Yield the texts that a module prints, with their line: the string literals of the calls in ``PRINTING``.

    A module that prints its docstring as the help text has that too.
    """
    tree = ast.parse(source)
    if "print(__doc__" in source:
        yield 1, ast.get_docstring(tree) or ""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and _name(call.func) in PRINTING:
            for node in [node for argument in call.args for node in ast.walk(argument)]:
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.lineno, node.value


def _name(called: ast.expr) -> str:
    return called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_uses_plain_words(page: Path) -> None:
    """Tables and headings are included. The test prints file, line and word."""
    lines = without_blocks(page.read_text("utf-8"))
    found = [(number, word) for number, line in enumerate(lines, 1) for word in unwanted(plain(line))]
    assert [f"{page.relative_to(ROOT)}:{number}: {word}" for number, word in found] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_short_sentences(page: Path) -> None:
    """A sentence has at most 35 words. The average of a page is at most 20."""
    said = [(n, each) for n, text in paragraphs(page.read_text("utf-8")) for each in sentences(text)]
    long = [
        f"{page.relative_to(ROOT)}:{n}: {words(each)} words: {each}" for n, each in said if words(each) > SENTENCE_MAX
    ]
    assert long == []
    assert sum(words(each) for _, each in said) <= AVERAGE_MAX * max(1, len(said))


def test_the_detail_of_an_error_is_plain() -> None:
    """An app's developer reads these texts. One sentence says what happened, one says what to do."""
    details = [(leaf.__name__, _CODE_SPAN.sub("CODE", leaf.detail)) for leaf in leaves()]
    assert [(name, unwanted(text)) for name, text in details if unwanted(text)] == []
    assert [name for name, text in details for each in sentences(text) if words(each) > SENTENCE_MAX] == []


def test_an_alarm_is_described_in_plain_words() -> None:
    """An operator gets this text by mail."""
    alarms = template.of_type(template.read(template.EDGE), "AWS::CloudWatch::Alarm")
    found = {name: unwanted(alarm["AlarmDescription"]) for name, alarm in alarms.items()}
    assert len(found) > 10
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.stem)
def test_a_command_prints_plain_words(path: Path) -> None:
    """Each text of ``PRINTING`` is tested. The test prints file, line and word."""
    found = [
        (line, word) for line, text in printed(path.read_text("utf-8")) for word in unwanted(_CODE_SPAN.sub("", text))
    ]
    assert [f"{path.relative_to(ROOT)}:{line}: {word}" for line, word in found] == []


def test_docstrings_use_plain_words() -> None:
    """Modules, classes and functions are tested. Code spans do not count."""
    found = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                found += [(path.name, word) for word in unwanted(plain(ast.get_docstring(node) or ""))]
    assert len(MODULES) > 150
    assert found == []


def test_a_word_not_to_write_is_found() -> None:
    """The word is a whole word, in any case, also across the end of a line.

    Code spans and parts of words do not count.
    """
    assert unwanted("Nobody mends\nit at\nonce. It is amended.") == ["nobody", "mends", "at once"]
    assert unwanted(plain("See `whoever` and [asks](asks.md).")) == ["asks"]
    assert list(printed('print(f"whom {1}", "b")\nstory.tell("c")\nlog("mend")')) == [(1, "whom "), (1, "b"), (2, "c")]
    assert list(printed('"""asks"""\nprint(__doc__)')) == [(1, "asks")]


def test_sentences_are_split_where_they_end() -> None:
    """A decimal point, a stop before a lower-case word, and a colon do not end a sentence."""
    assert sentences("1. It is 1.5 s, or 8. CODE is (so). Three: four? Five") == [
        "It is 1.5 s, or 8.",
        "CODE is (so).",
        "Three: four?",
        "Five",
    ]
    assert words("one - two, three-four (CODE)") == 4


def test_blocks_tables_and_headings_are_not_sentences() -> None:
    """An item of a list is a paragraph. Its line number is that of its first line."""
    page = """# Heading

First line
second line.

```sh
make dev
```
| table | cell |
|---|---|

1. Item `code` one
   goes on.
2. Item [two](target.md).

       indented | code
"""
    assert list(paragraphs(page)) == [
        (3, "First line second line."),
        (12, "1. Item CODE one goes on."),
        (14, "2. Item [two]."),
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_each_row_of_a_table_has_the_cells_of_its_header(page: Path) -> None:
    """Two rows were once on one line, so readers did not see the second row."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for table in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        rows = [re.sub(r"`[^`]*`|\\\|", "", row).count("|") for row in table.splitlines()]
        assert rows == [rows[0]] * len(rows), table
