"""An archive: many named frames as one string of bytes. Knows nothing of what is in the frames.

docs/FORMAT.md, "Archive".
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

from lossyzip.container.frame import TAIL, bytes_view, pack_sections, unpack_sections
from lossyzip.entropy.bits import get_varint, put_varint
from lossyzip.errors import CorruptError, NotALossyZipError, TruncatedError, UnsupportedFormatError

MAGIC = b"LsyA"
ARCHIVE_VERSION = 1
_CRC = struct.Struct("<I")


Graph = dict[str, tuple[str, ...]]  # {field: those that must be decoded before it}


def pack_archive(frames: dict[str, bytes], graph: Graph | None = None) -> bytes:
    """{field name: frame} as bytes: a table of names and sizes, then the frames."""
    table = bytearray()
    for name, data in frames.items():
        encoded = name.encode("utf-8")
        put_varint(table, len(encoded))
        table += encoded
        put_varint(table, len(data))
    out = bytearray(MAGIC)
    put_varint(out, ARCHIVE_VERSION)
    parts = {"N": bytes(table)}
    if graph and any(graph.values()):
        parts["G"] = _pack_graph(list(frames), graph)
    sections = pack_sections(parts)
    put_varint(out, len(sections))
    out += sections
    out += _CRC.pack(zlib.crc32(out))
    return b"".join([bytes(out), *frames.values()])


def _pack_graph(names: list[str], graph: Graph) -> bytes:
    out = bytearray()
    for name in names:
        numbers = [names.index(reference) for reference in graph.get(name, ())]
        for number in (len(numbers), *numbers):
            put_varint(out, number)
    return bytes(out)


def unpack_archive(archive: bytes) -> dict[str, memoryview]:
    """{field name: its frame}. Raises a DecodeError subclass for anything but an archive."""
    return unpack_related(archive)[0]


def unpack_related(archive: bytes) -> tuple[dict[str, memoryview], Graph]:
    """The same, and which fields must be decoded before which. Whether that is possible is not checked."""
    data: Any = bytes_view(archive)
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise NotALossyZipError(f"starts with {bytes(data[:4])!r}, not with {MAGIC!r}")
    if len(data) <= len(MAGIC):
        raise TruncatedError(f"ends after {len(data)} bytes, before its table")
    version, position = get_varint(data, len(MAGIC))
    if version > ARCHIVE_VERSION:
        raise UnsupportedFormatError(
            f"archive version {version}, this lossyzip reads <= {ARCHIVE_VERSION}; upgrade lossyzip"
        )
    size, position = get_varint(data, position)
    end = position + size
    if end + _CRC.size > len(data):
        if data[-len(TAIL) :] == TAIL:  # the end is there, so that the size is damaged
            raise CorruptError(f"a table of {size} bytes in an archive of {len(data)}")
        raise TruncatedError(f"ends after {len(data)} bytes, within its table of {size}")
    if zlib.crc32(data[:end]) != _CRC.unpack(data[end : end + _CRC.size])[0]:
        raise CorruptError(f"the table (bytes 0 to {end}) is damaged")
    sections = unpack_sections(bytes(data[position:end]), known="NG")
    names = _read_names(sections.get("N", b""))
    offset, view, frames = end + _CRC.size, memoryview(data), {}
    for name, length in names:
        if offset + length > len(data):
            raise TruncatedError(f"ends after {len(data)} bytes, in field {name!r}")
        if name in frames:
            raise CorruptError(f"two fields {name!r}")
        frames[name] = view[offset : offset + length]
        offset += length
    if offset != len(data):
        raise CorruptError(f"{len(data) - offset} bytes follow the last field")
    return frames, _read_graph(sections["G"], list(frames)) if "G" in sections else {}


def _read_graph(data: bytes, names: list[str]) -> Graph:
    graph: Graph = {}
    position = 0
    for name in names:
        count, position = get_varint(data, position)
        if count >= len(names):
            raise CorruptError(f"field {name!r} needs {count} of {len(names)} fields")
        numbers = []
        for _ in range(count):
            number, position = get_varint(data, position)
            if number >= len(names):
                raise CorruptError(f"field {name!r} needs field {number} of {len(names)}")
            numbers.append(number)
        graph[name] = tuple(names[number] for number in numbers)
    if position != len(data):
        raise CorruptError(f"{len(data) - position} bytes follow the graph of {len(names)} fields")
    return graph


def _read_names(table: bytes) -> list[tuple[str, int]]:
    names: list[tuple[str, int]] = []
    position = 0
    while position < len(table):
        size, position = get_varint(table, position)
        try:
            name = table[position : position + size].decode("utf-8")
        except UnicodeDecodeError as error:
            raise CorruptError(f"the name of field {len(names)}: {error}") from None
        length, position = get_varint(table, position + size)
        names.append((name, length))
    return names
