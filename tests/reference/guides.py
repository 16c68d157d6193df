"""What references tell of a tile: section 5.1 of FORMAT.md."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
import xxhash

from reference import networks
from reference.header import Header
from reference.readers import Bytes, require


class Told(NamedTuple):
    """What references tell of a tile."""

    subtracted: np.ndarray | None = None
    raw: np.ndarray | None = None  # (guides, values)
    classes: np.ndarray | None = None


NOTHING = Told()


class Guides:
    def __init__(
        self,
        data: bytes,
        header: Header,
        references: Sequence[np.ndarray],
        network: Any = None,
        latents: tuple[np.ndarray, bytes] | None = None,
        base: np.ndarray | None = None,
    ) -> None:
        """``network``: that of a model. ``latents``: (channels, separate, z, y, x), and their strides."""
        reader, self.header = Bytes(data), header
        (self.flags,) = reader.numbers("B")
        allowed = (0, 1, 3, 4, 5, 7) if network is None else (0, 2, 4, 6)
        require(self.flags in allowed if base is None else self.flags == 10, "flags of guides")
        self.span = (
            np.frombuffer(reader.take(2 * header.dtype.itemsize), header.dtype) if self.flags & 2 else None
        )
        known = {hashed(array): array for array in references}
        self.references = [known[number] for number in reader.numbers("Q" * reader.numbers("B")[0])]
        self.mask = self.references[reader.numbers("B")[0]] if self.flags & 4 else None
        raw = [RawGuide.read(reader) for _ in range(reader.numbers("B")[0])]
        self.made = None
        network = networks.read(reader.rest()) if self.flags & 1 else network
        require(latents is None or network is not None, "latents and no network")
        if network is not None:
            with np.errstate(over="ignore"):
                seen = [at_points(reference, header.shape) for reference in self.references]
                channels = [] if latents is None else networks.channels(*latents, header.shape)
                made = networks.guide(network, seen, channels, header.shape)
                self.made = made.astype(header.dtype)
        if base is not None:
            require(not (self.references or raw or network or latents), "a base and other guides")
            self.made = np.broadcast_to(base.astype(header.dtype), header.shape)
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
