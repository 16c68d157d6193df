"""Latents: a few small grids of integers that a frame holds, which a network sees beside the references.

An autoencoder's decoder is a network (network.py) some of whose inputs are latents: what it makes of a point
depends on what the encoder found to say of the point's surroundings, and references did not. Between the
places of a grid latents are linear along each axis, in exact integers: no edges of blocks.

docs/FORMAT.md, "Latents". Small networks on grids of features: Takikawa et al. (2022); an autoencoder for
error-bounded compression, of blocks: AE-SZ, Liu et al. (2021).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from lossyzip.errors import CorruptError, TruncatedError
from lossyzip.learned.neighbourhood import folded

MOST_CHANNELS = 16
MOST_VALUES = 1 << 24  # all in all: a decoder holds them as a whole
MOST_STRIDE = 64
_AXES = 3


def grid_of(shape: tuple[int, ...], strides: Sequence[int]) -> tuple[int, ...]:
    """(separate, z, y, x) of latents for a field of ``shape``: the first place and every ``strides`` further
    one, up to the last or beyond it."""
    separate, *near = folded(shape)
    return separate, *(-(-(n - 1) // stride) + 1 for n, stride in zip(near, strides, strict=True))


class Latents:
    """Those for a field of ``shape`` or a part of it: ``values`` (channels, separate, z, y, x) of int16."""

    def __init__(self, values: np.ndarray, strides: Sequence[int], shape: tuple[int, ...]) -> None:
        self.strides, self.shape = tuple(strides), shape
        self._values = values
        self._separate = np.arange(values.shape[1])  # numbers of the part's,
        self._first: tuple[int, ...] = (0,) * _AXES  # and its place

    def part(self, where: tuple[slice, ...]) -> Latents:
        """What a part of the whole field sees, which slices with a start and an end say; where the field is
        longer than 1 in the last three such axes, so is the part."""
        more = Latents(self._values, self.strides, tuple(s.stop - s.start for s in where))
        long = [(s, n) for s, n in zip(where, self.shape, strict=True) if n != 1]
        numbers = self._separate.reshape([n for _, n in long[:-_AXES]])
        more._separate = numbers[tuple(s for s, _ in long[:-_AXES])].reshape(-1)
        near = [s.start for s, _ in long[-_AXES:]]
        more._first = (*(0,) * (_AXES - len(near)), *near)
        return more

    @property
    def channels(self) -> int:
        return len(self._values)

    def to_bytes(self) -> bytes:
        from lossyzip.bound import lossless
        from lossyzip.compressor import compress_field

        parts: list[bytes] = [bytes(self.strides)]
        compress_field(self._values, lossless(), parts.append, effort="max", threads=1)
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes, shape: tuple[int, ...]) -> Latents:
        """Raises a DecodeError subclass for anything but latents of a field of ``shape``."""
        from lossyzip.decompressor import Frame

        if len(data) < _AXES:
            raise TruncatedError(f"latents take {len(data)} bytes")
        strides = tuple(data[:_AXES])
        if not all(0 < stride <= MOST_STRIDE for stride in strides):
            raise CorruptError(f"latents at every {strides} places")
        frame = Frame.of_bytes(data[_AXES:])
        grid = grid_of(shape, strides)
        known = frame.dtype == np.dtype("<i2") and not frame.masked and frame.guided is None
        if not known or len(frame.shape) != 1 + len(grid) or frame.shape[1:] != grid:
            raise CorruptError(f"latents of {frame.dtype} {frame.shape} for a grid of {grid}")
        if frame.shape[0] > MOST_CHANNELS or math.prod(frame.shape) > MOST_VALUES:
            raise CorruptError(f"latents of shape {frame.shape}")
        values = np.empty(frame.shape, np.int16)
        for where, tile in frame.tiles(threads=1):
            values[where] = tile
        return cls(values, strides, shape)

    @cached_property
    def largest(self) -> int:
        """In magnitude."""
        return int(np.abs(self._values.astype(np.int32)).max(initial=0))

    def between(self, channel: int, separate: int, index: Sequence[np.ndarray]) -> np.ndarray:
        """(z, y, x) float64 that hold integers: the channel at the places ``index`` of z, y and x, the
        product of all strides times itself."""
        values = self._values[channel, self._separate[separate]].astype(np.float64)
        for axis, (places, first, stride) in enumerate(zip(index, self._first, self.strides, strict=True)):
            before, part = np.divmod(places + first, stride)
            after = np.minimum(before + 1, values.shape[axis] - 1)  # it weighs nothing there
            weight = part.astype(np.float64).reshape([-1 if a == axis else 1 for a in range(_AXES)])
            values = values.take(before, axis) * (stride - weight) + values.take(after, axis) * weight
        return values

    def at(self, channel: int, points: np.ndarray) -> np.ndarray:
        """The same at ``points`` (points, 4) of the whole field."""
        numbers, weights = corners_of(points, self._values.shape[1:], self.strides)
        return np.asarray((self._values[channel].reshape(-1)[numbers] * weights).sum(axis=1), np.float64)


def corners_of(
    points: np.ndarray, grid: Sequence[int], strides: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """(numbers in the flat ``grid`` of the places around ``points`` (points, 4), what they weigh, integers
    whose sum is the product of the strides)."""
    numbers, weights = [points[:, 0]], [np.ones(len(points), np.int64)]
    for axis, (n, stride) in enumerate(zip(grid[1:], strides, strict=True), start=1):
        before, part = np.divmod(points[:, axis], stride)
        after = np.minimum(before + 1, n - 1)  # it weighs nothing there
        ends = [(before, stride - part), (after, part)] if n > 1 else [(before, stride - part)]
        pairs = list(itertools.product(zip(numbers, weights, strict=True), ends))
        numbers = [number * n + place for (number, _), (place, _) in pairs]
        weights = [weight * share for (_, weight), (_, share) in pairs]
    return np.stack(numbers, axis=1), np.stack(weights, axis=1)
