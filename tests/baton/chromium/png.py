"""Make the PNG files of a browser smaller, without a change of a pixel. Browsers compress them for speed."""

import struct
import zlib
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_RGB, _RGBA = 2, 6


def smaller(png: bytes) -> bytes:
    """Return the same picture as PNG, without filters and without transparency. Takes RGB and RGBA of 8 bits."""
    width, height, kind, data = _read(png)
    channels = {_RGB: 3, _RGBA: 4}[kind]
    pixels = _unfiltered(zlib.decompress(data), width * channels, height, channels)
    rows = (pixels[begin : begin + width * channels] for begin in range(0, len(pixels), width * channels))
    return min(png, _written(width, height, b"".join(_row(row, channels) for row in rows)), key=len)


def _read(png: bytes) -> tuple[int, int, int, bytes]:
    assert png.startswith(_SIGNATURE)
    at, data = len(_SIGNATURE), b""
    width = height = kind = 0
    while at < len(png):
        length, name = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + length]
        if name == b"IHDR":
            width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            assert (depth, interlaced) == (8, 0)
        elif name == b"IDAT":
            data += body
        at += length + 12
    return width, height, kind, data


def _unfiltered(data: bytes, stride: int, height: int, step: int) -> bytearray:
    """Undo the five filters of PNG (RFC 2083 section 6)."""
    out = bytearray()
    above = bytearray(stride)
    for row in range(height):
        begin = row * (stride + 1)
        kind, line = data[begin], bytearray(data[begin + 1 : begin + 1 + stride])
        for at in range(stride) if kind else ():
            left = line[at - step] if at >= step else 0
            up = above[at]
            corner = above[at - step] if at >= step else 0
            line[at] = (line[at] + (left, up, (left + up) // 2, _paeth(left, up, corner))[kind - 1]) & 255
        out += line
        above = line
    return out


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda one: abs(guess - one))


def _row(pixels: bytearray, channels: int) -> bytes:
    row = bytearray(len(pixels) // channels * 3)
    for channel in range(3):
        row[channel::3] = pixels[channel::channels]
    return b"\0" + bytes(row)


def _written(width: int, height: int, rows: bytes) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, _RGB, 0, 0, 0)
    return _SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
