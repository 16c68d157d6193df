"""What a network sees of a point: whole numbers, from the references around it.

An *input* is a reference on a scale of its own, linear or logarithmic, rounded to an integer. A *feature* is
a sum or difference of an input's values at places that mirror each other: the point itself; the six, twelve
or eight neighbours at its faces, edges and corners; or a pair along one axis, up to REACH away. Fewer weights
tell more that way than one for each place would, and derivatives need pairs that are far apart.

The neighbourhood spans the last three axes of length > 1; others are separate. Values beyond an edge are
those at the edge. A network sees no NaN and no infinity. docs/FORMAT.md, "Networks".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lossyzip.logarithms import log2

if TYPE_CHECKING:
    from lossyzip.learned.latents import Latents

REACH = 4
LARGEST_INPUT = (1 << 15) - 1
NEAR = 4  # the first kinds of features: point, faces, edges, corners
FEATURES = NEAR + 3 * REACH * 2  # then (axis, distance, sum or difference)
FIRST_LATENT = 128  # inputs of this number and above are latents (latents.py), no references
Box = tuple[slice, slice, slice, slice]


class Input(NamedTuple):
    """A reference's value v as an integer: t = (v - centre) * inverse, then t * gain or, with ``curved``,
    log2(1 + |t|) * gain with the sign of t; rounded, within LARGEST_INPUT. NaN is 0."""

    reference: int
    curved: bool
    centre: float
    inverse: float
    gain: float


class Planes(NamedTuple):
    """Inputs of a box of points, with a halo of REACH around it."""

    values: np.ndarray  # (inputs, z, y, x), float64 that hold integers

    def offset(self, item: int, place: Sequence[Any]) -> Any:
        """In items, of an input's value at ``place`` (z, y, x: integers or arrays) from the first of all."""
        _, nz, ny, nx = self.values.shape
        z, y, x = place
        return ((item * nz + z) * ny + y) * nx + x


def places(feature: int) -> list[tuple[tuple[int, int, int], int]]:
    """((z, y, x), 1 or -1) of the values that ``feature`` adds up."""
    if feature < NEAR:
        cube = itertools.product((-1, 0, 1), repeat=3)
        return [((z, y, x), 1) for z, y, x in cube if abs(z) + abs(y) + abs(x) == feature]
    pair, odd = divmod(feature - NEAR, 2)
    axis, distance = divmod(pair, REACH)
    ahead, behind = (tuple(s * (distance + 1) * (a == axis) for a in range(3)) for s in (1, -1))
    return [(ahead, 1), (behind, -1 if odd else 1)]  # type: ignore[list-item]


def folded(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """``shape`` as (separate, z, y, x)."""
    long = [n for n in shape if n != 1]
    z, y, x = [1, 1, 1, *long][-3:]
    return math.prod(long[:-3]), z, y, x


def haloed(box: Box, full: tuple[int, int, int, int]) -> tuple[Box, Box]:
    """(``box`` with as much around it as a network sees, where it lies in that)"""
    wide, inner = [box[0]], [slice(0, 1)]
    for s, n in zip(box[1:], full[1:], strict=True):
        start = max(s.start - REACH, 0)
        wide.append(slice(start, min(s.stop + REACH, n)))
        inner.append(slice(s.start - start, s.stop - start))
    return (wide[0], *wide[1:]), (inner[0], *inner[1:])  # type: ignore[return-value]


def unfolded(box: Box, full: tuple[int, int, int, int], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Where a ``box`` of an array of ``shape`` lies that is read as ``full``, folded or as it is; the box has
    one index of the separate axis."""
    if full == shape:
        return box
    long = [axis for axis, n in enumerate(shape) if n != 1]
    where = [slice(0, n) for n in shape]
    for axis, s in zip(long[::-1], box[:0:-1], strict=False):
        where[axis] = s
    number = box[0].start
    for axis in long[-4::-1]:
        number, here = divmod(number, shape[axis])
        where[axis] = slice(here, here + 1)
    return tuple(where)


def planes(
    inputs: Sequence[Input],
    references: Sequence[np.ndarray],
    full: tuple[int, ...],
    box: Box,
    latents: Latents | None = None,
) -> Planes:
    """Of ``references`` folded to the shape ``full``; ``box`` has one index of the separate axis."""
    separate, *near = box
    index = [
        np.clip(np.arange(s.start - REACH, s.stop + REACH), 0, n - 1)
        for s, n in zip(near, full[1:], strict=True)
    ]
    values = np.empty((len(inputs), *(i.size for i in index)))
    for k, item in enumerate(inputs):
        if latents is not None and item.reference >= FIRST_LATENT:
            seen = latents.between(item.reference - FIRST_LATENT, separate.start, index)
        else:
            seen = references[item.reference][separate.start][np.ix_(*index)]
        values[k] = rounded(item, seen)
    return Planes(values)


def rounded(item: Input, values: np.ndarray) -> np.ndarray:
    """``values`` as that input: float64 that hold integers. Every step is a single operation."""
    with np.errstate(over="ignore", invalid="ignore"):
        t = values.astype(np.float64)
        t -= item.centre
        t *= item.inverse
        t[np.isnan(t)] = 0.0
        if item.curved:
            magnitudes = np.minimum(np.abs(t), np.finfo(np.float64).max / 2)
            magnitudes += 1.0
            t = np.copysign(log2(magnitudes.reshape(-1)).reshape(t.shape), t)
        t *= item.gain
    return np.clip(np.rint(t, out=t), -LARGEST_INPUT, LARGEST_INPUT, out=t)
