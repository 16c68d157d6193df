"""Arrays of any number of axes as (t, z, y, x): one set of kernels serves all.

Axes of length one are dropped first. Knows nothing of values.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple


class Fold(IntEnum):
    """What becomes of the axes before the last two."""

    MERGED = 0  # all of them are z
    VOLUMES = 1  # the last of them is z, the others are t
    PLANES = 2  # all of them are t


# Values of a volume, of a plane: less is outweighed, up to 64 times, by the halo around it.
_LEAST = {Fold.VOLUMES: 512, Fold.PLANES: 16}


class Shape4(NamedTuple):
    """Lengths of the four axes."""

    t: int
    z: int
    y: int
    x: int


def fold(shape: tuple[int, ...], how: Fold) -> Shape4:
    """The four lengths that ``shape`` is folded to."""
    long = [n for n in shape if n != 1]
    leading, (y, x) = long[:-2], ([1, 1, *long])[-2:]
    if how == Fold.MERGED:
        return Shape4(1, math.prod(leading), y, x)
    if how == Fold.VOLUMES:
        return Shape4(math.prod(leading[:-1]), leading[-1] if leading else 1, y, x)
    return Shape4(math.prod(leading), 1, y, x)


def distinct_folds(shape: tuple[int, ...]) -> list[Fold]:
    """The folds that differ for ``shape`` and are worth a try, the plainest first."""
    seen: dict[Shape4, Fold] = {}
    for how in Fold:
        folded = fold(shape, how)
        if math.prod(folded[1:]) >= _LEAST.get(how, 0):
            seen.setdefault(folded, how)
    return list(seen.values())
