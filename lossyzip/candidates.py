"""Plans to try: those of each family, their weights fitted to blocks of a field, and what they make of it.

An attempt takes a `Judge` and gives (about the bytes that the field takes, plan).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from lossyzip.decompose import multiples
from lossyzip.decompose.families import Plan, decompose, used_guides
from lossyzip.decompose.fitting import MultigridFitter, fit_raster, fit_wavelet
from lossyzip.decompose.fold import Fold, distinct_folds, fold, walked
from lossyzip.decompose.interpolation import Multigrid, most_levels
from lossyzip.decompose.lattice import Lattice
from lossyzip.decompose.regression import Raster
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.judge import Attempt, Judge, judge_all
from lossyzip.lattice_search import sizes_along_axes

_WAVELET_HANDICAP = 1.03  # it is the slowest family,
_PLANES_HANDICAP = 1.03  # rows of single planes are coded one by one, those of volumes eight at once
_MAY_BE_WHOLE = 2.0  # times the best lattice, as differences from 0; those from the middle take up to half
_SCOUTED_HANDICAP = 1.07  # whose trial on more blocks is to be worth its time


def kind_of(plan: Plan) -> tuple[str, bool, bool]:
    """(family, whether nothing is predicted, whether guides are used)"""
    return plan.name, isinstance(plan, Raster) and plan.still, bool(used_guides(plan))


def try_multigrid(judge: Judge, how: Fold) -> tuple[float, Plan]:
    shape = judge.blocks[0].shape
    guides = judge.guides()
    plan = Multigrid(how, most_levels(fold(shape, how)), guides=0 if guides is None else len(guides))
    coded = judge.together
    fitter = MultigridFitter(
        *(plan, walked(coded, shape, how), float(judge.rule.step), judge.scale, judge.points),
        brief=judge.brief,
        sparse=judge.sparse and 1 not in fold(shape, how)[1:],
    )
    codes = decompose(coded, shape, plan, judge.rule, fitter, guides)
    plan = fitter.plan()
    return judge.size_of([codes], plan), plan


def try_raster(judge: Judge, how: Fold) -> tuple[float, Plan]:
    size, plan = judge.size(_fitted_raster(judge, how))
    single = judge.sparse and how == Fold.PLANES and len(judge.blocks[0].shape) > 2
    return size * (_PLANES_HANDICAP if single else 1.0), plan


def _fitted_raster(judge: Judge, how: Fold) -> Raster:
    scale = judge.served / sum(block.size for block in judge.near)
    return fit_raster(
        *([block.values for block in judge.near], how, float(judge.rule.step), scale, judge.points),
        judge.brief,
        [block.guides for block in judge.near if block.guides is not None],
    )


def try_still(judge: Judge, how: Fold) -> tuple[float, Plan]:
    return judge.size(Raster(how, still=True))


def try_wavelet(judge: Judge, step: int, how: Fold) -> tuple[float, Plan]:
    return try_plan(judge, _fitted_wavelet(judge, step, how))


def try_plan(judge: Judge, plan: Plan) -> tuple[float, Plan]:
    """A plan as it is."""
    size, _ = judge.size(plan)
    if isinstance(plan, Wavelet):
        size *= _SCOUTED_HANDICAP if judge.brief else _WAVELET_HANDICAP
    return size, plan


def _fitted_wavelet(judge: Judge, step: int, how: Fold) -> Wavelet:
    plan, guides = Wavelet(how, step), judge.guides()
    if guides is None:
        return plan
    shape = judge.blocks[0].shape
    field = fold(shape, how)
    field = field._replace(t=field.t * len(judge.blocks))
    coded, beside = walked(judge.together, shape, how), walked(guides.reshape(-1), shape, how)
    beside = beside.reshape(guides.shape)
    return fit_wavelet(coded, field, beside, plan, float(judge.rule.eps), judge.scale)


def with_step(candidate: Attempt, step: int) -> Attempt:
    """A wavelet with ``step``; other candidates as they are."""
    return partial(candidate, step=step) if "step" in candidate.keywords else candidate


def for_tiles(plan: Plan, shape: tuple[int, ...]) -> Plan:
    """``plan`` with as many levels as a tile of ``shape`` has; the sample may have fewer."""
    if isinstance(plan, Multigrid):
        return replace(plan, levels=most_levels(fold(shape, plan.fold)))
    return plan


def best_lattice(judge: Judge, threads: int = 1) -> tuple[float, Lattice]:
    """Differences along some of the axes, as `sizes_along_axes` tries them; or along none, from 0 or from the
    middle, with levels around them, too, where that may be as good."""
    shape = judge.blocks[0].shape
    how = Fold.COMPONENTS if Fold.COMPONENTS in distinct_folds(shape) else Fold.VOLUMES
    sizes = sizes_along_axes(judge.together, shape, how, judge.rule, threads)
    judged = [(judge.scale * size, Lattice(axes, fold=how)) for axes, size in sizes.items()]
    (whole, _), (least, _) = judged[0], min(judged, key=lambda pair: pair[0])
    if whole < _MAY_BE_WHOLE * least:
        centre = multiples.middle(judge.rule)
        centred = Lattice(0, centre, fold=how), Lattice(0, centre, True, how)
        judged += [(judge.size(plan)[0], plan) for plan in centred if plan != judged[0][1]]
    return min(judged, key=lambda pair: pair[0])


def best_lorenzo(folds: Sequence[Fold], judge: Judge, threads: int) -> Plan | None:
    """What is fast where the lattice has too many outliers."""
    attempts: list[Attempt] = [partial(Judge.size, plan=Raster(how)) for how in folds]
    size, plan = min(judge_all(attempts, judge, threads), key=lambda pair: pair[0])
    return plan if size < judge.lossless_size() else None
