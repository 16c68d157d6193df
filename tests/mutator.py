"""Changes in frames and archives that keep their checksums right: they get as far as what was changed.

Each part of a frame has ways of its own to be changed. And what a decoder must do with the result. Needs no
fuzzer: fuzz.py runs it under one, and test_fuzz.py without.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import zstandard
from forgery import LEVELS, LOSSLESS, MARGINS, MASKED, OUTLIERS, SIGNED, SPECIAL, Codes, Parts, Payload

import lossyzip as lz
from lossyzip.carrier import NO_GUIDE
from lossyzip.container import archive
from lossyzip.container.enhanced import Part, join, split
from lossyzip.container.frame import Tile, pack_sections, unpack_sections
from lossyzip.container.header import FAMILIES, Header
from lossyzip.decompose.families import read_plan
from lossyzip.decompressor import content_checksum
from lossyzip.enhancement import enhance
from lossyzip.entropy import tables
from lossyzip.entropy.bits import put_varint
from lossyzip.entropy.tokens import ESCAPE, GROUP_CELLS, OUTLIER_TOKEN
from lossyzip.entropy.words import to_bytes
from lossyzip.guide import guide_of_frame
from lossyzip.learned.enhancer import Enhancer
from lossyzip.tile import decode_tile

MOST_VALUES = 1 << 20  # a frame may claim more, and takes the memory that it says: that is no news
Change = Callable[[bytes], bytes]  # of some bytes, at random

_LENGTHS = (0, 1, 1, 1, 2, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 32, 33, 64, 100, 1000)
_TOKENS = (0, 1, 2, 5, 62, 63, 64, 130, 253, ESCAPE, OUTLIER_TOKEN)
_HUGE = (1 << 14, 1 << 20, 1 << 22, (1 << 22) + 1, 1 << 31, 1 << 32, 1 << 59, 1 << 62, (1 << 64) - 1)
_FINITE = (0.0, 5e-324, 1e-300, 1e-45, 1e-38, 2.4e-38, 1e-10, 0.1, 1.0, 3.0, 1024.0, 1100.0, 1e10, 1e30)
_FINITE += (5e36, 1e38, 3.4e38, 1e300, 2.8e306, 1.7e308)
_NUMBERS = (*_FINITE, math.inf, math.nan)


def mutate(
    data: bytes, rng: random.Random, donors: Sequence[bytes] = (), change: Change | None = None
) -> bytes:
    """``data`` with a few changes. ``donors`` are frames whose parts may take the place of its own."""
    change = change or (lambda some: changed_bytes(some, rng))
    if rng.random() < 0.1:
        return change(data)
    try:
        if data[:4] == archive.MAGIC:
            return _mutate_archive(data, rng, donors, change)
        parts = Parts.of(data)
    except lz.DecodeError:
        return change(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        parts = rng.choice(_WAYS)(parts, rng, donors, change)
    if rng.random() < 0.1:
        parts = _with_right_contents(parts)
    return parts.forge()


def read(data: bytes) -> None:
    """Decode as a user would: a DecodeError, or what the header says. Whatever this raises is a finding."""
    many = data[:4] == archive.MAGIC
    try:
        frames = archive.unpack_archive(data) if many else {"": data}
        told = [lz.inspect(bytes(frame)) for frame in frames.values()]
        if sum(math.prod(one.shape) for one in told) > MOST_VALUES:
            return
        arrays = (
            list(lz.decompress_fields(data, threads=1).values()) if many else [lz.decompress(data, threads=1)]
        )
    except lz.DecodeError as error:
        if not str(error):
            raise AssertionError("an error that says nothing") from error
        return
    for array, one in zip(arrays, told, strict=True):
        assert (array.shape, array.dtype.str) == (one.shape, one.dtype)


def changed_bytes(data: bytes, rng: random.Random) -> bytes:
    """A few bytes flipped, replaced, left out, doubled or put in."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, some = rng.randrange(len(out) + 1), rng.choice((1, 1, 2, 4, 8, 30))
        way = rng.choice((0, 0, 0, 1, 1, 2, 3, 4, 5))
        if way == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif way == 1 and at < len(out):
            out[at] = rng.choice((0, 1, 2, 8, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256)))
        elif way == 2:
            del out[at : at + some]
        elif way == 3:
            out[at:at] = out[at : at + some]
        elif way == 4:
            out[at : at + some] = rng.randbytes(some)
        else:
            number = bytearray()
            put_varint(number, rng.choice(_HUGE))
            out[at : at + rng.randrange(2)] = number
    return bytes(out)


# A way to change a frame


def _change_header(parts: Parts, rng: random.Random, _donors: Sequence[bytes], change: Change) -> Parts:
    return replace(parts, header=change(parts.header))


def _change_section(parts: Parts, rng: random.Random, _donors: Sequence[bytes], change: Change) -> Parts:
    sections = _sections_of(parts)
    if sections:
        tag = rng.choice(list(sections))
        sections[tag] = change(sections[tag])
    return replace(parts, header=pack_sections(sections))


def _change_shape(parts: Parts, rng: random.Random, _donors: Sequence[bytes], _change: Change) -> Parts:
    """Another shape, in tiles of which there are as many as the index says."""
    sections = _sections_of(parts)
    shape = [rng.choice(_LENGTHS) for _ in range(rng.choice((0, 1, 2, 2, 3, 3, 4, 5, 32)))]
    while math.prod(shape) > 1 << 14:
        shape[shape.index(max(shape))] //= 4
    if shape and rng.random() < 0.1:
        shape[rng.randrange(len(shape))] = rng.choice(_HUGE)
    tile = [max(n, 1) for n in shape]
    if shape and rng.random() < 0.4:
        axis = rng.randrange(len(shape))
        tile[axis] = rng.randint(-(-tile[axis] // 3), tile[axis])
    kind = sections.get("A", b"\0")[0:1] or b"\0"
    array = bytearray([kind[0] if rng.random() < 0.8 else rng.randrange(27), len(shape)])
    for length in (*shape, *tile):
        put_varint(array, length)
    sections["A"] = bytes(array)
    count = math.prod(-(-n // t) for n, t in zip(shape, tile, strict=True))
    tiles = (parts.tiles * min(count, 64))[:count] if rng.random() < 0.9 else parts.tiles
    return replace(parts, header=pack_sections(sections), tiles=tiles)


def _change_bound(parts: Parts, rng: random.Random, _donors: Sequence[bytes], _change: Change) -> Parts:
    """Another bound, another span of the values, a mask's value, or levels."""
    sections = _sections_of(parts)
    if rng.random() < 0.5:
        kind = rng.randrange(5)
        numbers = [rng.choice(_NUMBERS) for _ in range((1, 2, 0, 2, 2)[kind])]
        sections["B"] = bytes([kind]) + struct.pack(f"<{len(numbers)}d", *numbers)
    if rng.random() < 0.7:
        span = np.array([rng.choice((-1, 1)) * rng.choice(_FINITE) for _ in range(2)])
        width = len(sections.get("R", b"")) // 2
        with np.errstate(over="ignore"):
            sections["R"] = np.sort(span).astype(f"<f{width if width in (2, 4, 8) else 4}").tobytes()
    if rng.random() < 0.1:
        sections["M"] = rng.randbytes(rng.choice((1, 2, 4, 8, 16)))
    if rng.random() < 0.1:
        plan = sections.get("P", b"")[:200]
        levels = [rng.choice(_NUMBERS) for _ in range(rng.choice((1, 2, 3, 16, 17)))]
        sections["L"] = b"".join(struct.pack("<dB", eps, len(plan) % 128) + plan[:127] for eps in levels)
    return replace(parts, header=pack_sections(sections))


def _change_guide(parts: Parts, rng: random.Random, donors: Sequence[bytes], change: Change) -> Parts:
    """Guides changed, or made up: of no reference that is there, or of none that fits."""
    sections = _sections_of(parts)
    own = sections.get("G", b"")
    if donors and rng.random() < 0.3:
        own = _sections_of(_donor(rng, donors)).get("G", own)
    if own and rng.random() < 0.5:
        at = rng.randrange(len(own))  # any byte after the references says what becomes of them
        own = (
            own[:at]
            + bytes([rng.choice((0, 1, 2, 4, 5, 7, 127, 128, 255, rng.randrange(256)))])
            + own[at + 1 :]
        )
    elif rng.random() < 0.8:
        own = change(own)
    else:
        own = b""
    return replace(parts, header=pack_sections({**sections, "G": own}))


def _change_latents(parts: Parts, rng: random.Random, donors: Sequence[bytes], change: Change) -> Parts:
    """The strides of latents, or the frame that holds them: changed, or another."""
    sections = _sections_of(parts)
    own = sections.get("Z", b"")
    strides, grids = own[:3], own[3:]
    if rng.random() < 0.3 or not own:
        strides = bytes(rng.choice((0, 1, 2, 4, 8, 64, 65, 255)) for _ in range(3))
    if donors and rng.random() < 0.2:
        grids = rng.choice(donors)
    elif grids and rng.random() < 0.8:
        grids = mutate(grids, rng, donors)
    return replace(parts, header=pack_sections({**sections, "Z": strides + grids}))


def _change_base(parts: Parts, rng: random.Random, donors: Sequence[bytes], change: Change) -> Parts:
    """The frame that is subtracted: changed, or another; or where there was none."""
    sections = _sections_of(parts)
    own = sections.get("Y", b"")
    if donors and (not own or rng.random() < 0.2):
        own = rng.choice(donors)[:-4]
        width = len(sections.get("R", bytes(8)))
        sections["G"] = bytes([10]) + sections.get("R", bytes(width)) + bytes(2)
    elif own:
        own = mutate(own + b"ZysL", rng, donors)[:-4]
    return replace(parts, header=pack_sections({**sections, "Y": own}))


def _change_packing(parts: Parts, rng: random.Random, donors: Sequence[bytes], change: Change) -> Parts:
    """Another step of a packed field, or one of a field that is not packed."""
    sections = _sections_of(parts)
    own = sections.get("Q", b"")
    if donors and rng.random() < 0.3:
        own = _sections_of(_donor(rng, donors)).get("Q", own)
    if own and rng.random() < 0.5:
        own = change(own)
    elif rng.random() < 0.8:
        numbers = [rng.choice((own, 1, -1)) for own in (0.0, 1.0, 1.0)] if rng.random() < 0.3 else None
        number = bytearray()
        put_varint(number, rng.choice((0, 0, 1, 3, 100, *_HUGE)))
        own = struct.pack("<3d", *(numbers or rng.choices(_NUMBERS, k=3))) + bytes(number)
    else:
        sections.pop("Q", None)
        return replace(parts, header=pack_sections(sections))
    return replace(parts, header=pack_sections({**sections, "Q": own}))


def _change_plan(parts: Parts, rng: random.Random, donors: Sequence[bytes], change: Change) -> Parts:
    """The plan of another family, of another frame, or another plan."""
    sections = _sections_of(parts)
    plan = sections.get("P", b"")
    if donors and rng.random() < 0.5:
        plan = _sections_of(_donor(rng, donors)).get("P", b"")
    elif rng.random() < 0.5:
        plan = plan[:1] + rng.randbytes(rng.choice((1, 2, 5, 20)))
    else:
        plan = plan[:1] + change(plan[1:])
    if rng.random() < 0.3:
        plan = bytes([rng.randrange(len(FAMILIES))]) + plan[1:]
    return replace(parts, header=pack_sections({**sections, "P": plan}))


def _change_index(parts: Parts, rng: random.Random, _donors: Sequence[bytes], change: Change) -> Parts:
    """Sections of the index; how large the tiles' records are is put right."""
    error = struct.pack("<d", rng.choice(_NUMBERS))
    sections = {**parts.index, rng.choice("eeexX"): error if rng.random() < 0.8 else change(error)}
    return replace(parts, index=sections)


def _change_tiles(parts: Parts, rng: random.Random, donors: Sequence[bytes], _change: Change) -> Parts:
    """Tiles left out, doubled, out of order, or another frame's."""
    tiles = list(parts.tiles)
    others = list(_donor(rng, donors).tiles) if donors else tiles
    if others and tiles and rng.random() < 0.7:
        tiles[rng.randrange(len(tiles))] = rng.choice(others)
    elif rng.random() < 0.5:
        tiles = tiles[: rng.randrange(len(tiles) + 1)]
    else:
        tiles = rng.sample(tiles + others, len(tiles + others))
    return replace(parts, tiles=tuple(tiles))


def _change_payload(parts: Parts, rng: random.Random, donors: Sequence[bytes], change: Change) -> Parts:
    """The payload of a tile, one of its parts, or one of the parts of its codes."""
    if not parts.tiles:
        return parts
    number = rng.randrange(len(parts.tiles))
    tile = parts.tiles[number]
    payload = change(tile.payload)
    try:
        if "E" in _sections_of(parts) and rng.random() < 0.9:
            payload = _changed_marks(tile.payload, rng, donors, change)
        elif rng.random() < 0.8:
            payload = _changed_part(Payload.of(tile.payload), rng, donors, change).to_bytes()
    except lz.DecodeError:
        pass
    tiles = (*parts.tiles[:number], replace(tile, payload=payload), *parts.tiles[number + 1 :])
    return replace(parts, tiles=tiles)


_WAYS = [_change_header, _change_section, _change_shape, _change_bound, _change_plan, _change_index]
_WAYS += [_change_guide, _change_latents, _change_base, _change_packing]
_WAYS += [_change_tiles, *[_change_payload] * 10]


# Parts of a payload


def _changed_marks(payload: bytes, rng: random.Random, donors: Sequence[bytes], change: Change) -> bytes:
    """The marks of an enhanced tile, or the plain tile behind them."""
    part, plain = split(payload)
    if rng.random() < 0.3:
        return join(part, _changed_part(Payload.of(plain), rng, donors, change).to_bytes())
    if rng.random() < 0.1:
        part = part._replace(content=None if part.content is not None else rng.getrandbits(32))
    marks = _changed_codes(part.marks, rng, change) if part.marks else rng.randbytes(rng.choice((0, 9, 40)))
    return join(part._replace(marks=marks), plain)


def _changed_part(payload: Payload, rng: random.Random, donors: Sequence[bytes], change: Change) -> Payload:
    if rng.random() < (0.4 if payload.flags & (MASKED | LEVELS) else 0.05):
        flag = MASKED if payload.flags & MASKED or rng.random() < 0.5 else LEVELS
        if rng.random() < 0.2:
            return replace(payload, flags=payload.flags ^ flag)
        mask, levels = (_changed_array(some, rng, change) for some in (payload.mask, payload.levels))
        return replace(payload, flags=payload.flags | flag, mask=mask, levels=levels)
    if payload.flags & LEVELS:
        return replace(payload, codes=change(payload.codes))
    if payload.flags & LOSSLESS:
        if rng.random() < 0.2:
            return replace(payload, flags=0, codes=_random_codes(rng).to_bytes())
        return replace(payload, codes=_changed_array(payload.codes, rng, change))
    if payload.flags & MARGINS and rng.random() < 0.6:  # before the codes
        return replace(payload, codes=change(payload.codes[:40]) + payload.codes[40:])
    if rng.random() < 0.6:
        return replace(payload, codes=_changed_codes(payload.codes, rng, change))
    part = rng.choice((SPECIAL, OUTLIERS, SIGNED, LOSSLESS, MARGINS))
    if part == LOSSLESS:
        return replace(payload, flags=LOSSLESS)
    if payload.flags & part and rng.random() < 0.2:
        return replace(payload, flags=payload.flags & ~part)
    payload = replace(payload, flags=payload.flags | part)
    if part == SPECIAL:
        raw_count = payload.raw_count if rng.random() < 0.6 else rng.choice((0, 1, 2, 30, *_HUGE))
        classes, raw = (_changed_array(some, rng, change) for some in (payload.classes, payload.raw))
        return replace(payload, classes=classes, raw_count=raw_count, raw=raw)
    if part == MARGINS:
        return replace(payload, codes=_random_margins(rng) + payload.codes)
    if part == SIGNED:
        return replace(payload, signs=_changed_array(payload.signs, rng, change))
    if rng.random() < 0.5:
        count, width = rng.choice((0, 1, 2, 5, 30, 300)), rng.choice((4, 8))
        with np.errstate(over="ignore"):
            values = np.array([rng.choice(_NUMBERS) for _ in range(count)]).astype(f"<f{width}")
        return replace(payload, outlier_count=count, outliers=b"\0" + values.tobytes())
    count = payload.outlier_count if rng.random() < 0.6 else rng.choice((0, 1, 7, *_HUGE))
    return replace(payload, outlier_count=count, outliers=_changed_array(payload.outliers, rng, change))


def _random_margins(rng: random.Random) -> bytes:
    out, width = bytearray(), rng.choice((4, 8))
    count = rng.choice((0, 1, 1, 2, 3, 6, *_HUGE))
    put_varint(out, count)
    for _ in range(min(count, 6)):
        put_varint(out, rng.choice((0, 1, 2, 3, 4, 5, 7, 64, *_HUGE)))
        put_varint(out, rng.choice((0, *_LENGTHS, *_HUGE)))
        with np.errstate(over="ignore"):
            out += np.array(rng.choice(_NUMBERS)).astype(f"<f{width}").tobytes()
    return bytes(out)


def _changed_array(packed: bytes, rng: random.Random, change: Change) -> bytes:
    """A lossless array; where zstd made it, what comes out of that."""
    way, axes = packed[:1], packed[1:2] if packed[:1] == b"\3" else b""
    body = packed[1 + len(axes) :]
    if way == b"\0" or rng.random() < 0.3:
        return way + change(packed[1:])
    try:
        inside = zstandard.ZstdDecompressor().decompressobj().decompress(body)
    except zstandard.ZstdError:
        return change(packed)
    size = len(inside)
    if rng.random() < 0.8:
        inside = change(inside)
    if rng.random() < 0.8:
        inside = inside[:size].ljust(size, b"\0")
    if rng.random() < 0.3:
        way = bytes([rng.randrange(4)])
        axes = bytes([rng.choice((0, 1, 2, 3, 4, 7, 255))]) if way == b"\3" else b""
    if way == b"\0":
        return way + inside
    return way + axes + zstandard.ZstdCompressor(write_content_size=False).compress(inside)


def _changed_codes(data: bytes, rng: random.Random, change: Change) -> bytes:
    """A stream of codes, mixed or not; or another one, made up, that any bytes behind it make sense for."""
    if rng.random() < 0.1:
        return rng.choice((b"\0", b"\1")) + rng.randbytes(rng.choice((0, 1, 9, 200))).rstrip(b"\0")
    if rng.random() < 0.3:
        return _random_codes(rng).to_bytes()
    if data[:1] in (b"\0", b"\1"):
        kind = data[:1] if rng.random() < 0.9 else rng.choice((b"\0", b"\1"))
        return kind + change(data[1:]).rstrip(b"\0")
    codes = Codes.of(data)
    part = rng.choice(("model", "extra", "states", "words", "words", "lanes"))
    if part == "lanes":
        return replace(codes, states=rng.randbytes(4 * rng.choice((1, 8, 8, 9)))).to_bytes()
    changed = change(getattr(codes, part))
    if part == "states":
        changed = changed[: len(changed) & -4]
    if part == "words":
        changed = changed[: len(changed) & -2]
    codes = replace(codes, **{part: changed})
    if part == "extra":
        bits = 8 * len(changed) - rng.randrange(8) if changed else 0
        codes = replace(codes, extra_bits=bits if rng.random() < 0.8 else rng.choice(_HUGE))
    return codes.to_bytes()


def _random_codes(rng: random.Random) -> Codes:
    """A sound model that lists all kinds of tokens, and noise for it to decode."""
    contexts, resolution = rng.choice((1, 1, 2, 5, 64)), rng.choice((0, 2, 4))
    levels = np.zeros((contexts, 256), np.int64)
    for row in levels:
        for token in rng.choices(_TOKENS, k=rng.randint(1, 4)):
            row[token] = rng.randint(1, min(12 << resolution, 200))
        if rng.random() < 0.7:
            row[0] = 12 << resolution
        else:
            row[rng.randrange(256)] = 1
    cells = GROUP_CELLS * rng.choice((1, 6, 8))
    context_of_cell = np.array([rng.randrange(contexts) for _ in range(cells)], np.uint8)
    used = np.array([rng.random() < 0.9 for _ in range(cells)])
    words = tables.room(cells, contexts)
    model = to_bytes(words, tables.put_model(words, context_of_cell, used, GROUP_CELLS, levels, resolution))
    states = rng.randbytes(4 * rng.choice((1, 8)))
    extra = rng.randbytes(rng.choice((0, 0, 3, 50, 500)))
    return Codes(model, 8 * len(extra), extra, states, rng.randbytes(2 * rng.choice((0, 1, 10, 100, 1000))))


# Whole frames


def _mutate_archive(data: bytes, rng: random.Random, donors: Sequence[bytes], change: Change) -> bytes:
    frames = {name: bytes(part) for name, part in archive.unpack_archive(data).items()}
    names = list(frames)
    if names and rng.random() < 0.8:
        name = rng.choice(names)
        frames[name] = mutate(frames[name], rng, donors, change)
    else:
        frames = dict(list(frames.items())[-2:])
        frames[rng.choice(("", "a", "\N{RIGHTWARDS ARROW}", "x" * 300))] = rng.choice((b"", data, *donors))
    return archive.pack_archive(frames)


def _with_right_contents(parts: Parts) -> Parts:
    """With checksums of what the tiles decode to, if they do: so that it comes out of a decoder."""
    try:
        header = Header.from_bytes(parts.header)
        if math.prod(header.shape) > MOST_VALUES or header.tile_count() != len(parts.tiles):
            return parts
        guides = header.raw_guides
        plan = None if header.family == "lossless" else read_plan(header.family, header.plan, guides)
        known = header.guided is not None and not header.guided.references
        guide = guide_of_frame(header.guided, [], header.shape, header.native) if known else None
        tiles = []
        for tile, where in zip(parts.tiles, header.tile_slices(), strict=True):
            shape = tuple(s.stop - s.start for s in where)
            own = header.enhancer
            enhancer = Enhancer.from_bytes(own) if isinstance(own, bytes) else None
            part, plain = (Part(None, b""), tile.payload) if own is None else split(tile.payload)
            told = NO_GUIDE if guide is None else guide.guiding(where, header.specials)
            values = decode_tile(plain, shape, header, plan, None, told).values
            if enhancer is not None:
                values = enhance(values, part, header, enhancer)
            tiles.append(Tile(tile.payload, content_checksum(values)))
    except lz.DecodeError:
        return parts
    return replace(parts, tiles=tuple(tiles))


def _sections_of(parts: Parts) -> dict[str, bytes]:
    """Those of the header; none where they are not sound."""
    try:
        sections = unpack_sections(parts.header, "AOBRSMLGNZEQP")
    except lz.DecodeError:
        return {}
    return {tag: payload for tag, payload in sections.items() if tag.isascii()}


def _donor(rng: random.Random, donors: Sequence[bytes]) -> Parts:
    try:
        return Parts.of(rng.choice(donors))
    except lz.DecodeError:
        return Parts(b"", (), {}, 0)
