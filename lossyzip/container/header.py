"""What a frame's header says of the field: type, shape, tiles, bound, range, specials, levels, plan.

Read and write side by side. Knows what the plan's family is called, not what it does.
docs/FORMAT.md, "Header".
"""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from lossyzip.bound import Bound, round_down
from lossyzip.container.dtypes import DTYPES, are_of, coded_as, pack_range, part_of, read_range
from lossyzip.container.enhanced import read_enhancer
from lossyzip.container.frame import pack_sections, unpack_sections
from lossyzip.container.guided import Guided, pack_guided, read_guided
from lossyzip.container.in_model import InModel, pack_in_model
from lossyzip.container.packing import Packing, pack_packing, read_packing
from lossyzip.entropy.bits import get_varint, put_varint
from lossyzip.errors import CorruptError, UnsupportedFormatError

FAMILIES = ("lossless", "multigrid", "raster", "wavelet", "lattice")
MOST_AXES = 32
MOST_SPECIALS = 16
MOST_LEVELS = 16
_INTEGER_SLACK = Fraction(1, 2**11)  # below the half up to which an integer is found by rounding
_LEAST_NORMAL_HALF, _HALF_BITS = 2.0**-14, 11  # of float16: smaller values are as far apart; bits a value has
_ROUNDED_TWICE = Fraction(3, 2)  # gaps of floats, that a difference from a guide and the sum with it lose
_HALF_SLACK = Fraction(1, 2**20)  # relative, more than differences in float32 are off
_KINDS = ("absolute", "relative", "lossless", "psnr", "pointwise_relative")
LARGEST_LOGARITHM = 1100.0  # in magnitude, of a float64, subnormal ones too
MOST_TILE_VALUES = 1 << 22  # a decoder holds a tile at a time, whatever the header says
_MOST_VALUES = 1 << 59  # so that eight bytes each can be counted in 63 bits


class Level(NamedTuple):
    """A tolerance that some values have, and how they are coded."""

    eps: float
    family: str = "lossless"
    plan: bytes = b""


@dataclass(frozen=True)
class Header:
    """All that every tile of a field shares.

    ``low`` and ``high`` span the valid values; decoded ones stay within. With a pointwise relative bound,
    they and ``eps`` are those of the values' logarithms (logarithms.py). ``specials`` are bit patterns
    (as unsigned integers of the width of `part`) that come back as they are. ``plan`` is the family's own.
    ``fill``: little-endian bytes of what stands at masked places; None where the field is no masked array.
    ``levels``: each value has one of them, where tolerances are not all ``eps``, which is the largest.
    ``enhancer``: of a field whose decoded values are enhanced (enhancement.py), its bytes, or where it is.
    ``packing``: of a field whose values are coded as whole numbers of steps.
    ``origin``: where along each axis the first tile of ``tile_shape`` begins, if not all at 0; what is before
    it is a tile, too.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    tile_shape: tuple[int, ...]
    bound: Bound
    eps: float
    low: float
    high: float
    specials: tuple[int, ...]
    family: str
    plan: bytes
    writer: tuple[int, ...]
    fill: bytes | None = None
    levels: tuple[Level, ...] = ()
    guided: Guided | None = None
    enhancer: bytes | InModel | None = None
    packing: Packing | None = None
    origin: tuple[int, ...] = ()

    @property
    def native(self) -> np.dtype:
        """The field's dtype in this machine's byte order."""
        return self.dtype.newbyteorder("=")

    @property
    def part(self) -> np.dtype:
        """That of the numbers a value consists of: two floats for a complex one, 0 or 1 for a bool."""
        return part_of(self.dtype)

    @property
    def pointwise(self) -> bool:
        """Whether errors are relative to each value, and logarithms are what is coded."""
        return self.bound.kind == "pointwise_relative"

    @property
    def coded(self) -> np.dtype:
        """The dtype of what is coded with loss."""
        if self.pointwise:
            return np.dtype(np.float64)
        return coded_as(self.part) if self.packing is None else self.packing.coded(self.low, self.high)

    @property
    def step(self) -> float:
        """What the values of a packed field are multiples of; 0.0 of others."""
        return 0.0 if self.packing is None else self.packing.step

    @property
    def as_they_are(self) -> bool:
        """Whether what is coded are the values themselves."""
        others = self.pointwise or self.subtracted or self.packing is not None
        return self.part == self.coded and not others

    @property
    def coded_eps(self) -> float:
        """The tolerance of what is coded; rounded to the field's dtype it is within ``eps`` then.

        0.0 where it cannot be. Integers are found by rounding even where ``eps`` is 0.
        """
        if self.packing is not None:
            return round_down(self.packing.most + Fraction(1, 2) - _INTEGER_SLACK)
        if self.part.kind in "iu":
            return round_down(math.floor(self.eps) + Fraction(1, 2) - _INTEGER_SLACK)
        if self.part.itemsize == 2 and not self.pointwise and self.eps > 0.0:
            exponent = math.frexp(max(abs(self.low), abs(self.high), _LEAST_NORMAL_HALF))[1]
            lost = Fraction(math.ldexp(1.0, exponent - _HALF_BITS)) / 2
            return round_down(max(Fraction(self.eps) - lost, Fraction(0)) * (1 - _HALF_SLACK))
        if self.guided is not None and self.guided.subtracted and self.eps > 0.0:
            ends = (self.low, self.high, self.guided.low, self.guided.high)
            gap = Fraction(float(np.spacing(self.coded.type(max(map(abs, ends))))))
            return round_down(max(Fraction(self.eps) - _ROUNDED_TWICE * gap, Fraction(0)))
        return self.eps

    @property
    def coded_span(self) -> tuple[float, float]:
        """Of what is coded."""
        if self.packing is not None:
            return 0.0, self.packing.numbers(self.low, self.high)[1]
        return (
            (self.guided.low, self.guided.high) if self.subtracted and self.guided else (self.low, self.high)
        )

    @property
    def subtracted(self) -> bool:
        """Whether a guide is subtracted from the field before it is coded."""
        return self.guided is not None and self.guided.subtracted

    @property
    def raw_guides(self) -> int:
        """How many guides taps may reach into."""
        return len(self.guided.taps) if self.guided is not None else 0

    @property
    def latent_bytes(self) -> int:
        """Of the latents that a guide's network sees."""
        return len(self.guided.latents) if self.guided is not None else 0

    @property
    def base_bytes(self) -> int:
        """Of the base that is subtracted from the field."""
        return len(self.guided.base) if self.guided is not None else 0

    @property
    def tolerance(self) -> float:
        """What errors are compared with; 0.0 where every bit must come back.

        With a PSNR bound enhanced values, which have no marks, may be off by another eps, and a rounding.
        """
        if self.pointwise and self.eps > 0.0:
            return self.bound.value
        if self.enhancer is not None and self.bound.kind == "psnr":
            return 2.0 * self.eps + float(np.spacing(self.part.type(max(-self.low, self.high))))
        return self.eps

    @property
    def fill_value(self) -> np.generic | None:
        """What stands at masked places."""
        if self.fill is None:
            return None
        value: np.generic = np.frombuffer(self.fill, self.dtype.newbyteorder("<"))[0]
        return value.astype(self.native)

    @property
    def families(self) -> tuple[str, ...]:
        """Those of the plans."""
        return tuple(dict.fromkeys(level.family for level in self.levels)) or (self.family,)

    @property
    def enhancer_kind(self) -> str:
        """ "network" or "offsets": whether it has hidden layers; "model" where it is in one; or empty."""
        if self.enhancer is None:
            return ""
        if isinstance(self.enhancer, InModel):
            return "model"
        return "network" if self.enhancer[:1] and self.enhancer[0] >> 4 & 3 else "offsets"

    def as_coded(self) -> Header:
        """That of the field that is coded in the place of this one: carrier.py."""
        both = () if self.dtype.kind != "c" else (2,)
        low, high = self.coded_span
        return replace(
            self,
            dtype=self.coded,
            shape=(*both, *self.shape),
            tile_shape=(*both, *self.tile_shape),
            eps=self.coded_eps,
            low=low,
            high=high,
            specials=(),
            fill=None,
            levels=(),
            guided=None,
            enhancer=None,
            packing=None,
            origin=(*(0 for _ in both), *self.origin) if self.origin else (),
        )

    def with_plan_of(self, as_coded: Header) -> Header:
        """This header with what was decided about that of the field that is coded in its place."""
        return replace(
            self,
            tile_shape=as_coded.tile_shape[len(as_coded.shape) - len(self.shape) :],
            eps=as_coded.eps,
            family=as_coded.family,
            plan=as_coded.plan,
        )

    @property
    def _of_range(self) -> np.dtype:
        """The dtype of ``low`` and ``high``."""
        return self.coded if self.packing is None else self.part

    def at_level(self, level: int) -> Header:
        """That of the values of one of ``levels``."""
        eps, family, plan = self.levels[level]
        return replace(self, eps=eps, family=family, plan=plan, levels=())

    def cuts(self) -> list[list[int]]:
        """Where tiles begin along each axis; nowhere, if there are none."""
        if 0 in self.shape:
            return [[] for _ in self.shape]
        origin = self.origin or (0,) * len(self.shape)
        lengths = zip(origin, self.shape, self.tile_shape, strict=True)
        return [[*([0] if start else []), *range(start, n, t)] for start, n, t in lengths]

    def tile_count(self) -> int:
        origin = self.origin or (0,) * len(self.shape)
        lengths = zip(origin, self.shape, self.tile_shape, strict=True)
        return math.prod((start > 0) - (start - n) // t for start, n, t in lengths)

    def tile_slices(self) -> list[tuple[slice, ...]]:
        """Where each tile lies, in the order of the tiles."""
        axes = [
            list(itertools.starmap(slice, itertools.pairwise([*starts, n])))
            for starts, n in zip(self.cuts(), self.shape, strict=True)
        ]
        return list(itertools.product(*axes))

    def to_bytes(self) -> bytes:
        array = bytearray([DTYPES.index(self.dtype.str), len(self.shape)])
        for n in (*self.shape, *self.tile_shape):
            put_varint(array, n)
        origin = bytearray()
        for start in self.origin:
            put_varint(origin, start)
        bound = bytes([_KINDS.index(self.bound.kind)])
        if self.bound.kind != "lossless":
            bound += struct.pack("<d", self.bound.value)
        if self.bound.kind in ("relative", "psnr", "pointwise_relative"):
            bound += struct.pack("<d", self.eps)
        sections = {"A": bytes(array), "B": bound}
        if self.origin:
            sections["O"] = bytes(origin)
        if self.coded_eps > 0.0 or self.eps > 0.0:
            sections["R"] = pack_range(self.low, self.high, self._of_range)
        if self.specials:
            width = self.part.itemsize
            sections["S"] = b"".join(pattern.to_bytes(width, "little") for pattern in self.specials)
        if self.fill is not None:
            sections["M"] = self.fill
        if self.levels:
            sections["L"] = b"".join(map(_pack_level, self.levels))
        if self.guided is not None:
            sections["G"] = pack_guided(self.guided, self.coded)
            if isinstance(self.guided.network, InModel):
                sections["N"] = pack_in_model(self.guided.network)
            if self.guided.latents:
                sections["Z"] = self.guided.latents
            if self.guided.base:
                sections["Y"] = self.guided.base
        if isinstance(self.enhancer, InModel):
            sections["K"] = pack_in_model(self.enhancer)
        elif self.enhancer is not None:
            sections["E"] = self.enhancer
        if self.packing is not None:
            sections["Q"] = pack_packing(self.packing)
        sections["P"] = _pack_plan(self.family, self.plan)
        sections["w"] = bytes(self.writer)
        return pack_sections(sections)

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        sections = unpack_sections(data, known="AOBRSMLGNZYEKQP")
        if not {"A", "B", "P"} <= sections.keys():
            raise CorruptError(f"the header has sections {''.join(sections)!r} only")
        dtype, shape, tile_shape = _read_array(sections["A"])
        bound, eps = _read_bound(sections["B"])
        low, high = 0.0, 0.0
        part = part_of(dtype)
        eps = 0.0 if dtype.kind == "b" else eps
        if bound.kind == "pointwise_relative" and part.kind != "f":
            raise CorruptError(f"a pointwise relative bound for {dtype}")
        packing = read_packing(sections, dtype, bound) if "Q" in sections else None
        if eps > 0.0 or part.kind in "iu" or packing is not None:
            coded = np.dtype(np.float64) if bound.kind == "pointwise_relative" else coded_as(part)
            low, high = read_range(sections.get("R", b""), coded)
            if bound.kind == "pointwise_relative" and max(-low, high) > LARGEST_LOGARITHM:
                raise CorruptError(f"logarithms of values range from {low} to {high}")
            if bound.kind != "pointwise_relative" and not are_of(part, low, high):
                raise CorruptError(f"{part} ranges from {low} to {high}")
            if packing is not None and not packing.suits(low, high):
                raise CorruptError(f"values from {low} to {high} are packed by {packing}")
        patterns = sections.get("S", b"")
        width = part.itemsize
        if len(patterns) % width or len(patterns) > MOST_SPECIALS * width:
            raise CorruptError(f"special values take {len(patterns)} bytes")
        fill = sections.get("M")
        if fill is not None and len(fill) != dtype.itemsize:
            raise CorruptError(f"the value at masked places has {len(fill)} bytes")
        specials = tuple(
            int.from_bytes(patterns[k : k + width], "little") for k in range(0, len(patterns), width)
        )
        if sections.keys() & {"N", "Z", "Y"} and "G" not in sections:
            raise CorruptError("the name of a network, latents or a base, and no guide")
        family, plan = _read_plan(sections["P"])
        return cls(
            dtype,
            shape,
            tile_shape,
            bound,
            eps,
            low,
            high,
            specials,
            family,
            plan,
            tuple(sections.get("w", b"")),
            fill,
            _read_levels(sections.get("L", b""), eps),
            read_guided(sections, dtype, bound) if "G" in sections else None,
            read_enhancer(sections, dtype, bound) if sections.keys() & {"E", "K"} else None,
            packing,
            _read_origin(sections["O"], shape, tile_shape) if "O" in sections else (),
        )


def _read_array(data: bytes) -> tuple[np.dtype, tuple[int, ...], tuple[int, ...]]:
    if len(data) < 2 or data[0] >= len(DTYPES):
        raise UnsupportedFormatError(f"data type {data[:1]!r} is unknown; upgrade lossyzip")
    axes, position = data[1], 2
    if axes > MOST_AXES:
        raise CorruptError(f"{axes} axes")
    lengths = []
    for _ in range(2 * axes):
        length, position = get_varint(data, position)
        lengths.append(length)
    shape, tile_shape = tuple(lengths[:axes]), tuple(lengths[axes:])
    if math.prod(n for n in shape if n) > _MOST_VALUES or not 0 < math.prod(tile_shape) <= MOST_TILE_VALUES:
        raise CorruptError(f"shape {shape} in tiles of {tile_shape}")
    if np.dtype(DTYPES[data[0]]).kind == "c" and 2 * math.prod(tile_shape) > MOST_TILE_VALUES:
        raise CorruptError(f"complex tiles of {tile_shape}")
    if any(t > max(n, 1) for n, t in zip(shape, tile_shape, strict=True)):
        raise CorruptError(f"tiles of {tile_shape} in shape {shape}")
    return np.dtype(DTYPES[data[0]]), shape, tile_shape


def _read_origin(data: bytes, shape: tuple[int, ...], tile_shape: tuple[int, ...]) -> tuple[int, ...]:
    starts, position = [], 0
    for _ in shape:
        start, position = get_varint(data, position)
        starts.append(start)
    if position != len(data) or not any(starts):
        raise CorruptError(f"the origin of tiles has {len(data)} bytes")
    if any(start and start >= min(n, t) for start, n, t in zip(starts, shape, tile_shape, strict=True)):
        raise CorruptError(f"tiles of {tile_shape} begin at {tuple(starts)} in shape {shape}")
    return tuple(starts)


def _read_bound(data: bytes) -> tuple[Bound, float]:
    if not data or data[0] >= len(_KINDS):
        raise UnsupportedFormatError(f"bound {data[:1]!r} is unknown; upgrade lossyzip")
    kind = _KINDS[data[0]]
    if len(data) != {"lossless": 1, "absolute": 9}.get(kind, 17):
        raise CorruptError(f"bound {kind!r} has {len(data)} bytes")
    numbers = struct.unpack(f"<{len(data) // 8}d", data[1:])
    if not all(math.isfinite(number) and number >= 0.0 for number in numbers):
        raise CorruptError(f"bound {kind!r} with {numbers}")
    return Bound(kind, numbers[0] if numbers else 0.0), numbers[-1] if numbers else 0.0


def _pack_plan(family: str, plan: bytes) -> bytes:
    return bytes([FAMILIES.index(family)]) + plan


def _read_plan(data: bytes) -> tuple[str, bytes]:
    if not data or data[0] >= len(FAMILIES):
        raise UnsupportedFormatError(f"decompose family {data[:1]!r} is unknown; upgrade lossyzip")
    return FAMILIES[data[0]], data[1:]


def _pack_level(level: Level) -> bytes:
    out = bytearray(struct.pack("<d", level.eps))
    plan = _pack_plan(level.family, level.plan)
    put_varint(out, len(plan))
    return bytes(out) + plan


def _read_levels(data: bytes, largest: float) -> tuple[Level, ...]:
    levels: list[Level] = []
    position = 0
    while position < len(data):
        eps = struct.unpack("<d", data[position : position + 8].ljust(8, b"\xff"))[0]
        size, start = get_varint(data, position + 8)
        position = start + size
        if position > len(data) or not 0.0 <= eps <= largest or len(levels) == MOST_LEVELS:
            raise CorruptError(f"level {len(levels)} of tolerance {eps}, up to {largest}, has {size} bytes")
        levels.append(Level(eps, *_read_plan(data[start:position])))
    return tuple(levels)
