"""A frame: bytes <-> header, tile records and index, all of them checksummed. Knows nothing of compression.

docs/FORMAT.md is the authority; the names here are its names. Every part can be checked on its own,
so that a reader touches only what it needs; and the tiles can be walked without the index, which is
how a frame that was cut is told from one that was damaged.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lossyzip.entropy.bits import get_varint, put_varint
from lossyzip.errors import (
    CorruptError,
    InvalidArgumentError,
    NotALossyZipError,
    TruncatedError,
    UnsupportedFormatError,
)

MAGIC = b"LsyZ"
TAIL = b"ZysL"
FORMAT_VERSION = 3  # no release wrote those before
_TRAILER = struct.Struct("<II4s")  # bytes of index, crc32 of index and that number, TAIL
_CRC = struct.Struct("<I")
_LARGEST_HEADER = 1 << 24
_LARGEST_VARINT = 10

Read = Callable[[int, int], bytes]  # (offset, length) -> bytes


@dataclass(frozen=True)
class Record:
    """Where a tile's record lies in the frame."""

    offset: int
    size: int


@dataclass(frozen=True)
class Tile:
    """A tile's record, opened: the payload, and the checksum of the values it decodes to."""

    payload: bytes
    content: int


def bytes_view(data: Any) -> memoryview:
    """``data`` (bytes, or any contiguous buffer) as a flat view of bytes."""
    try:
        return memoryview(data).cast("B")
    except TypeError:
        raise InvalidArgumentError(f"compressed data are bytes, not {type(data).__name__}") from None


def pack_sections(sections: dict[str, bytes]) -> bytes:
    """{tag of one letter: payload} as bytes. A reader may skip lower-case tags that it does not know."""
    out = bytearray()
    for tag, payload in sections.items():
        out += tag.encode("ascii")
        put_varint(out, len(payload))
        out += payload
    return bytes(out)


def unpack_sections(data: bytes, known: str) -> dict[str, bytes]:
    """Reverse of `pack_sections`. Raises UnsupportedFormatError for an upper-case tag not in ``known``."""
    sections: dict[str, bytes] = {}
    position = 0
    while position < len(data):
        tag = chr(data[position])
        size, start = get_varint(data, position + 1)
        position = start + size
        if position > len(data):
            raise CorruptError(f"section {tag!r} has {size} bytes, {len(data) - start} are left")
        if tag in sections:
            raise CorruptError(f"section {tag!r} occurs twice")
        if tag.isupper() and tag not in known:
            raise UnsupportedFormatError(f"section {tag!r} is unknown to this lossyzip; upgrade lossyzip")
        sections[tag] = data[start:position]
    return sections


def pack_head(header: bytes) -> bytes:
    """The start of a frame."""
    out = bytearray(MAGIC)
    put_varint(out, FORMAT_VERSION)
    put_varint(out, len(header))
    out += header
    return bytes(out) + _CRC.pack(zlib.crc32(out))


def pack_record(payload: bytes, content: int) -> bytes:
    """One tile: its size, the checksum of its decoded values, the payload, and the crc32 of all that."""
    head = bytearray()
    put_varint(head, len(payload))
    head += _CRC.pack(content)
    return b"".join((head, payload, _CRC.pack(zlib.crc32(payload, zlib.crc32(head)))))


def pack_end(record_sizes: list[int], sections: dict[str, bytes]) -> bytes:
    """The index and the trailer: the last bytes of a frame."""
    sizes = bytearray()
    for size in record_sizes:
        put_varint(sizes, size)
    index = pack_sections({"T": bytes(sizes), **sections})
    length = struct.pack("<I", len(index))
    return index + _TRAILER.pack(len(index), zlib.crc32(index + length), TAIL)


class FrameReader:
    """An opened frame: `header`, `records` and the `index` sections have been read and checked.

    ``read(offset, length)`` gives bytes of the frame, of which there are ``size``. Raises a
    DecodeError subclass when they are no frame, end too early or are damaged.
    """

    def __init__(self, read: Read, size: int, tiles_of: Callable[[bytes], int]) -> None:
        self._read = read
        self.size = size
        _check_magic(read, size)
        complete = self._tail_is_there()
        try:
            self.header, start = self._read_head()
            count = tiles_of(self.header)
            if complete:
                self.index, self.records = self._read_index(start, count)
            else:
                self._walk(start, count)
        except TruncatedError as error:
            if complete:  # the end is there, so that something before it is damaged
                raise CorruptError(str(error)) from error
            raise
        if not complete:
            raise CorruptError("all tiles are there, but the index behind them is damaged")

    def tile(self, number: int) -> Tile:
        """Read and check one tile."""
        record = self.records[number]
        data = self._read(record.offset, record.size)
        if len(data) != record.size:
            raise TruncatedError(f"tile {number} ends after {len(data)} of {record.size} bytes")
        if len(data) < 2 * _CRC.size + 1 or _CRC.unpack(data[-4:])[0] != zlib.crc32(memoryview(data)[:-4]):
            raise CorruptError(
                f"tile {number} (bytes {record.offset} to {record.offset + record.size}) is damaged"
            )
        length, start = get_varint(data, 0)
        if start + length + 2 * _CRC.size != record.size:
            raise CorruptError(f"tile {number} has {record.size} bytes, its payload {length}")
        return Tile(data[start + 4 : -4], _CRC.unpack(data[start : start + 4])[0])

    def _tail_is_there(self) -> bool:
        if self.size < _TRAILER.size:
            return False
        length, crc, tail = _TRAILER.unpack(self._read(self.size - _TRAILER.size, _TRAILER.size))
        if tail != TAIL or length > self.size - _TRAILER.size:
            return False
        index = self._read(self.size - _TRAILER.size - length, length)
        return zlib.crc32(index + struct.pack("<I", length)) == crc

    def _read_head(self) -> tuple[bytes, int]:
        start = self._read(0, min(self.size, len(MAGIC) + 2 * _LARGEST_VARINT))
        version, position = get_varint(start, len(MAGIC))
        if version > FORMAT_VERSION:
            raise UnsupportedFormatError(
                f"format version {version}, this lossyzip reads <= {FORMAT_VERSION}; upgrade lossyzip"
            )
        if version < 1:
            raise CorruptError(f"format version {version}")
        if version < FORMAT_VERSION:
            raise UnsupportedFormatError(
                f"format version {version}, which no release wrote; compress the field again"
            )
        length, position = get_varint(start, position)
        if length > _LARGEST_HEADER:
            raise CorruptError(f"a header of {length} bytes")
        end = position + length
        head = self._read(0, min(self.size, end + _CRC.size))
        if len(head) < end + _CRC.size:
            raise TruncatedError(f"ends after {self.size} bytes, within its header of {length}")
        if zlib.crc32(head[:end]) != _CRC.unpack(head[end:])[0]:
            raise CorruptError(f"the header (bytes 0 to {end}) is damaged")
        return head[position:end], end + _CRC.size

    def _read_index(self, start: int, count: int) -> tuple[dict[str, bytes], list[Record]]:
        length = _TRAILER.unpack(self._read(self.size - _TRAILER.size, _TRAILER.size))[0]
        end = self.size - _TRAILER.size - length
        index = unpack_sections(self._read(end, length), known="T")
        sizes, position, offset = index.get("T", b""), 0, start
        records = []
        while position < len(sizes):
            size, position = get_varint(sizes, position)
            records.append(Record(offset, size))
            offset += size
        if len(records) != count or offset != end:
            raise CorruptError(
                f"the index lists {len(records)} tiles up to byte {offset}, not {count} up to {end}"
            )
        return index, records

    def _walk(self, position: int, count: int) -> None:
        """Look for the end without the index; raises TruncatedError when it is not there."""
        for number in range(count):
            start = self._read(position, min(_LARGEST_VARINT, self.size - position))
            length, used = get_varint(start, 0)
            position += used + length + 2 * _CRC.size
            if position > self.size:
                raise TruncatedError(f"ends after {self.size} bytes, in tile {number} of {count}")
        length_at = self.size - _TRAILER.size
        if length_at < position:
            raise TruncatedError(f"ends after {self.size} bytes, before its index does")
        index = self._read(position, self.size - position)
        if not index.endswith(TAIL) and not _differ_in_one_bit(index[-4:], TAIL):
            raise TruncatedError(f"ends after {self.size} bytes, before its index does")


def _check_magic(read: Read, size: int) -> None:
    start = read(0, min(size, len(MAGIC)))
    if start != MAGIC[: len(start)]:
        raise NotALossyZipError(f"starts with {start!r}, not with {MAGIC!r}")
    if size <= len(MAGIC):
        raise TruncatedError(f"ends after {size} bytes, before its header")


def _differ_in_one_bit(a: bytes, b: bytes) -> bool:
    return (int.from_bytes(a, "little") ^ int.from_bytes(b, "little")).bit_count() == 1
