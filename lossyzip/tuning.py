"""Which family, fold and weights: decided on a sample of the field, by coded bytes.

For the encoder alone, never part of the format.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from lossyzip.container.header import Header
from lossyzip.decompose.families import Codes, Plan, decompose, quantizer, write_plan
from lossyzip.decompose.fitting import MultigridFitter, fit_raster
from lossyzip.decompose.fold import Fold, distinct_folds, fold
from lossyzip.decompose.interpolation import Multigrid, most_levels
from lossyzip.decompose.regression import Raster
from lossyzip.decompose.rows import Quantizer
from lossyzip.entropy import lossless
from lossyzip.field import classify, largest_coded, native

Attempt = Callable[[], tuple[Plan, Codes]]
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class Effort:
    """How long to look. Fields of up to ``whole`` values are tried as a whole, larger ones on a block of
    ``block`` values; ``whole_fit`` or ``block_fit`` points are enough for a stencil."""

    whole: int
    block: int
    whole_fit: int
    block_fit: int


EFFORTS = {
    "fast": Effort(1 << 17, 1 << 17, 4_000, 4_000),
    "balanced": Effort(1 << 21, 1 << 18, 20_000, 6_000),
    "max": Effort(1 << 22, 1 << 21, 50_000, 50_000),
}


def sample_slices(shape: tuple[int, ...], effort: Effort) -> tuple[slice, ...]:
    """A block from the middle of the field: the longest axis is halved until it is small enough."""
    lengths = list(shape)
    size = float(np.prod(lengths, dtype=np.float64))
    if size > effort.whole:
        while np.prod(lengths, dtype=np.float64) > effort.block:
            axis = int(np.argmax(lengths))
            lengths[axis] = -(-lengths[axis] // 2)
    return tuple(slice((n - k) // 2, (n - k) // 2 + k) for n, k in zip(shape, lengths, strict=True))


def choose_plan(sample: np.ndarray, header: Header, effort: Effort, threads: int = 1) -> Plan | None:
    """The plan that codes ``sample`` in the fewest bytes; None when none beats the lossless back end.

    ``header`` is the field's, its family and plan not yet known.
    """
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
        return Multigrid(Fold.MERGED, 1)
    points = float(np.prod(header.shape, dtype=np.float64)) / values.size
    fit = effort.whole_fit if points == 1.0 else effort.block_fit

    def judge(attempt: Attempt) -> tuple[float, Plan]:
        plan, codes = attempt()
        if codes.outliers is None:
            return np.inf, plan
        size = (len(codes.to_bytes()) + codes.outliers.nbytes) * points
        return size + len(write_plan(plan)), plan

    folds = distinct_folds(sample.shape)
    raster = [partial(_try_raster, coded, sample.shape, how, rule, points, fit) for how in folds]
    judged = _run(judge, raster, threads)
    best = min(judged, key=lambda pair: pair[0])[1].fold
    judged.append(judge(partial(_try_still, coded, sample.shape, best, rule)))
    if points > 1.0:  # time matters: the fold that serves one family best is likely to serve the other
        folds = [best]
    multigrid = [partial(_try_multigrid, coded, sample.shape, how, rule, points, fit) for how in folds]
    judged += _run(judge, multigrid, threads)
    size, plan = min(judged, key=lambda pair: pair[0])
    if size > 0.5 * values.nbytes * points and len(lossless.pack(values)) * points < size:
        return None
    return (
        replace(plan, levels=most_levels(fold(header.tile_shape, plan.fold)))
        if isinstance(plan, Multigrid)
        else plan
    )


def _run(function: Callable[[_In], _Out], items: list[_In], threads: int) -> list[_Out]:
    """``function`` of each item, in order."""
    if threads == 1 or len(items) == 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


def _try_multigrid(
    coded: np.ndarray, shape: tuple[int, ...], how: Fold, rule: Quantizer, points: float, fit: int
) -> tuple[Plan, Codes]:
    plan = Multigrid(how, most_levels(fold(shape, how)))
    fitter = MultigridFitter(plan, coded, float(rule.step), points, fit)
    codes = decompose(coded, shape, plan, rule, fitter)
    return fitter.plan(), codes


def _try_raster(
    coded: np.ndarray, shape: tuple[int, ...], how: Fold, rule: Quantizer, points: float, fit: int
) -> tuple[Plan, Codes]:
    plan = fit_raster(coded.reshape(shape), how, float(rule.step), points, fit)
    return plan, decompose(coded, shape, plan, rule)


def _try_still(coded: np.ndarray, shape: tuple[int, ...], how: Fold, rule: Quantizer) -> tuple[Plan, Codes]:
    plan = Raster(how, still=True)
    return plan, decompose(coded, shape, plan, rule)
