"""Frame, header, tile payload, lossless array, archive: sections 1, 2, 5, 7 and 8 of FORMAT.md."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import floor, prod
from typing import NamedTuple

import numpy as np
import xxhash
import zstandard

from reference import networks
from reference.codes import OUTLIER_MAGNITUDE, Codes, context_cell
from reference.enhancers import enhanced
from reference.lattice import lattice
from reference.mixed import MixedCodes
from reference.passes import Known, fold, multigrid, raster
from reference.quantizer import Quantizer
from reference.readers import Bits, Bytes, require
from reference.wavelet import wavelet

# The points of a tile in their order, and how many groups of context cells they have
FAMILIES = {1: (multigrid, 6), 2: (raster, 1), 3: (wavelet, 8)}
LATTICE = 4

# 1. Frame


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


def decode_frame(
    data: bytes, references: Sequence[np.ndarray] = (), plain: bool = False, model: bytes = b""
) -> np.ndarray:
    """``plain``: without its enhancer."""
    reader = Bytes(data)
    found = opening(reader, b"LsyZ", 2, "ABRSMLGZEKP")
    header = Header.read(found)
    if "K" in found:
        from reference.models import read_enhancers, read_model

        place = Bytes(found["K"])
        (number,), which = place.numbers("Q"), place.varint()
        require(
            number == read_model(model)[0] and "E" not in found and not place.rest(), "an enhancer's model"
        )
        header = replace(header, enhancer=read_enhancers(model)[which][1])
    guides = None
    if "G" in found:
        guides = Guides(found["G"], header, references, found.get("Z"))
        header = replace(header, coded=guides.span)
    index_size, index_crc, magic = struct.unpack("<II4s", data[-12:])
    index = data[len(data) - 12 - index_size : -12]
    require(magic == b"ZysL" and zlib.crc32(index + data[-12:-8]) == index_crc, "trailer")
    sizes = Bytes(sections(index)["T"])

    out = np.empty(header.shape, header.type)
    masks = np.zeros(header.shape, bool)
    for where in header.tiles():
        start, size = reader.at, sizes.varint()
        payload_size = reader.varint()
        (content,) = reader.numbers("I")
        payload = reader.take(payload_size)
        reader.check_crc(start)
        require(reader.at - start == size, "size of a tile record")
        marks = b""
        if header.enhancer is not None:
            inside = Bytes(payload)
            marks, payload = inside.sized().rest(), inside.rest()
        told = NOTHING if guides is None else guides.of(where)
        tile, mask = decode_tile(payload, header, out[where].shape, told)
        if marks and plain:
            content = struct.unpack("<I", marks[:4])[0]
        elif marks:
            tile = enhanced(tile, mask, header, header.enhancer, marks[4:], told)
        checked = tile.tobytes() + (b"" if header.fill is None else mask.tobytes())
        require(xxhash.xxh3_64_intdigest(checked) % 2**32 == content, "not the values that were checked")
        out[where], masks[where] = tile, mask
    require(reader.rest() == index + data[-12:] and sizes.rest() == b"", "tiles do not fill the frame")
    return out if header.fill is None else np.ma.MaskedArray(out, masks)


# 2. Header


TYPES = (
    *(
        "<f4",
        "<f8",
        ">f4",
        ">f8",
        "<f2",
        ">f2",
        "|b1",
        "|i1",
        "|u1",
        "<i2",
        ">i2",
        "<u2",
        ">u2",
        "<i4",
        ">i4",
    ),
    *("<u4", ">u4", "<i8", ">i8", "<u8", ">u8", "<c8", ">c8", "<c16", ">c16"),
)


@dataclass
class Header:
    type: np.dtype  # of the values, in their own byte order
    dtype: np.dtype  # of what is coded, little-endian
    pointwise: bool
    shape: tuple[int, ...]
    tile: tuple[int, ...]
    eps: float
    span: np.ndarray  # low, high
    specials: np.ndarray  # bit patterns
    fill: bytes | None
    levels: tuple[tuple[float, bytes], ...]
    family: int
    plan: bytes
    enhancer: bytes | None = None
    is_psnr: bool = False
    coded: np.ndarray | None = None  # low, high of the differences from a guide

    @classmethod
    def read(cls, found: dict[str, bytes]) -> Header:
        array = Bytes(found["A"])
        kind, axes = array.numbers("BB")
        shape = tuple(array.varint() for _ in range(axes))
        tile = tuple(array.varint() for _ in range(axes))
        type_, pointwise = np.dtype(TYPES[kind]), found["B"][0] == 4
        part = part_of(type_)
        dtype = np.dtype("<f8" if pointwise or part.str in DOUBLES else "<f4")
        eps = 0.0 if found["B"][0] == 2 or type_.kind == "b" else struct.unpack("<d", found["B"][-8:])[0]
        specials = np.frombuffer(found.get("S", b""), f"<u{part.itemsize}")
        span = np.frombuffer(found.get("R", b""), dtype)
        require(not pointwise or max(np.abs(span), default=0) <= 1100, "range of logarithms")
        levels, reader = [], Bytes(found.get("L", b""))
        while reader.at < len(reader.data):
            (level,) = reader.numbers("d")
            require(0 <= level <= eps, "level")
            levels.append((level, reader.sized().data))
        own = (found["P"][0], found["P"][1:])
        fields = (type_, dtype, pointwise, shape, tile, eps, span, specials, found.get("M"), tuple(levels))
        return cls(*fields, *own, found.get("E"), found["B"][0] == 3)

    @property
    def part(self) -> np.dtype:
        return part_of(self.type)

    def coded_eps(self) -> float:
        """What sections 3 to 6 call eps."""
        if self.part.kind in "iu":
            return floored(floor(self.eps) + Fraction(1, 2) - Fraction(1, 2**11))
        if self.part.itemsize == 2 and not self.pointwise:
            largest = float(np.abs(self.span).max(initial=0))
            n = max(floor(math.log2(largest)), -14) if largest else -14
            rest = Fraction(self.eps) - Fraction(2) ** (n - 11)
            return floored(max(rest, Fraction(0)) * (1 - Fraction(1, 2**20)))
        if self.coded is not None:
            largest = self.dtype.type(max(np.abs(self.span).max(), np.abs(self.coded).max()))
            gap = Fraction(float(np.nextafter(largest, self.dtype.type(np.inf)))) - Fraction(float(largest))
            return floored(max(Fraction(self.eps) - Fraction(3, 2) * gap, Fraction(0)))
        return self.eps

    def tiles(self) -> Iterator[tuple[slice, ...]]:
        for start in product(*(range(0, n, size) for n, size in zip(self.shape, self.tile, strict=True))):
            yield tuple(slice(a, a + size) for a, size in zip(start, self.tile, strict=True))


DOUBLES = ("<f8", "<i4", "<u4", "<i8", "<u8")


def part_of(type_: np.dtype) -> np.dtype:
    """The little-endian type of the parts of values."""
    if type_.kind == "c":
        return np.dtype(f"<f{type_.itemsize // 2}")
    return np.dtype("u1") if type_.kind == "b" else type_.newbyteorder("<")


def floored(exact: Fraction) -> float:
    near = float(exact)
    return near if Fraction(near) <= exact else float(np.nextafter(near, -np.inf))


# 5. Tile payload


def decode_tile(
    payload: bytes, header: Header, shape: tuple[int, ...], told: Told
) -> tuple[np.ndarray, np.ndarray]:
    """(values, mask)"""
    reader, flags = Bytes(payload[1:]), payload[0]
    mask = np.zeros(shape, bool)
    if flags & 16:
        require(header.fill is not None, "mask")
        mask = lossless_array(reader.sized().data, np.uint8, shape).astype(bool)
    inner = (2, *shape) if header.type.kind == "c" else shape
    if flags & ~16 == 32:
        require(header.levels != (), "levels")
        levels = np.broadcast_to(lossless_array(reader.sized().data, np.uint8, shape), inner)
        parts = np.zeros(inner, header.part)
        for level in np.unique(levels):
            eps, plan = header.levels[level]
            here = replace(header, eps=eps, family=plan[0], plan=plan[1:], levels=())
            some = decode_parts(reader.sized().data, here, inner, told)
            parts[levels == level] = some[levels == level]
        require(reader.rest() == b"", "bytes behind the levels")
    else:
        require(header.levels == (), "levels")
        parts = decode_parts(bytes([flags & ~16]) + reader.rest(), header, inner, told)
    values = parts.view(bool) if header.type.kind == "b" else parts
    if header.type.kind == "c":
        values = np.empty(shape, header.type.newbyteorder("<"))
        values.real, values.imag = parts
    if header.fill is not None:
        values = values.copy()
        values[mask] = np.frombuffer(header.fill, values.dtype)[0]
    return values, mask


def decode_parts(payload: bytes, header: Header, shape: tuple[int, ...], told: Told) -> np.ndarray:
    reader, size, bits_dtype = Bytes(payload), prod(shape), f"<u{header.part.itemsize}"
    (flags,) = reader.numbers("B")
    require(flags in (0, 1, 2, 4, 6, 8, 10, 12, 14) and (flags < 8 or header.pointwise), "flags")
    if flags & 1:
        return lossless_array(reader.rest(), header.part, shape)
    classes, own = np.zeros(size, np.uint8), np.empty(0, bits_dtype)
    if flags & 2:
        classes = lossless_array(reader.sized().data, np.uint8, (size,))
        classes = classes if told.classes is None else classes + told.classes
        if count := reader.varint():
            own = lossless_array(reader.sized().data, bits_dtype, (count,))
    negative = np.zeros(size, bool)
    if flags & 8:
        packed = lossless_array(reader.sized().data, np.uint8, (-(-size // 8),))
        negative = np.array([packed[i // 8] >> (7 - i % 8) & 1 for i in range(size)], bool)
    outliers = np.empty(0, header.dtype)
    if flags & 4:
        count = reader.varint()
        outliers = lossless_array(reader.sized().data, header.dtype, (count,))

    values = decode_values(reader.rest(), outliers, header, shape, told.raw).reshape(-1)
    if told.subtracted is not None:
        values = np.minimum(np.maximum(values + told.subtracted, header.span[0]), header.span[1])
    if header.pointwise:
        magnitudes = [power(x) for x in values]
        values = np.where(negative, np.negative(magnitudes), magnitudes)
    if header.part.kind != "f":
        values = np.minimum(np.maximum(np.rint(values), header.span[0]), header.span[1])
    values = values.astype(header.part)
    patterns = values.view(bits_dtype)
    for k, pattern in enumerate(header.specials, start=1):
        patterns[classes == k] = pattern
    patterns[classes == 255] = own
    return patterns.view(header.part).reshape(shape)


def decode_values(
    stream: bytes,
    outliers: np.ndarray,
    header: Header,
    shape: tuple[int, ...],
    raw: np.ndarray | None,
) -> np.ndarray:
    span = header.span if header.coded is None else header.coded
    quantizer, left = Quantizer(header.dtype, header.coded_eps(), *span), iter(outliers)
    if header.family == LATTICE:
        codes = Codes(stream, 1)
        with np.errstate(all="ignore"):
            values = lattice(codes, left, header.plan, shape, quantizer)
        require(codes.used_up() and next(left, None) is None, "more codes or outliers than values")
        return values
    points_of, groups = FAMILIES[header.family]
    mixed = stream[:1] == b"\0"
    codes, left = MixedCodes(stream[1:]) if mixed else Codes(stream, groups), iter(outliers)
    known = Known(fold(shape, Bits(header.plan).take(2)), header.dtype, quantizer, mixed, raw)
    batch, some = None, True
    with np.errstate(all="ignore"):
        for step in points_of(known, header.plan):
            if isinstance(codes, MixedCodes):
                code = codes.next(step, known)
            else:
                if step.batch != batch:
                    batch, some = step.batch, codes.begin_batch(step.group)
                code = codes.next(context_cell(step.group, step.total, step.weight)) if some else 0
            if code is None:
                known.add(step.point, next(left), OUTLIER_MAGNITUDE)
            else:
                known.add(step.point, known.quantizer.reconstruct(step.prediction, code), abs(code))
    require(codes.used_up() and next(left, None) is None, "more codes or outliers than values")
    return known.values


def power(x: np.floating) -> float:
    """2 ** x."""
    whole = np.rint(x)
    t = (x - whole) * np.float64(math.log(2))
    total = np.float64(0)
    for k in range(14, -1, -1):
        total = total * t + np.float64(1 / math.factorial(k))
    return math.ldexp(float(total), int(whole))


# 5.1 Guides


class Told(NamedTuple):
    """What references tell of a tile."""

    subtracted: np.ndarray | None = None
    raw: np.ndarray | None = None  # (guides, values)
    classes: np.ndarray | None = None


NOTHING = Told()


class Guides:
    def __init__(
        self, data: bytes, header: Header, references: Sequence[np.ndarray], latents: bytes | None
    ) -> None:
        reader, self.header = Bytes(data), header
        (self.flags,) = reader.numbers("B")
        require(self.flags in (0, 1, 3, 4, 5, 7), "flags of guides")
        self.span = (
            np.frombuffer(reader.take(2 * header.dtype.itemsize), header.dtype) if self.flags & 2 else None
        )
        known = {hashed(array): array for array in references}
        self.references = [known[number] for number in reader.numbers("Q" * reader.numbers("B")[0])]
        self.mask = self.references[reader.numbers("B")[0]] if self.flags & 4 else None
        raw = [RawGuide.read(reader) for _ in range(reader.numbers("B")[0])]
        self.made = None
        require(latents is None or self.flags & 1, "latents and no network")
        if self.flags & 1:
            with np.errstate(over="ignore"):
                seen = [at_points(reference, header.shape) for reference in self.references]
                channels = [] if latents is None else networks.channels(*grids(latents), header.shape)
                made = networks.guide(networks.read(reader.rest()), seen, channels, header.shape)
                self.made = made.astype(header.dtype)
        require(reader.rest() == b"", "bytes behind the guides")
        self.raw = [one.values(self.source(one.reference), header) for one in raw]

    def source(self, reference: int) -> np.ndarray:
        if reference == 127:
            return self.made
        return at_points(self.references[reference], self.header.shape)

    def of(self, where: tuple[slice, ...]) -> Told:
        header, subtracted, classes = self.header, None, None
        if self.flags & 2:
            subtracted = np.clip(self.made[where].reshape(-1), *header.span)
        if self.mask is not None:
            same = self.mask.shape == header.shape and self.mask.dtype.newbyteorder("<") == header.dtype
            values = self.mask[where].astype(header.dtype) if same else np.zeros(0, header.dtype)
            bits = values.reshape(-1).view(f"<u{header.dtype.itemsize}")
            classes = np.zeros(prod(s.stop - s.start for s in where) if not same else bits.size, np.uint8)
            for k, pattern in enumerate(header.specials if same else (), start=1):
                classes[bits == pattern] = k
        raw = np.array([guide[where].reshape(-1) for guide in self.raw]) if self.raw else None
        return Told(subtracted, raw, classes)


@dataclass
class RawGuide:
    reference: int
    curved: bool
    centre: float
    inverse: int
    limit: int
    gain: int

    @classmethod
    def read(cls, reader: Bytes) -> RawGuide:
        (first,) = reader.numbers("B")
        (centre,) = struct.unpack("<d", bytes(4) + reader.take(4))
        folded = [reader.varint() for _ in range(3 if first & 128 else 2)]
        numbers = [-((n + 1) >> 1) if n & 1 else n >> 1 for n in folded]
        require(max(map(abs, numbers)) <= 2200 and math.isfinite(centre), "a raw guide")
        return cls(first & 127, bool(first & 128), centre, *numbers, *([] if first & 128 else [0]))

    def values(self, source: np.ndarray, header: Header) -> np.ndarray:
        out = np.zeros(header.shape, header.dtype)
        with np.errstate(all="ignore"):
            for point in np.ndindex(*header.shape):
                t = np.ldexp(np.float64(source[point]) - self.centre, self.inverse)
                t = float(t) if abs(t) <= 2.0 ** min(self.limit, 1000) else 0.0
                if self.curved:
                    t = float(np.ldexp(math.copysign(networks.log2(1.0 + abs(t)), t), self.gain))
                rounded = header.dtype.type(t)
                out[point] = rounded if np.isfinite(rounded) else 0
        return out


def grids(data: bytes) -> tuple[np.ndarray, bytes]:
    """(latents (channels, separate, z, y, x), their strides)"""
    return decode_frame(data[3:]), data[:3]


def at_points(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Averages of a staggered reference."""
    with np.errstate(all="ignore"):
        for axis, n in enumerate(shape):
            rows = np.moveaxis(values, axis, 0)
            if len(rows) == n - 1:
                rows = rows[np.clip(np.arange(-1, n), 0, n - 2)]
            if len(rows) == n + 1:
                rows = (rows[:-1] + rows[1:]) * rows.dtype.type(0.5)
            values = np.moveaxis(rows, 0, axis)
    require(values.shape == shape, "shape of a reference")
    return values


def hashed(array: np.ndarray) -> int:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return xxhash.xxh3_64_intdigest(little.tobytes())


# 7. Lossless array


def lossless_array(data: bytes, dtype: np.typing.DTypeLike, shape: tuple[int, ...]) -> np.ndarray:
    way, body, dtype, count = data[0], data[1:], np.dtype(dtype), prod(shape)
    if way == 3:
        axes, body = body[0], body[1:]
        require(0 < axes < 1 << len(shape), "axes of a lossless array")
    if way > 0:
        body = zstandard.ZstdDecompressor().decompress(body, max_output_size=count * dtype.itemsize)
    require(way <= 3 and len(body) == count * dtype.itemsize, "lossless array")
    if way >= 2:
        body = np.frombuffer(body, np.uint8).reshape(dtype.itemsize, count).T.tobytes()
    items = np.frombuffer(body, f"<u{dtype.itemsize}").astype(object).reshape(shape)
    if way == 3:
        half = 1 << (8 * dtype.itemsize - 1)
        items = np.where(items % 2 == 1, -(items + 1) // 2, items // 2)
        for axis in range(len(shape)):
            if axes >> (len(shape) - 1 - axis) & 1:
                items = np.cumsum(items, axis=axis)
        items = items % (2 * half)
        items = np.where(items >= half, items - half, 2 * half - 1 - items)
    return items.astype(f"<u{dtype.itemsize}").view(dtype.newbyteorder("<"))


# 8. Archive


def decode_archive(data: bytes) -> dict[str, np.ndarray]:
    reader = Bytes(data)
    found = opening(reader, b"LsyA", 1, "NG")
    index, frames = Bytes(found["N"]), {}
    while index.at < len(index.data):
        name = index.sized().data.decode()
        frames[name] = reader.take(index.varint())
    require(reader.rest() == b"", "bytes after the last frame")
    names, needs = list(frames), Bytes(found.get("G", bytes(len(frames))))
    graph = {name: [names[needs.varint()] for _ in range(needs.varint())] for name in names}
    fields: dict[str, np.ndarray] = {}
    while len(fields) < len(frames):
        name = next(n for n in names if n not in fields and all(other in fields for other in graph[n]))
        fields[name] = decode_frame(frames[name], [np.ma.getdata(fields[other]) for other in graph[name]])
    return {name: fields[name] for name in names}
