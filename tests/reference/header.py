"""Header: section 2 of FORMAT.md."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product
from math import floor

import numpy as np

from reference.readers import Bytes, require

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
class Packing:
    """Section 5.4."""

    offset: np.float64
    numerator: np.float64
    denominator: np.float64
    most: int
    first: np.float64
    last: np.float64

    @classmethod
    def read(cls, data: bytes, span: np.ndarray) -> Packing:
        reader = Bytes(data)
        offset, numerator, denominator = map(np.float64, reader.numbers("ddd"))
        most = reader.varint()
        require(np.isfinite(offset) and most <= 2**20 and not reader.rest(), "packing")
        require(0 < numerator < np.inf and 0 < denominator < np.inf, "step")
        with np.errstate(all="ignore"):
            ends = [np.rint((np.float64(end) - offset) * denominator / numerator) for end in span]
        require(all(abs(end) <= 2.0**52 for end in ends), "numbers")
        return cls(offset, numerator, denominator, most, ends[0], ends[1] - ends[0])

    def values(self, decoded: np.ndarray, span: np.ndarray) -> np.ndarray:
        numbers = self.first + np.minimum(np.maximum(np.rint(decoded.astype("<f8")), 0), self.last)
        with np.errstate(over="ignore"):
            values = (self.offset + numbers * self.numerator / self.denominator).astype(span.dtype)
        return np.minimum(np.maximum(values + span.dtype.type(0), span[0]), span[1])


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
    coded: np.ndarray | None = None  # low, high of what is coded, if not those of the values
    packing: Packing | None = None
    origin: tuple[int, ...] | None = None

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
        span = np.frombuffer(found.get("R", b""), part if "Q" in found else dtype)
        packing, coded = None, None
        if "Q" in found:
            require(found["B"][0] < 3 and not found.keys() & {"L", "G", "E", "K"}, "a packed field")
            packing = Packing.read(found["Q"], span)
            dtype = np.dtype("<f4" if packing.last <= 2**16 else "<f8")
            coded = np.array([0, packing.last], dtype)
        require(not pointwise or max(np.abs(span), default=0) <= 1100, "range of logarithms")
        levels, reader = [], Bytes(found.get("L", b""))
        while reader.at < len(reader.data):
            (level,) = reader.numbers("d")
            require(0 <= level <= eps, "level")
            levels.append((level, reader.sized().data))
        origin = None
        if "O" in found:
            reader = Bytes(found["O"])
            origin = tuple(reader.varint() for _ in range(axes))
            require(any(origin) and not reader.rest(), "origin")
            allowed = [
                start == 0 or start < min(n, t) for start, n, t in zip(origin, shape, tile, strict=True)
            ]
            require(all(allowed), "origin")
        own = (found["P"][0], found["P"][1:])
        fields = (type_, dtype, pointwise, shape, tile, eps, span, specials, found.get("M"), tuple(levels))
        return cls(*fields, *own, found.get("E"), found["B"][0] == 3, coded, packing, origin)

    @property
    def part(self) -> np.dtype:
        return part_of(self.type)

    def coded_eps(self) -> float:
        """What sections 3 to 6 call eps."""
        if self.packing is not None:
            return self.packing.most + 0.5 - 2.0**-11
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
        cuts = []
        for axis, (n, size) in enumerate(zip(self.shape, self.tile, strict=True)):
            first = self.origin[axis] if self.origin else 0
            starts = [0] * (first > 0) + list(range(first, n, size))
            cuts.append([slice(a, b) for a, b in pairwise([*starts, n])])
        yield from product(*cuts)


DOUBLES = ("<f8", "<i4", "<u4", "<i8", "<u8")


def part_of(type_: np.dtype) -> np.dtype:
    """The little-endian type of the parts of values."""
    if type_.kind == "c":
        return np.dtype(f"<f{type_.itemsize // 2}")
    return np.dtype("u1") if type_.kind == "b" else type_.newbyteorder("<")


def floored(exact: Fraction) -> float:
    near = float(exact)
    return near if Fraction(near) <= exact else float(np.nextafter(near, -np.inf))
