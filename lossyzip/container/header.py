"""What a frame's header says of the field: type, shape, tiles, bound, range, specials, plan.

Read and write side by side. Knows what the plan's family is called, not what it does.
docs/FORMAT.md, "Header".
"""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import dataclass

import numpy as np

from lossyzip.bound import Bound
from lossyzip.container.frame import pack_sections, unpack_sections
from lossyzip.entropy.bits import get_varint, put_varint
from lossyzip.errors import CorruptError, UnsupportedFormatError

FAMILIES = ("lossless", "multigrid", "raster", "wavelet", "lattice")
MOST_AXES = 32
MOST_SPECIALS = 16
_DTYPES = ("<f4", "<f8", ">f4", ">f8")
_KINDS = ("absolute", "relative", "lossless", "psnr", "pointwise_relative")
LARGEST_LOGARITHM = 1100.0  # in magnitude, of a float64, subnormal ones too
MOST_TILE_VALUES = 1 << 22  # a decoder holds a tile at a time, whatever the header says
_MOST_VALUES = 1 << 59  # so that eight bytes each can be counted in 63 bits


@dataclass(frozen=True)
class Header:
    """All that every tile of a field shares.

    ``low`` and ``high`` span the valid values; decoded ones stay within. With a pointwise relative bound,
    they and ``eps`` are those of the values' logarithms (logarithms.py). ``specials`` are bit patterns
    (as unsigned integers of the field's width) that come back as they are. ``plan`` is the family's own.
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

    @property
    def native(self) -> np.dtype:
        """The field's dtype in this machine's byte order."""
        return self.dtype.newbyteorder("=")

    @property
    def pointwise(self) -> bool:
        """Whether errors are relative to each value, and logarithms are what is coded."""
        return self.bound.kind == "pointwise_relative"

    @property
    def coded(self) -> np.dtype:
        """The dtype of what is coded with loss."""
        return np.dtype(np.float64) if self.pointwise else self.native

    @property
    def tolerance(self) -> float:
        """What errors are compared with; 0.0 where every bit must come back."""
        return self.bound.value if self.pointwise and self.eps > 0.0 else self.eps

    def grid(self) -> tuple[int, ...]:
        """How many tiles there are along each axis."""
        return tuple(-(-n // t) if n else 0 for n, t in zip(self.shape, self.tile_shape, strict=True))

    def tile_count(self) -> int:
        return math.prod(self.grid())

    def tile_slices(self) -> list[tuple[slice, ...]]:
        """Where each tile lies, in the order of the tiles."""
        if 0 in self.shape:
            return []
        axes = [
            [slice(start, min(start + t, n)) for start in range(0, n, t)]
            for n, t in zip(self.shape, self.tile_shape, strict=True)
        ]
        return list(itertools.product(*axes))

    def to_bytes(self) -> bytes:
        array = bytearray([_DTYPES.index(self.dtype.str), len(self.shape)])
        for n in (*self.shape, *self.tile_shape):
            put_varint(array, n)
        bound = bytes([_KINDS.index(self.bound.kind)])
        if self.bound.kind != "lossless":
            bound += struct.pack("<d", self.bound.value)
        if self.bound.kind in ("relative", "psnr", "pointwise_relative"):
            bound += struct.pack("<d", self.eps)
        sections = {"A": bytes(array), "B": bound}
        if self.eps > 0.0:
            sections["R"] = self._pack_values([self.low, self.high])
        if self.specials:
            width = self.dtype.itemsize
            sections["S"] = b"".join(pattern.to_bytes(width, "little") for pattern in self.specials)
        sections["P"] = bytes([FAMILIES.index(self.family)]) + self.plan
        sections["w"] = bytes(self.writer)
        return pack_sections(sections)

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        sections = unpack_sections(data, known="ABRSP")
        if not {"A", "B", "P"} <= sections.keys():
            raise CorruptError(f"the header has sections {''.join(sections)!r} only")
        dtype, shape, tile_shape = _read_array(sections["A"])
        bound, eps = _read_bound(sections["B"])
        low, high = 0.0, 0.0
        if eps > 0.0:
            coded = np.dtype(np.float64) if bound.kind == "pointwise_relative" else dtype
            low, high = _read_range(sections.get("R", b""), coded)
            if bound.kind == "pointwise_relative" and max(-low, high) > LARGEST_LOGARITHM:
                raise CorruptError(f"logarithms of values range from {low} to {high}")
        patterns = sections.get("S", b"")
        width = dtype.itemsize
        if len(patterns) % width or len(patterns) > MOST_SPECIALS * width:
            raise CorruptError(f"special values take {len(patterns)} bytes")
        specials = tuple(
            int.from_bytes(patterns[k : k + width], "little") for k in range(0, len(patterns), width)
        )
        plan = sections["P"]
        if not plan or plan[0] >= len(FAMILIES):
            raise UnsupportedFormatError(f"decompose family {plan[:1]!r} is unknown; upgrade lossyzip")
        return cls(
            dtype,
            shape,
            tile_shape,
            bound,
            eps,
            low,
            high,
            specials,
            FAMILIES[plan[0]],
            plan[1:],
            tuple(sections.get("w", b"")),
        )

    def _pack_values(self, values: list[float]) -> bytes:
        return np.array(values, self.coded.newbyteorder("<")).tobytes()


def _read_array(data: bytes) -> tuple[np.dtype, tuple[int, ...], tuple[int, ...]]:
    if len(data) < 2 or data[0] >= len(_DTYPES):
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
    if any(t > max(n, 1) for n, t in zip(shape, tile_shape, strict=True)):
        raise CorruptError(f"tiles of {tile_shape} in shape {shape}")
    return np.dtype(_DTYPES[data[0]]), shape, tile_shape


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


def _read_range(data: bytes, dtype: np.dtype) -> tuple[float, float]:
    if len(data) != 2 * dtype.itemsize:
        raise CorruptError(f"the range of values has {len(data)} bytes")
    low, high = (float(value) for value in np.frombuffer(data, dtype.newbyteorder("<")))
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise CorruptError(f"the range of values is {low} to {high}")
    return low, high
