"""Which family, fold and weights: decided on a sample of the field, by coded bytes.

For the encoder alone, never part of the format.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import TypeVar, cast

import numpy as np

from lossyzip.container.header import Header
from lossyzip.decompose import lattice
from lossyzip.decompose.families import Codes, Plan, decompose, quantizer, write_plan
from lossyzip.decompose.fitting import MultigridFitter, fit_raster
from lossyzip.decompose.fold import Fold, distinct_folds, fold
from lossyzip.decompose.interpolation import Multigrid, most_levels
from lossyzip.decompose.lattice import Lattice
from lossyzip.decompose.regression import Raster
from lossyzip.decompose.rows import Quantizer
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.entropy import lossless
from lossyzip.field import classify, largest_coded, native, tile_shape

_Out = TypeVar("_Out")
_WAVELET_STEPS = (35, 48, 64)  # sixteenths of eps
_WAVELET_HANDICAP = 1.03  # it is the slowest family


@dataclass(frozen=True)
class Effort:
    """How long to look. Fields of up to ``whole`` values are tried as a whole, larger ones on a block of
    ``block`` values; ``whole_fit`` or ``block_fit`` points are enough for a stencil."""

    whole: int
    block: int
    whole_fit: int
    block_fit: int
    lattice: bool = False  # no other family is looked at


EFFORTS = {
    "fast": Effort(1 << 16, 1 << 16, 4_000, 4_000, lattice=True),
    "balanced": Effort(1 << 21, 1 << 18, 20_000, 6_000),
    "max": Effort(1 << 22, 1 << 21, 50_000, 50_000),
}


def sample_slices(shape: tuple[int, ...], effort: Effort) -> tuple[slice, ...]:
    """A block from the middle of the field: the longest axis is halved until it is small enough.

    Never more than a tile, whose size allows for halos that outweigh thin shapes.
    """
    lengths = list(shape)
    size = float(np.prod(lengths, dtype=np.float64))
    most = math.prod(tile_shape(shape))
    if size > min(effort.whole, most):
        while np.prod(lengths, dtype=np.float64) > min(effort.block, most):
            axis = int(np.argmax(lengths))
            lengths[axis] = -(-lengths[axis] // 2)
    return tuple(slice((n - k) // 2, (n - k) // 2 + k) for n, k in zip(shape, lengths, strict=True))


def choose_plan(
    sample: np.ndarray, header: Header, effort: Effort, threads: int = 1, idempotent: bool = False
) -> Plan | None:
    """The plan that codes ``sample`` in the fewest bytes; None when none beats the lossless back end.

    ``header`` is the field's, its family and plan not yet known. ``idempotent``: the family is the
    lattice, unless dtype and eps forbid it.
    """
    if idempotent and not lattice.suits(header.native, header.eps):
        return None
    rule = quantizer(header.native, header.eps, header.low, header.high) if header.eps > 0.0 else None
    if rule is None or not sample.size:
        return None
    values = native(sample)
    classes, coded = np.empty(values.size, np.uint8), np.empty_like(values)
    specials = np.array(header.specials, np.uint64)
    special, _ = classify(
        values, values.view(f"u{values.itemsize}"), specials, largest_coded(header.native), classes, coded
    )
    if special == values.size:
        return Lattice(lattice.X) if idempotent else Multigrid(Fold.MERGED, 1)
    if idempotent or (effort.lattice and lattice.suits(header.native, header.eps)):
        size, plan = _best_lattice(coded, sample.shape, rule)
        if idempotent or size < math.inf:
            return plan
    points = float(np.prod(header.shape, dtype=np.float64)) / values.size
    fit = effort.whole_fit if points == 1.0 else effort.block_fit
    judge = _Judge(coded, sample.shape, rule, points, fit)
    folds = distinct_folds(sample.shape)
    if effort.lattice:
        size, plan = min(
            _run([partial(judge.lorenzo, how) for how in folds], threads), key=lambda pair: pair[0]
        )
        return plan if size < len(lossless.pack(values)) * points else None
    # With a block, time matters: the fold that serves one family best is likely to serve the other.
    likely = Fold.VOLUMES if Fold.VOLUMES in folds else Fold.MERGED
    multigrid = [partial(judge.multigrid, how) for how in (folds if points == 1.0 else [likely])]
    raster = [partial(judge.raster, how) for how in folds]
    judged = _run([*multigrid, *raster], threads)
    best = cast(Raster, min(judged[len(multigrid) :], key=lambda pair: pair[0])[1]).fold
    more = []  # the longest first, so that threads end together
    if points > 1.0 and best != likely:
        more.append(partial(judge.multigrid, best))
    more += [partial(judge.wavelet, step) for step in _WAVELET_STEPS]
    more.append(partial(judge.still, best))
    size, plan = min(judged + _run(more, threads), key=lambda pair: pair[0])
    if size > 0.5 * values.nbytes * points and len(lossless.pack(values)) * points < size:
        return None
    if isinstance(plan, Multigrid):  # its weights are kept; a tile may have more levels than the sample
        return replace(plan, levels=most_levels(fold(header.tile_shape, plan.fold)))
    return plan


def _best_lattice(coded: np.ndarray, shape: tuple[int, ...], rule: Quantizer) -> tuple[float, Plan]:
    """(bytes of the sample, plan): differences along all sets of axes are tried. inf: too many outliers."""
    lengths = dict(zip((lattice.T, lattice.Z, lattice.Y, lattice.X), fold(shape, Fold.VOLUMES), strict=True))
    long = [axis for axis, n in lengths.items() if n > 1]
    judged: list[tuple[float, Plan]] = []
    for axes in (sum(chosen) for k in range(len(long) + 1) for chosen in combinations(long, k)):
        codes = decompose(coded, shape, Lattice(axes), rule)
        size = math.inf if codes.outliers is None else codes.estimated_size() + codes.outliers.nbytes
        judged.append((size, Lattice(axes)))
    return min(judged, key=lambda pair: pair[0])


@dataclass(frozen=True)
class _Judge:
    """Codes a sample with the best plan of each kind: (bytes that the whole field would take, plan)."""

    coded: np.ndarray
    shape: tuple[int, ...]
    rule: Quantizer
    points: float
    fit: int

    def multigrid(self, how: Fold) -> tuple[float, Plan]:
        plan = Multigrid(how, most_levels(fold(self.shape, how)))
        fitter = MultigridFitter(plan, self.coded, float(self.rule.step), self.points, self.fit)
        codes = decompose(self.coded, self.shape, plan, self.rule, fitter)
        return self._size(fitter.plan(), codes)

    def raster(self, how: Fold) -> tuple[float, Plan]:
        sample = self.coded.reshape(self.shape)
        plan = fit_raster(sample, how, float(self.rule.step), self.points, self.fit)
        return self._size(plan, decompose(self.coded, self.shape, plan, self.rule))

    def lorenzo(self, how: Fold) -> tuple[float, Plan]:
        plan = Raster(how)
        return self._size(plan, decompose(self.coded, self.shape, plan, self.rule))

    def still(self, how: Fold) -> tuple[float, Plan]:
        plan = Raster(how, still=True)
        return self._size(plan, decompose(self.coded, self.shape, plan, self.rule))

    def wavelet(self, step: int) -> tuple[float, Plan]:
        plan = Wavelet(Fold.MERGED, step)
        size, _ = self._size(plan, decompose(self.coded, self.shape, plan, self.rule))
        return size * _WAVELET_HANDICAP, plan

    def _size(self, plan: Plan, codes: Codes) -> tuple[float, Plan]:
        if codes.outliers is None:
            return math.inf, plan
        return (codes.estimated_size() + codes.outliers.nbytes) * self.points + len(write_plan(plan)), plan


def _run(jobs: Sequence[Callable[[], _Out]], threads: int) -> list[_Out]:
    """The results of ``jobs``, in order."""
    if threads == 1:
        return [job() for job in jobs]
    with ThreadPoolExecutor(threads) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]
