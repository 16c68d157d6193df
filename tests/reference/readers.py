"""Bytes and bits as FORMAT.md's preamble and its section 2 define them."""

from __future__ import annotations

import struct
import zlib


def require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        require(size <= len(self.data) - self.at, f"{size} more bytes expected")
        self.at += size
        return self.data[self.at - size : self.at]

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def numbers(self, layout: str) -> tuple:
        """As `struct.unpack`, little-endian."""
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))

    def varint(self) -> int:
        value = 0
        for group in range(10):
            byte = self.take(1)[0]
            value |= (byte & 127) << (7 * group)
            if byte < 128:
                return value
        raise ValueError("a varint of more than 10 bytes")

    def sized(self) -> Bytes:
        """A varint, and the bytes whose number it is."""
        return Bytes(self.take(self.varint()))

    def check_crc(self, start: int) -> None:
        """The next u32 is the crc32 of the bytes from ``start`` to here."""
        expected = zlib.crc32(self.data[start : self.at])
        require(self.numbers("I") == (expected,), "crc32 differs")


class Bits:
    def __init__(self, data: bytes) -> None:
        self.value, self.at = int.from_bytes(data, "little"), 0

    def take(self, count: int) -> int:
        self.at += count
        return (self.value >> (self.at - count)) & ((1 << count) - 1)

    def rice(self, k: int) -> int:
        quotient = 0
        while self.take(1):
            quotient += 1
        return (quotient << k) | self.take(k)

    def signed(self, k: int) -> int:
        folded = self.rice(k)
        return -((folded + 1) >> 1) if folded & 1 else folded >> 1


def sections(data: bytes) -> dict[str, bytes]:
    reader, found = Bytes(data), {}
    while reader.at < len(data):
        tag = reader.take(1).decode("ascii")
        require(tag.isalpha() and tag not in found, f"section {tag!r}")
        found[tag] = reader.sized().data
    return found


def opening(reader: Bytes, magic: bytes, version: int, known: str) -> dict[str, bytes]:
    """What frames and archives begin with: magic, version, sections, checksum."""
    require(reader.take(4) == magic, "magic")
    require(reader.varint() == version, "version")
    found = sections(reader.sized().data)
    require(all(tag in known or tag.islower() for tag in found), "unknown section")
    reader.check_crc(0)
    return found
