"""A frame taken apart, and put together with checksums that fit: only a decoder's other checks are left.

Knows nothing of what is changed in between.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import lossyzip as lz
from lossyzip.container import frame
from lossyzip.entropy.bits import get_varint, put_varint

LOSSLESS, SPECIAL, OUTLIERS, SIGNED, MASKED, LEVELS, MARGINS = 1, 2, 4, 8, 16, 32, 64  # flags of a tile
_TRAILER_SIZE = 12


@dataclass(frozen=True)
class Parts:
    """A frame taken apart; `forge` puts it together with checksums that fit."""

    header: bytes
    tiles: tuple[frame.Tile, ...]
    index: dict[str, bytes]
    first_tile_at: int

    @classmethod
    def of(cls, data: bytes) -> Parts:
        """The header may say anything; raises a DecodeError where the frame around it is not sound."""
        reader = frame.FrameReader(lambda o, n: data[o : o + n], len(data), lambda _: _tiles_listed(data))
        tiles = tuple(reader.tile(number) for number in range(len(reader.records)))
        start = reader.records[0].offset if reader.records else 0
        return cls(reader.header, tiles, reader.index, start)

    def forge(self) -> bytes:
        records = [frame.pack_record(tile.payload, tile.content) for tile in self.tiles]
        rest = {tag: payload for tag, payload in self.index.items() if tag != "T" and tag.isascii()}
        return b"".join(
            [frame.pack_head(self.header), *records, frame.pack_end([len(r) for r in records], rest)]
        )

    def with_payload(self, payload: bytes) -> bytes:
        return replace(self, tiles=(replace(self.tiles[0], payload=payload), *self.tiles[1:])).forge()


def _tiles_listed(data: bytes) -> int:
    length = int.from_bytes(data[-_TRAILER_SIZE : 4 - _TRAILER_SIZE], "little")
    end = len(data) - _TRAILER_SIZE
    index = frame.unpack_sections(data[max(end - length, 0) : end], "T")
    return sum(byte < 0x80 for byte in index.get("T", b""))


@dataclass(frozen=True)
class Payload:
    """A tile's payload taken apart; its lossless arrays as they are packed."""

    flags: int
    mask: bytes = b""
    levels: bytes = b""
    classes: bytes = b""
    raw_count: int = 0
    raw: bytes = b""
    signs: bytes = b""
    outlier_count: int = 0
    outliers: bytes = b""
    codes: bytes = b""  # and margins before them; or the lossless array of all values, or payloads of levels

    @classmethod
    def of(cls, data: bytes) -> Payload:
        """Raises a DecodeError where ``data`` ends too early."""
        flags, position = data[0] if data else 0, 1
        mask = levels = classes = raw = signs = outliers = b""
        raw_count = outlier_count = 0
        if flags & MASKED:
            mask, position = _get_sized(data, position)
        if flags & LEVELS:
            levels, position = _get_sized(data, position)
        if flags & (LOSSLESS | LEVELS):
            return cls(flags, mask, levels, codes=data[position:])
        if flags & SPECIAL:
            classes, position = _get_sized(data, position)
            raw_count, position = get_varint(data, position)
            if raw_count:
                raw, position = _get_sized(data, position)
        if flags & SIGNED:
            signs, position = _get_sized(data, position)
        if flags & OUTLIERS:
            outlier_count, position = get_varint(data, position)
            outliers, position = _get_sized(data, position)
        parts = (raw_count, raw, signs, outlier_count, outliers)
        return cls(flags, mask, levels, classes, *parts, data[position:])

    def to_bytes(self) -> bytes:
        out = bytearray([self.flags])
        if self.flags & MASKED:
            _put_sized(out, self.mask)
        if self.flags & LEVELS:
            _put_sized(out, self.levels)
        if not self.flags & (LOSSLESS | LEVELS):
            if self.flags & SPECIAL:
                _put_sized(out, self.classes)
                put_varint(out, self.raw_count)
                if self.raw_count:
                    _put_sized(out, self.raw)
            if self.flags & SIGNED:
                _put_sized(out, self.signs)
            if self.flags & OUTLIERS:
                put_varint(out, self.outlier_count)
                _put_sized(out, self.outliers)
        return bytes(out) + self.codes


@dataclass(frozen=True)
class Codes:
    """A stream of codes that are not mixed, taken apart."""

    model: bytes
    extra_bits: int
    extra: bytes
    states: bytes
    words: bytes

    @classmethod
    def of(cls, data: bytes) -> Codes:
        """Raises a DecodeError where ``data`` ends too early."""
        model_size, position = get_varint(data, 0)
        extra_bits, position = get_varint(data, position)
        lanes, position = get_varint(data, position)
        ends = [position, position + model_size]
        ends += [ends[1] + (extra_bits + 7) // 8]
        ends += [ends[2] + 4 * lanes]
        if ends[-1] > len(data):
            raise lz.TruncatedError(f"{len(data)} bytes of codes, not {ends[-1]}")
        parts = [data[start:end] for start, end in zip(ends, [*ends[1:], len(data)], strict=True)]
        return cls(parts[0], extra_bits, *parts[1:])

    def to_bytes(self) -> bytes:
        out = bytearray()
        for number in (len(self.model), self.extra_bits, len(self.states) // 4):
            put_varint(out, number)
        return bytes(out) + self.model + self.extra + self.states + self.words


def _get_sized(data: bytes, position: int) -> tuple[bytes, int]:
    size, position = get_varint(data, position)
    if position + size > len(data):
        raise lz.TruncatedError(f"a part of {size} bytes, {len(data) - position} are left")
    return data[position : position + size], position + size


def _put_sized(out: bytearray, data: bytes) -> None:
    put_varint(out, len(data))
    out += data
