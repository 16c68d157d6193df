"""Which candidates are looked at for longer: those that a small sample says may be the best of all.

For the encoder alone, never part of the format.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from lossyzip.candidates import kind_of, try_multigrid, try_raster, try_still, try_wavelet, with_step
from lossyzip.decompose.families import Plan
from lossyzip.decompose.fold import Fold, distinct_folds
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.effort import FINE_STEP, USUAL_STEP
from lossyzip.judge import Attempt, Judge, judge_all

SLACK = 1024  # bytes; where all is nearly free, a small sample says little
FAR = 2.0  # times the best on a small sample at low rates: it may be the best of all
_LOW_RATE = 0.6  # bits a value, below which small blocks say little: their edges cost most
_BITS_OF_FINE_STEPS = 0.5  # a value, above which the finer step is mostly better
_CLOSE = 1.03
_CLOSE_BITS = 0.05  # a value
_OTHER_FOLD = 1.15  # times the best of a kind: samples say more of folds than of kinds
_CLOSE_FOLD = 1.05  # folds in which a raster is no farther behind are good enough for others
_TRIES = (try_multigrid, try_raster, try_still, try_wavelet)
# Below so many bits a value: how many times the best size that of the best of each kind may be on a small
# sample, whose edges cost some kinds more than others.
_LEEWAYS = (
    (2.0, dict(zip(_TRIES, (1.25, 1.25, 1.15, 1.3), strict=True))),
    (math.inf, dict(zip(_TRIES, (1.25, 1.25, 1.15, 1.15), strict=True))),
)


def shortlist(
    candidates: Sequence[Attempt], scout: Judge, leeway: float, threads: int
) -> tuple[list[Attempt], list[tuple[float, Plan]], list[Attempt]]:
    """The candidates close to the best, and the best of each kind, unless it is far behind; what all gave;
    and the best of other kinds, unless it takes several times as much."""
    if scout.brief:
        one_step = [c for c in candidates if c.keywords.get("step", USUAL_STEP) == USUAL_STEP]
        tried, judged = _judged_by_folds(one_step, scout, threads)
    else:
        tried, judged = list(candidates), judge_all(candidates, scout, threads)
    best = least(judged)
    close, leeways, rate = _CLOSE * best, dict.fromkeys(_TRIES, leeway), 8.0 * best / scout.served
    if scout.sparse or rate < _LOW_RATE:
        close = best * close_at(rate)
    if rate < _LOW_RATE:
        leeways = dict.fromkeys(_TRIES, FAR)
    elif scout.sparse:
        leeways = next(leeways for below, leeways in _LEEWAYS if rate <= below)
    best_of_kind: dict[tuple[str, bool, bool], float] = {}
    for size, plan in judged:
        kind = kind_of(plan)
        best_of_kind[kind] = min(size, best_of_kind.get(kind, math.inf))
    chosen, left_out = [], []
    for candidate, (size, plan) in zip(tried, judged, strict=True):
        best_of_its = best_of_kind[kind_of(plan)]
        most = max(close, leeways[candidate.func] * best + SLACK) if size == best_of_its else close
        if size <= min(most, _OTHER_FOLD * best_of_its):
            chosen.append(candidate)
        elif size == best_of_its <= FAR * best:
            left_out.append(candidate)
    if not scout.brief and any(candidate.func is try_wavelet for candidate in chosen):
        # all its steps: small blocks, of which much is edges, say little of which one is best
        chosen = [candidate for candidate in tried if candidate in chosen or candidate.func is try_wavelet]
    if scout.brief:
        of_wavelet = [size for size, plan in judged if isinstance(plan, Wavelet)]
        if of_wavelet:
            step = step_at(8.0 * of_wavelet[0] / scout.served)
            chosen = [with_step(candidate, step) for candidate in chosen]
    return chosen, judged, left_out


def _judged_by_folds(
    candidates: Sequence[Attempt], judge: Judge, threads: int
) -> tuple[list[Attempt], list[tuple[float, Plan]]]:
    """Those ``candidates`` whose fold a raster does well in, and what they give."""
    first = [c for c in candidates if c.func in (try_raster, try_wavelet) or c.keywords["how"] == Fold.MERGED]
    judged = judge_all(first, judge, threads)
    good = _good_folds(first, judged)
    others = [c for c in candidates if c not in first and c.keywords["how"] in good]
    return first + others, judged + judge_all(others, judge, threads)


def judged_by_rasters(candidates: Sequence[Attempt], judge: Judge, threads: int) -> list[tuple[float, Plan]]:
    """What all of one fold or two give: rasters say which folds, and which step of a wavelet."""
    rasters = [c for c in candidates if c.func is try_raster]
    always = [c for c in candidates if c.func is try_multigrid and c.keywords["how"] == Fold.MERGED]
    judged = judge_all([*rasters, *always], judge, threads, always)
    of_rasters = judged[: len(rasters)]
    step = step_at(8.0 * least(of_rasters) / judge.served)
    good = _good_folds(rasters, of_rasters)
    others = [c for c in candidates if c.func in (try_multigrid, try_still) and c.keywords["how"] in good]
    others += wavelets(distinct_folds(judge.blocks[0].shape), [step])
    return judged + judge_all([c for c in others if c not in always], judge, threads)


def _good_folds(candidates: Sequence[Attempt], judged: Sequence[tuple[float, Plan]]) -> list[Fold]:
    """Those in which a raster is nearly as good as in the best one; and the usual one, which is always tried:
    a raster says little of a multigrid there."""
    rasters = [(size, c) for c, (size, _) in zip(candidates, judged, strict=True) if c.func is try_raster]
    most = _CLOSE_FOLD * least(rasters)
    return [Fold.MERGED, *(c.keywords["how"] for size, c in rasters if size <= most)]


def best_without_guides(
    candidates: Sequence[Attempt], judge: Judge, threads: int
) -> tuple[list[Attempt], list[tuple[float, Plan]]]:
    """The best of each kind, and all wavelets: with guides, others take several times as long to fit. And
    what they are without, which may be smaller."""
    blocks, near = ([block._replace(guides=None) for block in some] for some in (judge.blocks, judge.near))
    judged = judge_all(candidates, replace(judge, blocks=blocks, near=near), threads)
    best: dict[tuple[str, bool, bool], tuple[float, Plan, Attempt]] = {}
    for candidate, (size, plan) in zip(candidates, judged, strict=True):
        if size < best.get(kind_of(plan), (math.inf, plan, candidate))[0]:
            best[kind_of(plan)] = size, plan, candidate
    fitted = [c for _, _, c in best.values() if c.func in (try_multigrid, try_raster)]
    unfitted = [candidate for candidate in candidates if candidate.func is try_wavelet]
    return [*unfitted, *fitted], [(size, plan) for size, plan, _ in best.values()]


def wavelets(folds: Sequence[Fold], steps: Sequence[int]) -> list[Attempt]:
    """Along all axes but that of components, if there is one."""
    how = Fold.COMPONENTS if Fold.COMPONENTS in folds else Fold.MERGED
    return [partial(try_wavelet, step=step, how=how) for step in steps]


def rasters_of_volumes(candidates: Sequence[Attempt]) -> list[Attempt]:
    """Those that take longest, where there is a fourth axis: they have most taps to fit."""
    return [c for c in candidates if c.func is try_raster and c.keywords["how"] == Fold.VOLUMES]


def smallest(attempts: Sequence[Attempt], judge: Judge, threads: int) -> Attempt:
    return attempts[int(np.argmin([size for size, _ in judge_all(attempts, judge, threads)]))]


def least(judged: Sequence[tuple[float, Plan | Attempt]]) -> float:
    return min(size for size, _ in judged)


def has_low_rate(size: float, served: int) -> bool:
    return 8.0 * size < _LOW_RATE * served


def close_at(rate: float) -> float:
    """How many times the best size another plan may take that is as good, at so many bits a value."""
    return 1.0 + _CLOSE_BITS / rate


def step_at(rate: float) -> int:
    """That of a wavelet which is mostly better at so many bits a value."""
    return FINE_STEP if rate > _BITS_OF_FINE_STEPS else USUAL_STEP
