"""Whether a field has a base, and which: means over leading axes, judged on blocks with them and without.

For the encoder alone, never part of the format.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lossyzip._jit import helper, kernel
from lossyzip.base import MOST_VALUES, part_of, within_a_frame
from lossyzip.bound import Bound, absolute
from lossyzip.carrier import as_coded
from lossyzip.container.header import Header
from lossyzip.decompose.least_squares import BUCKETS, note_magnitude, order_0_bits
from lossyzip.effort import MANY, Effort
from lossyzip.field import Source, largest_coded, read, summarize, tile_slices
from lossyzip.planning import draft_header, with_base
from lossyzip.tuning import Search

if TYPE_CHECKING:
    from lossyzip.guide import FieldGuide

_FEWEST = 64  # values of one
_MOST_BYTES = 1 << 23  # of one: a header may take twice that
_FEWEST_STEPS = 6  # along the leading axes: the base has that part of the field's values, and finer ones
_MOST_STEPS = 64  # that the mean is taken of
_LOOKS, _LOOKED = 6, (3, 20, 20)  # pairs of steps, and what is seen of these, by which a base is thought of
_AROUND = 5
_PREDICTORS = 3 + 2 * _AROUND
_FINER = 2.0  # times, than the field: what is off in it is off in every step
_FEW_STEPS = 32  # of which each pays much of a base
_PROMISES, _MAY_PROMISE = 0.97, 1.2  # times the bits; with few steps some values tell little of what it takes
_TRIED = 3  # means, if there is time
_PAYS, _SURELY_PAYS = 0.95, 0.85  # times the bytes; where next to nothing is coded, as samples say less then
_MUCH = 0.5  # times the bits that a field takes: so much less is worth a closer look, also where time counts


def may_have_base(source: Source, bound: Bound, effort: Effort) -> bool:
    """Whether one may be looked for: in floats, for a tolerance that is the same everywhere."""
    if not effort.bases or isinstance(source, np.ma.MaskedArray) or 0 in source.shape:
        return False
    plain = np.dtype(source.dtype).kind == "f" and np.dtype(source.dtype).itemsize >= 4
    return plain and bound.kind in ("absolute", "relative") and bound.regions is None


def find_base(
    source: Source, draft: Header, fills: Sequence[float], effort: Effort, threads: int
) -> tuple[FieldGuide | None, Header, Search | None]:
    """(a base for ``source`` as a guide, or None where it would not pay; the draft with it; the search for a
    plan, as far as it got)"""
    from lossyzip.guide import FieldGuide

    usual = draft.coded_eps > 4.0 * float(np.finfo(draft.native).tiny)  # a finer one is a number, too
    usual = usual and max(-draft.low, draft.high) <= largest_coded(draft.native)
    if not usual or not draft.as_they_are or draft.packing is not None:
        return None, draft, None
    in_time = effort.brief and math.prod(draft.shape) >= MANY
    promising = _promising(source, draft.eps, fills)
    if not promising:
        return None, draft, None
    alone, finer = Search(source, draft, effort, threads), draft.eps / _FINER
    if in_time and not alone.is_clear and promising[0].ratio > _MUCH:
        return None, draft, alone
    tried = promising[: _TRIED if alone.is_clear and not in_time else 1]
    plainly = replace(effort, bases=False, mixed=0 if in_time else effort.mixed)
    size, mean, search = (_PAYS if alone.is_clear else _SURELY_PAYS) * alone.size, None, alone
    for found in _means(source, [its.axes for its in tried], fills):
        less = Search(*_without(source, draft, _rounded(found, 2.0 * finer)), effort, threads)
        if less.size < size < math.inf:
            both = less.size + _size_of(found, finer, plainly, threads)
            if both < size:
                size, mean, search = both, found, less
    if mean is None or search.choice.plan is None:
        return None, draft, alone
    base = _frame_of(mean, finer, plainly, threads)
    guide = FieldGuide(b"", (), draft.shape, draft.native, base=base)
    planned = with_base(draft, guide(tuple(slice(0, n) for n in draft.shape)), base)
    if len(base) > _MOST_BYTES or not planned.coded_eps > 0.0:
        return None, draft, alone
    return guide, planned, search


def _size_of(mean: np.ndarray, eps: float, effort: Effort, threads: int) -> float:
    """About the bytes of a base."""
    header = draft_header(mean, absolute(eps), summarize([mean], mean.dtype, ()), effort.tile_bytes)
    return Search(mean, header, effort, threads).size


def _frame_of(mean: np.ndarray, eps: float, effort: Effort, threads: int) -> bytes:
    """A base, as it is in the frame."""
    from lossyzip.compressor import compress_field

    frame = io.BytesIO()
    compress_field(mean, absolute(eps), frame.write, effort=effort, threads=threads)
    return within_a_frame(frame.getvalue())


def _without(source: Source, draft: Header, mean: np.ndarray) -> tuple[Source, Header]:
    """``source`` less the ``mean``, as a source, and a header for that."""
    header = with_base(draft, mean)
    return as_coded(source, header, None, partial(part_of, mean))


def _rounded(mean: np.ndarray, step: float) -> np.ndarray:
    """To multiples of ``step``, as far as there are such numbers."""
    with np.errstate(over="ignore", invalid="ignore"):
        multiples = (step * np.rint(mean / step)).astype(mean.dtype)
    return np.where(np.isfinite(multiples), multiples, mean)


class _Promise(NamedTuple):
    """The bits that a field takes without the mean over so many leading ``axes``, times those with it."""

    ratio: float
    axes: int


def _promising(source: Source, eps: float, fills: Sequence[float]) -> list[_Promise]:
    """Means that may be worth their place, as some values tell; the best first."""
    shape, found = tuple(source.shape), []
    for axes in range(1, len(shape)):
        steps, values = math.prod(shape[:axes]), math.prod(shape[axes:])
        enough = steps >= _FEWEST_STEPS and min(shape[axes - 1], shape[-1]) > 1
        if not enough or not _FEWEST <= values <= MOST_VALUES:
            continue
        alone, less = _bits(_pairs(source, axes, fills), eps, steps)
        if 0.0 < alone < math.inf and less < alone * (_MAY_PROMISE if steps < _FEW_STEPS else _PROMISES):
            found.append(_Promise(less / alone, axes))
    return sorted(found)


def _pairs(source: Source, axes: int, fills: Sequence[float]) -> np.ndarray:
    """(2, pairs, z, y, x) float64: the middle of some steps along the leading ``axes``, and of the next ones;
    NaN where a value is special."""
    *outer, last = source.shape[:axes]
    inner: list[int | slice] = [n // 2 for n in source.shape[axes:-3]]
    lengths = source.shape[max(axes, len(source.shape) - 3) :]
    for n, most in zip(lengths, _LOOKED[-len(lengths) :], strict=True):
        inner.append(slice(max((n - most) // 2, 0), max((n - most) // 2, 0) + most))
    found = []
    for number in _evenly(math.prod(outer) * (last - 1), _LOOKS):
        place = [int(i) for i in np.unravel_index(number, (*outer, last - 1))]
        two = _valid(source[(*place[:-1], slice(place[-1], place[-1] + 2), *inner)], fills)
        found.append(two.reshape(2, *[1] * (3 - len(lengths)), *two.shape[1:]))
    return np.stack(found, axis=1)


def _means(source: Source, several: list[int], fills: Sequence[float]) -> list[np.ndarray]:
    """Of steps along so many leading axes, that of all where there is no value. The source is read tile by
    tile, once: a step may lie in all chunks of a file."""
    shape = tuple(source.shape)
    sums = [_Sum(axes, shape) for axes in several]
    dtype, patterns = np.dtype(source.dtype).newbyteorder("="), np.array(fills, np.float64)
    for where in tile_slices(shape) if several else ():
        tile = read(source, where)
        for one in sums:
            here = one.chosen[where[: one.axes]]
            if here.any():
                one.add(tile[here].astype(dtype, copy=False), where[one.axes :], patterns.astype(dtype))
    return [one.mean().astype(dtype) for one in sums]


class _Sum:
    """Of the ``chosen`` ones of all steps along leading ``axes``."""

    def __init__(self, axes: int, shape: tuple[int, ...]) -> None:
        self.axes, self.chosen = axes, np.zeros(shape[:axes], bool)
        self.chosen.reshape(-1)[_evenly(self.chosen.size, _MOST_STEPS)] = True
        self._total, self._count = np.zeros(shape[axes:]), np.zeros(shape[axes:])

    def add(self, steps: np.ndarray, where: tuple[slice, ...], fills: np.ndarray) -> None:
        """Parts of some ``steps``, which lie ``where``."""
        shape = steps.shape[1:]
        total, count = np.zeros(math.prod(shape)), np.zeros(math.prod(shape))
        _add_valid(steps.reshape(len(steps), -1), fills, largest_coded(steps.dtype), total, count)
        self._total[where] += total.reshape(shape)
        self._count[where] += count.reshape(shape)

    def mean(self) -> np.ndarray:
        known = self._count > 0
        mean = self._total / np.maximum(self._count, 1.0)
        mean[~known] = mean[known].mean() if known.any() else 0.0
        return mean


@kernel
def _add_valid(steps, fills, largest, total, count):
    """Of each place in ``steps`` (steps, values): what values are not special, and how many these are."""
    for step in range(steps.shape[0]):
        values = steps[step]
        for i in range(values.size):
            value = values[i]
            valid = abs(value) <= largest
            for k in range(fills.size):
                valid = valid and value != fills[k]
            if valid:
                total[i] += value
                count[i] += 1.0


def _evenly(count: int, most: int) -> list[int]:
    """Up to ``most`` of so many numbers, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64)).tolist()


def _valid(values: Any, fills: Sequence[float]) -> np.ndarray:
    """As float64, with NaN where a value is special."""
    array = np.asarray(values)
    with np.errstate(invalid="ignore", over="ignore"):  # of signalling NaN, and fills beyond the dtype
        filled = np.isin(array, np.array(fills, np.float64).astype(array.dtype))
        usual = (np.abs(array) <= largest_coded(array.dtype)) & ~filled
        return np.where(usual, array, np.nan).astype(np.float64)


def _bits(pairs: np.ndarray, eps: float, steps: int) -> tuple[float, float]:
    """About the bits of a value in the second step of each pair, alone, and less the mean of all, of which
    each of so many ``steps`` pays its part: by the best of a few predictors, with quantization's noise."""
    rng, known = np.random.default_rng(0), np.isfinite(pairs)
    total, count = np.where(known, pairs, 0.0).sum(axis=(0, 1)), known.sum(axis=(0, 1))
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    noisy, finer = pairs + rng.uniform(-eps, eps, pairs.shape), eps / _FINER
    base = mean + rng.uniform(-finer, finer, mean.shape)
    own = _least_bits(mean[None], base[None], np.full(base[None].shape, np.nan), finer)
    alone = _least_bits(pairs[1], noisy[1], noisy[0], eps)
    return alone, _least_bits(pairs[1] - base, noisy[1] - base, noisy[0] - base, eps) + own / steps


@kernel
def _least_bits(target, here, before, eps):
    """Bits of a value of ``target`` (steps, z, y, x), by the best predictor: nothing; values around it,
    ``here``; the value at its place in the step ``before``, or how that differs from those around it.
    Infinity where there is none."""
    counts, found = np.zeros((_PREDICTORS, BUCKETS), np.int64), np.zeros(_PREDICTORS, np.int64)
    bits, told = np.zeros(_PREDICTORS, np.float64), np.empty(_PREDICTORS, np.float64)
    near, was = np.empty(_AROUND, np.float64), np.empty(_AROUND, np.float64)
    for k in range(target.shape[0]):
        for z in range(min(1, target.shape[1] - 1), target.shape[1]):
            for y in range(min(1, target.shape[2] - 1), target.shape[2]):
                for x in range(1, target.shape[3]):
                    point = before[k, z, y, x]
                    _around(here[k], z, y, x, near)
                    _around(before[k], z, y, x, was)
                    told[0], told[1], told[2] = 0.0, point, 0.5 * (point + near[0])
                    for way in range(_AROUND):
                        told[3 + way], told[3 + _AROUND + way] = near[way], point + (near[way] - was[way])
                    for way in range(_PREDICTORS):
                        size = abs(target[k, z, y, x] - told[way])
                        if size < np.inf:
                            bits[way] += note_magnitude(size, 2.0 * eps, counts[way])
                            found[way] += 1
    least = np.inf
    for way in range(_PREDICTORS):
        if found[way] > 0:
            least = min(least, (bits[way] + order_0_bits(counts[way], found[way])) / found[way])
    return least


@helper
def _around(step, z, y, x, told):
    """Fill ``told`` with what values before (z, y, x) say of it: the mean of those left and above, a plane
    through these, the value below, and how that differs from such a mean and plane."""
    up = y - 1 if y > 0 else y
    left, above, corner = step[z, y, x - 1], step[z, up, x], step[z, up, x - 1]
    told[0] = 0.5 * (left + above) if y > 0 else left
    told[1] = left + above - corner if y > 0 else left
    if z == 0:
        told[2], told[3], told[4] = told[0], told[0], told[1]
        return
    left, above, corner = step[z - 1, y, x - 1], step[z - 1, up, x], step[z - 1, up, x - 1]
    told[2] = step[z - 1, y, x]
    told[3] = told[2] + told[0] - (0.5 * (left + above) if y > 0 else left)
    told[4] = told[2] + told[1] - (left + above - corner if y > 0 else left)
