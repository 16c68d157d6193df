"""Regions of interest: an array of tolerances as a few levels, of which each value of a field has one.

A value is coded at its level; those of other levels are left out then (tile.py). docs/FORMAT.md, "Levels".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip.bound import Bound
from lossyzip.carrier import LeftOut
from lossyzip.container.header import MOST_LEVELS
from lossyzip.errors import InvalidArgumentError


class Levels(NamedTuple):
    """``eps`` of each level, the smallest first. That of a value is never above the one that was asked."""

    eps: tuple[float, ...]
    asked: np.ndarray  # what was asked of each value of the field, a view
    steps: np.ndarray  # the smallest that is asked of the values of each level

    def of(self, where: tuple[slice, ...]) -> np.ndarray:
        """The level (uint8) of each value of a part of the field."""
        return (np.searchsorted(self.steps, self.asked[where], side="right") - 1).astype(np.uint8)

    def keeps(self, where: tuple[slice, ...], levels: np.ndarray) -> bool:
        """Whether no value of that part has a level that is looser than what was asked of it."""
        return bool((self.steps[levels] <= self.asked[where]).all())

    def others(self, level: int) -> LeftOut:
        """Which values of a part of the field do not have this ``level``."""
        return lambda where: self.of(where) != level


def levels_of(bound: Bound, shape: tuple[int, ...], low: float, high: float) -> Levels | None:
    """The levels of ``bound`` for a field of ``shape`` whose valid values span ``low`` to ``high``.

    None where all tolerances are one. Raises InvalidArgumentError for an array that does not broadcast.
    """
    if bound.regions is None:
        return None
    array = bound.regions.array
    try:
        asked = np.broadcast_to(array, shape)
    except ValueError:
        raise InvalidArgumentError(f"bounds of shape {array.shape} do not broadcast to {shape}") from None
    steps = _steps(np.unique(array))
    eps = tuple(Bound(bound.kind, float(step)).resolve(low, high) for step in steps)
    return None if len(set(eps)) == 1 else Levels(eps, asked, steps)


def _steps(numbers: np.ndarray) -> np.ndarray:
    """``numbers`` (sorted, without repeats) themselves, or some, evenly spread in logarithms."""
    if numbers.size <= MOST_LEVELS:
        return numbers
    positive = numbers[numbers > 0.0]
    zero = numbers[:1] if numbers[0] == 0.0 else numbers[:0]
    grid = np.geomspace(positive[0], positive[-1], MOST_LEVELS - zero.size)
    # each becomes the next number that there is, so that the ends are kept whatever is rounded
    kept = positive[np.minimum(np.searchsorted(positive, grid, side="left"), positive.size - 1)]
    return np.unique(np.concatenate([zero, positive[:1], kept]))[:MOST_LEVELS]
