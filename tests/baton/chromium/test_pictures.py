"""The pictures of the documents: they exist, are small, and were made smaller without a change of a pixel."""

import json
import re
import struct
import zlib
from pathlib import Path

import pytest

from tests.baton.chromium.pictures import BYTES_MAX, FOLDER, RECORDING, SHOWN, harmless
from tests.baton.chromium.png import smaller

FILES = [FOLDER / f"{name}-{scheme}.png" for name in SHOWN for scheme in ("light", "dark")]


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_picture_has_its_size(file: Path) -> None:
    """A picture has 1,280 by 800 pixels, and at most 150 kB."""
    content = file.read_bytes()
    assert struct.unpack(">II", content[16:24]) == (1280, 800)
    assert len(content) <= BYTES_MAX


def png(rows: list[bytes], width: int, kind: int) -> bytes:
    """Write a PNG. Each row begins with the number of its filter."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, len(rows), 8, kind, 0, 0, 0)
    data = zlib.compress(b"".join(rows), 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_every_filter_is_undone() -> None:
    """Five rows with the five filters, computed by hand. In each row the pixels are (10, 20, 30) and (12, 20, 30)."""
    first, second = bytes((10, 20, 30)), bytes((12, 20, 30))
    rows = [
        b"\0" + first + second,
        b"\1" + first + bytes((2, 0, 0)),
        b"\2" + bytes(6),
        b"\3" + bytes((5, 10, 15)) + bytes((12 - (10 + 12) // 2, 0, 0)),
        b"\4" + bytes(6),
    ]
    written = smaller(png(rows, 2, 2))
    at = written.index(b"IDAT")
    (length,) = struct.unpack(">I", written[at - 4 : at])
    assert zlib.decompress(written[at + 4 : at + 4 + length]) == (b"\0" + first + second) * 5


def test_a_picture_with_transparency_loses_only_that() -> None:
    """Only the transparency is removed: the pages have an opaque background."""
    written = smaller(png([b"\0" + bytes((1, 2, 3, 255)) * 40], 40, 6))
    at = written.index(b"IDAT")
    (length,) = struct.unpack(">I", written[at - 4 : at])
    assert zlib.decompress(written[at + 4 : at + 4 + length]) == b"\0" + bytes((1, 2, 3)) * 40


def test_the_recording_has_no_key_and_no_token() -> None:
    """A thief of the repository gets no secret, not even one of a server that no longer exists."""
    text = RECORDING.read_text("utf-8")
    recording = json.loads(text)
    assert recording["storage"] == harmless(recording["storage"])
    assert re.findall(r"eyJ[\w-]+\.[\w-]+\.[\w-]{3,}", text) == []
