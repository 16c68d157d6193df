"""What an enhancer sees of a point: how the values around it differ from it, in units of eps.

Values become integers, multiples of eps / UNITS. A *feature* is a difference between values around the point
and the point itself, a second one along an axis for the most part: what a smooth field leaves of it are
errors of quantization. Its *terms* are the feature within each of LIMITS: a linear function of them bends
where a feature is no longer likely to be made of errors. The neighbourhood spans the last three axes of
length > 1 of a tile; places outside the tile are the nearest inside. Beside the decoded values
lie, as further *planes*, guides of the field (guide.py), with features of their own. docs/FORMAT.md,
"Enhancers".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lossyzip.container.guided import FROM_NETWORK
from lossyzip.errors import CorruptError

REACH = 3
UNITS = 16.0
LARGEST = 1 << 25  # in units, so that no feature leaves int32
LIMITS = (192, 48, 16)  # of terms, in units
_OF_AXIS = 7  # kinds of features along an axis
KINDS = 3 * _OF_AXIS + 3 + 2
_CORNERS = KINDS - 1
OWN = KINDS  # of a guide: its value less the decoded one; of a filter's plane, its value
_NEAR = (-1, 0, 1)
Place = tuple[int, int, int]


class Feature(NamedTuple):
    """``plane`` 0 has the decoded values, the others guides; the last may be a filter's (filtering.py)."""

    plane: int
    kind: int


def places(kind: int) -> tuple[list[tuple[Place, int]], int]:
    """([((z, y, x), factor)], shift) of a feature: the sum of values times factors, less that of the factors
    times the point's own value, shifted right."""
    axis, what = divmod(kind, _OF_AXIS)
    if axis < 3:
        return [(_along(axis, step), factor) for step, factor in _LINES[what][0]], _LINES[what][1]
    cube: list[Place] = [(z, y, x) for z in _NEAR for y in _NEAR for x in _NEAR]
    if kind == _CORNERS:
        return [(place, 1) for place in cube if 0 not in place], 0
    if kind == _CORNERS - 1:
        return [(place, 1) for place in cube if place.count(0) == 2], 0
    still = kind - 3 * _OF_AXIS
    return [(place, 1) for place in cube if place[still] == 0 and place.count(0) == 1], 0


_Line = tuple[tuple[tuple[int, int], ...], int]
_LINES: tuple[_Line, ...] = (  # ((step along the axis, factor), ...), shift
    (((1, 1),), 0),
    (((-1, 1),), 0),
    (((1, 1), (-1, 1)), 0),
    (((2, 1), (-2, 1)), 0),
    (((3, 1), (-3, 1)), 0),
    (((1, 4), (-1, 4), (2, -1), (-2, -1)), 0),  # cubic interpolation
    (((1, 9), (-1, 9), (3, -1), (-3, -1)), 3),  # the same from every other point
)


def _along(axis: int, step: int) -> Place:
    z, y, x = (step * (a == axis) for a in range(3))
    return z, y, x


def useful(shape: tuple[int, int, int]) -> list[int]:
    """The kinds that say something where the last three axes are so long."""
    flat = {axis for axis, n in enumerate(shape) if n == 1}
    kinds = [kind for kind in range(3 * _OF_AXIS) if kind // _OF_AXIS not in flat]
    kinds += [3 * _OF_AXIS + axis for axis in range(3) if not flat - {axis}]
    if len(flat) < 2:
        kinds += [_CORNERS - 1]
    return kinds if flat else [*kinds, _CORNERS]


def in_units(values: np.ndarray, void: np.ndarray | None, low: float, eps: float) -> np.ndarray:
    """``values`` (separate, z, y, x) as int32, with a halo of REACH along the last three axes.

    ``void`` values are as the last before them, in C order, that is not; or as the first that is not.
    """
    if void is not None:
        kept = np.flatnonzero(~void.reshape(-1))
        if not kept.size:
            return np.zeros([values.shape[0], *(n + 2 * REACH for n in values.shape[1:])], np.int32)
        last = np.searchsorted(kept, np.arange(values.size), side="right") - 1
        values = values.reshape(-1)[kept[np.maximum(last, 0)]].reshape(values.shape)
    t = values.astype(np.float64)
    with np.errstate(over="ignore"):
        t -= low
        t *= UNITS / eps
    np.clip(np.rint(t, out=t), -LARGEST, LARGEST, out=t)
    return np.pad(t.astype(np.int32), ((0, 0), *((REACH, REACH),) * 3), mode="edge")


def stacked(
    values: np.ndarray,
    void: np.ndarray | None,
    low: float,
    eps: float,
    numbers: Sequence[int],
    guides: Mapping[int, np.ndarray],
) -> np.ndarray:
    """(planes, separate, z, y, x) int32: ``values`` as `in_units` has them, and behind them those ``guides``
    that have these ``numbers``. Raises CorruptError for one that is not there, and where eps is none."""
    if not (eps > 0.0 and math.isfinite(UNITS / eps)):
        raise CorruptError(f"an enhancer for a tolerance of {eps}")
    found = [in_units(values, void, low, eps)]
    for number in numbers:
        if number not in guides:
            raise CorruptError(f"an enhancer needs guide {number}, the field has {sorted(guides)}")
        guide = guides[number].reshape(values.shape)
        found.append(in_units(guide, None, low if number == FROM_NETWORK else 0.0, eps))
    return np.stack(found) if numbers else found[0][None]


def gather(
    planes: np.ndarray, features: Sequence[Feature], first: np.ndarray, filtered: bool = False
) -> np.ndarray:
    """(points, features) float32: at the places ``first`` of the first of ``planes``, within LIMITS[0].

    ``filtered``: the last of them is a filter's.
    """
    last = len(planes) - 1 if filtered else None
    found = np.empty((first.size, len(features)), np.float32)
    for k, feature in enumerate(features):
        around, shift = offsets(feature, planes.shape[1:], last)
        found[:, k] = np.clip(_sums(planes, around, first) >> shift, -LIMITS[0], LIMITS[0])
    return found


def gather_whole(planes: np.ndarray, features: Sequence[Feature], first: np.ndarray) -> np.ndarray:
    """(points, features) float64: the same without shifts and limits."""
    around = (offsets(feature, planes.shape[1:])[0] for feature in features)
    return np.stack([_sums(planes, places, first) for places in around], axis=1).astype(np.float64)


def _sums(planes: np.ndarray, around: list[tuple[int, int]], first: np.ndarray) -> np.ndarray:
    flat, total = planes.reshape(-1), np.zeros(first.size, np.int32)
    for offset, factor in around:
        total += np.int32(factor) * flat.take(first + offset)
    return total


def offsets(
    feature: Feature, shape: tuple[int, ...], filtered: int | None = None
) -> tuple[list[tuple[int, int]], int]:
    """([(offset, factor)], shift) of a feature, in items from the point in the first plane, of ``shape``.

    ``filtered``: the number of a filter's plane.
    """
    plane = feature.plane * math.prod(shape)
    if feature.kind == OWN:
        return [(plane, 1)] if feature.plane == filtered else [(plane, 1), (0, -1)], 0
    around, shift = places(feature.kind)
    found = [(plane + (z * shape[2] + y) * shape[3] + x, factor) for (z, y, x), factor in around]
    return [*found, (plane, -sum(factor for _, factor in around))], shift


def terms_of(features: np.ndarray) -> np.ndarray:
    """(points, len(LIMITS) * kinds): all features within the first limit, within the second, ..."""
    return np.concatenate([np.clip(features, -limit, limit) for limit in LIMITS], axis=1)
