"""Arrays of any number of axes as (t, z, y, x): one set of kernels serves all.

Axes of length one are dropped first. docs/FORMAT.md, "Folding, quantizer".
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np

_MOST_COMPONENTS = 9  # of a vector or a tensor; more are an axis like others


class Fold(IntEnum):
    """What becomes of the axes before the last two."""

    MERGED = 0  # all of them are z
    VOLUMES = 1  # the last of them is z, the others are t
    PLANES = 2  # all of them are t
    COMPONENTS = 3  # the last axis, of components side by side, comes first; then as volumes, it is t, too


# Values of a volume, of a plane: less is outweighed, up to 64 times, by the halo around it.
_LEAST = {Fold.VOLUMES: 512, Fold.PLANES: 16, Fold.COMPONENTS: 512}


class Shape4(NamedTuple):
    """Lengths of the four axes."""

    t: int
    z: int
    y: int
    x: int


def fold(shape: tuple[int, ...], how: Fold) -> Shape4:
    """The four lengths that ``shape`` is folded to."""
    if how == Fold.COMPONENTS and shape:
        others = [1, 1, 1, *(n for n in shape[:-1] if n != 1)]
        return Shape4(shape[-1] * math.prod(others[:-3]), *others[-3:])
    long = [n for n in shape if n != 1]
    leading, (y, x) = long[:-2], ([1, 1, *long])[-2:]
    if how == Fold.MERGED:
        return Shape4(1, math.prod(leading), y, x)
    if how == Fold.VOLUMES:
        return Shape4(math.prod(leading[:-1]), leading[-1] if leading else 1, y, x)
    return Shape4(math.prod(leading), 1, y, x)


def walked(values: np.ndarray, shape: tuple[int, ...], how: Fold) -> np.ndarray:
    """Flat ``values`` of tiles of ``shape``, one after the other, in the order of the folded ones."""
    if how != Fold.COMPONENTS or not shape or not values.size:
        return values
    points = values.reshape(-1, math.prod(shape[:-1]), shape[-1])
    return np.ascontiguousarray(points.swapaxes(1, 2)).reshape(-1)


def unwalked(values: np.ndarray, shape: tuple[int, ...], how: Fold) -> np.ndarray:
    """The reverse of `walked`, for a tile: C order."""
    if how != Fold.COMPONENTS or not shape or not values.size:
        return np.ascontiguousarray(values).reshape(-1)
    return np.ascontiguousarray(values.reshape(shape[-1], -1).T).reshape(-1)


def distinct_folds(shape: tuple[int, ...]) -> list[Fold]:
    """The folds that differ for ``shape`` and are worth a try, the plainest first."""
    seen: dict[Shape4, Fold] = {}
    for how in Fold:
        if how == Fold.COMPONENTS and not (shape and 1 < shape[-1] <= _MOST_COMPONENTS):
            continue
        folded = fold(shape, how)
        if math.prod(folded[1:]) >= _LEAST.get(how, 0):
            seen.setdefault(folded, how)
    return list(seen.values())
