"""Blocks of a field, to code or to fit stencils to: where they lie, and their values as they are coded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lossyzip.carrier import as_they_are
from lossyzip.container.header import Header
from lossyzip.effort import Effort
from lossyzip.field import Source, native, tile_shape

Beside = Callable[[tuple[slice, ...]], np.ndarray]  # guides (guides, ...) of a part of the field
_FIT_BLOCK, _FIT_BLOCKS = 1 << 12, 32
_SHARE, _MOST_TIMES = 128, 4  # a block may be such a part of the field, if it is no more times the usual one
_VOLUMES = 2  # how many times their number counts when blocks are cut: less is predicted from one to the next
_GOLDEN = 1.32471795724474602596  # root of x**3 = x + 1: multiples of its powers spread evenly


class Block(NamedTuple):
    """A part of a field, and of the guides that taps may reach into: (guides, values), or None."""

    values: np.ndarray
    guides: np.ndarray | None = None

    @property
    def size(self) -> int:
        return self.values.size

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def flat(self) -> np.ndarray:
        return self.values.reshape(-1)


def sample_blocks(shape: tuple[int, ...], effort: Effort) -> list[tuple[slice, ...]]:
    """Blocks of a field of ``shape`` to code: the whole field if it is small, or some that lie apart, and
    are the larger, the more values there are."""
    most = math.prod(tile_shape(shape))  # never more than a tile: halos may outweigh thin shapes
    values = math.prod(shape)
    if values <= min(effort.block * effort.blocks, most):
        return [tuple(slice(0, n) for n in shape)]
    times = 1 if effort.lattice else _MOST_TIMES  # axes show in small ones
    block = min(max(effort.block, values // _SHARE), times * effort.block)
    return _spread(shape, min(block, most), effort.blocks)


def fit_blocks(shape: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Blocks to fit stencils to: more and smaller ones, or all that fits into a tile."""
    most = math.prod(tile_shape(shape))
    if math.prod(shape) <= most:
        return [tuple(slice(0, n) for n in shape)]
    return _spread(shape, min(_FIT_BLOCK, most), _FIT_BLOCKS)


def _spread(shape: tuple[int, ...], most: int, count: int) -> list[tuple[slice, ...]]:
    """``count`` blocks of at most ``most`` values each, evenly spread, the first in the middle."""
    lengths = _halved(shape, most)
    return [
        tuple(
            slice(start, start + k)
            for axis, (n, k) in enumerate(zip(shape, lengths, strict=True))
            for start in [round((0.5 + number * _GOLDEN ** -(axis + 1)) % 1.0 * (n - k))]
        )
        for number in range(count)
    ]


def _halved(shape: tuple[int, ...], most: int) -> list[int]:
    """The longest axis is halved until there are at most ``most`` values; those before the last three count
    as longer than they are."""
    lengths = list(shape)
    weights = [_VOLUMES if axis < len(shape) - 3 else 1 for axis in range(len(shape))]
    while math.prod(lengths) > most:
        axis = int(np.argmax([weight * n * (n > 1) for weight, n in zip(weights, lengths, strict=True)]))
        lengths[axis] = -(-lengths[axis] // 2)
    return lengths


def coded_blocks(
    source: Source, header: Header, where: list[tuple[slice, ...]], beside: Beside | None = None
) -> list[Block]:
    """Blocks of ``source``, all of one shape; those without any value that is coded are left out."""
    parts = [np.asarray(source[place]) for place in where]
    array = np.stack(parts) if len(parts) > 1 else parts[0][None]
    together = as_they_are(native(array), header).coded.reshape(array.shape)  # NaN where one is special
    coded, found = ~np.isnan(together).reshape(len(where), -1).all(axis=1), []
    for place, values, some in zip(where, together, coded, strict=True):
        if some:
            guides = None if beside is None else beside(place)
            found.append(Block(values, guides if guides is None else guides.reshape(len(guides), -1)))
    return found


def middle_of(block: Block, most: int) -> Block:
    """Its middle, of at most ``most`` values."""
    lengths = _halved(block.shape, most)
    part = tuple(slice((n - k) // 2, (n - k) // 2 + k) for n, k in zip(block.shape, lengths, strict=True))
    values, guides = np.ascontiguousarray(block.values[part]), block.guides
    if guides is not None:
        cut = guides.reshape(len(guides), *block.shape)[(slice(None), *part)]
        guides = np.ascontiguousarray(cut).reshape(len(guides), -1)
    return Block(values, guides)
