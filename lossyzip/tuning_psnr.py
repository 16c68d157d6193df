"""Which plan, and which eps, reach a PSNR in the fewest bytes: for the encoder alone.

Families are compared where each of them reaches the PSNR, which they do at different eps: a wavelet spends
no bits on keeping single values within a bound, and where nearly all codes are zero, errors are well below
eps. So eps is moved for each plan, on samples, then on tiles of the field for those that come close.
What is predicted here is proved by the door, on what was decoded; where it is missed, a finer eps is next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from lossyzip import tuning
from lossyzip.blocks import sample_blocks
from lossyzip.checker import Checker
from lossyzip.container.header import Header
from lossyzip.decompose.families import Codes, Plan, estimated_size, write_plan
from lossyzip.decompose.lattice import Lattice
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.effort import EFFORTS, Effort
from lossyzip.field import Number, Source
from lossyzip.threads import in_order
from lossyzip.tile import mixed_share, preview_tile

WAVELET_STEP = 2  # sixteenths of eps: so far from eps, hardly a value needs a correction
WAVELET_TILES = 2  # times as large as others: what repeats along a leading axis is coded once a tile
_UNIFORM = math.sqrt(3.0)  # eps over the root mean square of errors that are spread evenly within it
_MOST_EPS = 64.0  # ranges
_REFIT = 1.3  # stencils fitted at an eps that is further off by more are fitted again
_REFITS = 2
# Plans that are larger than the first on samples by more are not tried on tiles.
_IF_MIXED, _AFTER_A_WAVELET, _AFTER_OTHERS = 1.25, 1.05, 1.1
_BYTES_AT_EDGES = 0.0125  # a value, that a wavelet may lose on samples because they have edges
_SURVEYED_TILES = 16
_NEAR_ON_SAMPLES, _NEAR_ON_TILES, _NEAR_ON_FIELD = 0.05, 0.02, 0.004  # relative: 0.004 is 0.017 dB
_UNSURE = 0.98  # of the mean square allowed, where not all tiles were surveyed
_A_LITTLE_LESS = 0.99  # than the eps that would have hit, after a miss

Arrays = Callable[[], Iterable[np.ndarray]]  # reads them anew each time


@dataclass(frozen=True)
class Tried:
    """What a plan makes of some arrays at an eps. ``mean_square`` of the errors, relative to the range's."""

    eps: float
    mean_square: float
    size: float


class Aim:
    """Headers to encode a field with, until the PSNR is reached.

    ``draft`` is the header of what is coded, its eps the one that cannot miss; ``wide`` is the shape of tiles
    for wavelets. ``span`` and ``fill_values``: as for a `Checker`. The source is read in this thread; the
    result does not depend on their number.
    """

    def __init__(
        self,
        source: Source,
        draft: Header,
        wide: tuple[int, ...],
        effort: Effort,
        span: tuple[Number, Number],
        fill_values: tuple[Number, ...],
        threads: int,
    ) -> None:
        self._source, self._draft, self._effort, self._threads = source, draft, effort, threads
        self._wide, self._span, self._fill_values = wide, span, fill_values
        self._target = 10.0 ** (-draft.bound.value / 10.0)
        self._sure = False
        self._plan: Plan | None = None
        self._eps = draft.eps
        if draft.eps > 0.0 and self._target > 0.0:
            self._tune()

    def header(self) -> Header:
        """The next to try."""
        if self._plan is None:
            return self._draft
        return self._with(self._plan, self._eps)

    def missed(self, mean_square: float) -> None:
        """Be told that with the last header errors had this mean square, relative to the range's."""
        if self._sure or self._plan is None:
            return
        share = math.sqrt(self._target / mean_square) if 0.0 < mean_square < math.inf else 1.0
        self._eps = max(self._eps * min(share * _A_LITTLE_LESS, _A_LITTLE_LESS), self._draft.eps)

    def settle(self) -> None:
        """From now on be sure: no error is larger than the root mean square that is allowed."""
        self._sure = True
        self._eps = self._draft.eps
        if self._eps > 0.0:
            self._plan = tuning.choose_plan(self._source, self._draft, self._effort, self._threads)

    def _tune(self) -> None:
        blocks = sample_blocks(self._draft.shape, self._effort)
        judged = self._judge(self._at(blocks))
        if not judged:
            self.settle()
            return
        wide = replace(self._draft, tile_shape=self._wide)
        compared = _spread(wide.tile_slices(), 1)
        here, self._plan = self._compare(judged, self._at(compared), self._at(blocks))
        self._draft = wide if isinstance(self._plan, Wavelet) else self._draft
        tiles = self._draft.tile_slices()
        surveyed = _spread(tiles, _SURVEYED_TILES)
        target = self._target * (_UNSURE if len(surveyed) < len(tiles) else 1.0)
        tried = self._approach(self._at(surveyed), self._plan, here.eps, target, _NEAR_ON_FIELD, most=7)
        self._eps = max((t.eps for t in tried if t.mean_square <= target), default=self._draft.eps)

    def _judge(self, samples: Arrays) -> list[tuple[Tried, Plan]]:
        """What each kind of plan makes of ``samples`` where it reaches the target; the smallest first."""
        eps = self._draft.eps * _UNIFORM
        judged: list[tuple[Tried, Plan]] = []
        for _ in range(1 + _REFITS):
            plans = self._plans(eps)
            judged, start = [], eps
            for plan in sorted(plans, key=lambda plan: isinstance(plan, Wavelet)):
                first = start * (16.0 / WAVELET_STEP if isinstance(plan, Wavelet) else 1.0)
                tried = self._approach(samples, plan, first, self._target, _NEAR_ON_SAMPLES, most=5)
                judged.append((at_target(tried, self._target), plan))
                start = judged[0][0].eps
            if 1.0 / _REFIT <= start / eps <= _REFIT:
                break
            eps = start
        return sorted(judged, key=lambda pair: pair[0].size)

    def _compare(
        self, judged: list[tuple[Tried, Plan]], tiles: Arrays, samples: Arrays
    ) -> tuple[Tried, Plan]:
        """The best of ``judged`` on ``tiles``: those that are far behind are not looked at."""
        mixes, first = self._effort.mixes(self._draft.tile_shape), judged[0]
        margin = _IF_MIXED if mixes else _AFTER_A_WAVELET if isinstance(first[1], Wavelet) else _AFTER_OTHERS
        most = margin * first[0].size
        at_edges = sum(sample.size for sample in samples()) * _BYTES_AT_EDGES
        close = [
            (here, plan)
            for here, plan in judged
            if here.size <= most + (at_edges if isinstance(plan, Wavelet) else 0.0)
        ]
        if len(close) == 1:
            return close[0]
        looks = []
        for before, plan in close:
            tried = self._approach(tiles, plan, before.eps, self._target, _NEAR_ON_TILES, most=4)
            here = at_target(tried, self._target)
            looks.append((here.size * self._mixed_share(next(iter(samples())), plan, here.eps), here, plan))
        return min(looks, key=lambda look: look[0])[1:]

    def _plans(self, eps: float) -> list[Plan]:
        header = replace(self._draft, eps=eps)
        fast = tuning.choose_plan(self._source, header, EFFORTS["fast"], self._threads)
        if self._effort.lattice:
            return [] if fast is None else [fast]
        plans = tuning.best_of_each_kind(self._source, header, self._effort, self._threads)
        plans += [fast] if plans and isinstance(fast, Lattice) else []
        return [replace(plan, step=WAVELET_STEP) if isinstance(plan, Wavelet) else plan for plan in plans]

    def _at(self, where: Sequence[tuple[slice, ...]]) -> Arrays:
        return lambda: (np.asarray(self._source[place]) for place in where)

    def _with(self, plan: Plan, eps: float) -> Header:
        return replace(self._draft, eps=eps, family=plan.name, plan=write_plan(plan))

    def _approach(
        self, arrays: Arrays, plan: Plan, start: float, target: float, near: float, most: int
    ) -> list[Tried]:
        """Try up to ``most`` eps on ``arrays``, until the mean square is close below ``target``."""
        found: list[Tried] = []
        while len(found) < most:
            eps = next_eps(found, target * (1.0 - near / 2.0), start, _MOST_EPS * self._range())
            if any(here.eps == eps for here in found):
                break
            found.append(self._try(arrays, plan, eps, sized=near > _NEAR_ON_FIELD))
            if target * (1.0 - near) <= found[-1].mean_square <= target:
                break
        return found

    def _range(self) -> float:
        low, high = self._span
        return min(high - low, float(np.finfo(np.float64).max) / 128.0)

    def _try(self, arrays: Arrays, plan: Plan, eps: float, sized: bool) -> Tried:
        header = self._with(plan, eps)
        jobs = (partial(self._preview, array, header, plan, sized) for array in arrays())
        total, codes, size = self._checker(eps), [], 0.0
        for checker, its_codes, its_size in in_order(jobs, self._threads):
            total.merge(checker)
            codes += its_codes
            size += its_size
        mean_square = total.mean_square()
        mean_square = math.inf if math.isnan(mean_square) else mean_square
        return Tried(eps, mean_square, size + (estimated_size(codes) if codes else 0.0))

    def _preview(
        self, array: np.ndarray, header: Header, plan: Plan, sized: bool
    ) -> tuple[Checker, list[Codes], float]:
        """(errors, codes where their size is wanted, bytes beside those of the codes)."""
        checker = self._checker(header.eps)
        seen = preview_tile(array, header, plan)
        native = array.astype(header.native, copy=False)
        checker.update(native, native if seen is None else seen[0], (0,) * array.ndim)
        if seen is None or seen[1].outliers is None:
            return checker, [], float(array.nbytes)
        return checker, [seen[1]] if sized else [], float(seen[1].outliers.nbytes)

    def _checker(self, eps: float) -> Checker:
        return Checker(eps, *self._span, self._fill_values)

    def _mixed_share(self, sample: np.ndarray, plan: Plan, eps: float) -> float:
        """Mixed over static size, where tiles will be mixed; 1 where they will not."""
        if not self._effort.mixes(self._draft.tile_shape):
            return 1.0
        mixing = self._effort.mixing(self._draft.shape, self._draft.tile_shape)
        return mixed_share(sample, self._with(plan, eps), plan, mixing)


def next_eps(tried: Sequence[Tried], aim: float, start: float, most: float) -> float:
    """Where the mean square may be ``aim``: along the line through those around it, in logarithms."""
    if not tried:
        return min(start, most)
    below = [here for here in tried if 0.0 < here.mean_square <= aim]
    above = [here for here in tried if aim < here.mean_square < math.inf]
    if below and above:
        low, high = max(below, key=lambda t: t.eps), min(above, key=lambda t: t.eps)
        if low.eps < high.eps:
            slope = math.log(high.mean_square / low.mean_square) / math.log(high.eps / low.eps)
            share = math.log(aim / low.mean_square) / slope / math.log(high.eps / low.eps)
            return low.eps * (high.eps / low.eps) ** min(max(share, 0.05), 0.95)
    last, *others = sorted(tried, key=lambda t: t.eps, reverse=all(t.mean_square <= aim for t in tried))
    if last.mean_square == 0.0:
        return min(8.0 * last.eps, most)
    slope = 2.0  # as long as errors fill the steps
    if others and others[0].mean_square > 0.0 and others[0].mean_square + last.mean_square < math.inf:
        slope = math.log(others[0].mean_square / last.mean_square) / math.log(others[0].eps / last.eps)
    factor = (aim / last.mean_square) ** (1.0 / min(max(slope, 0.7), 3.0))
    return min(last.eps * min(max(factor, 1.0 / 16.0), 16.0), most)


def at_target(tried: Sequence[Tried], target: float) -> Tried:
    """What those tried say about eps and size where the mean square is ``target``, in logarithms.

    Where the mean square leaps (plateaus that fall between two steps), it is what reaches the target.
    """
    points = [here for here in tried if 0.0 < here.mean_square < math.inf and here.size > 0.0]
    if not points:
        return max(tried, key=lambda t: t.eps)
    around = sorted(points, key=lambda t: abs(math.log(t.mean_square / target)))[:2]
    if len(around) == 1 or around[0].mean_square == around[1].mean_square:
        return around[0]
    a, b = sorted(around, key=lambda t: t.mean_square)
    if a.mean_square <= target < b.mean_square and abs(math.log(a.eps / b.eps)) < 0.1 * math.log(
        b.mean_square / a.mean_square
    ):
        return a
    share = math.log(target / a.mean_square) / math.log(b.mean_square / a.mean_square)
    share = min(max(share, -1.0), 2.0)
    return Tried(a.eps * (b.eps / a.eps) ** share, target, a.size * (b.size / a.size) ** share)


def _spread(where: Sequence[tuple[slice, ...]], most: int) -> list[tuple[slice, ...]]:
    """``most`` of the tiles, evenly spread, or all."""
    if len(where) <= most:
        return list(where)
    return [where[(2 * k + 1) * len(where) // (2 * most)] for k in range(most)]
