"""The last rounds of a search for a plan: what is left, judged by larger blocks, or by mixed coding.

For the encoder alone, never part of the format.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from lossyzip.candidates import for_tiles, kind_of, try_plan
from lossyzip.decompose.families import Plan
from lossyzip.decompose.lattice import Lattice
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.judge import Judge, judge_all
from lossyzip.shortlist import SLACK, least
from lossyzip.threads import results_of

_MAY_TURN, _ALIKE = 1.35, 1.15  # times as large as the best; as what was judged by a smaller sample


def surely_judged(
    judged: list[tuple[float, Plan]], scouted: Sequence[tuple[float, Plan]], whole: Judge, threads: int
) -> list[tuple[float, Plan]]:
    """The best of each kind by the whole field, which is one tile, where that may have another best one: some
    are not far behind, and a value takes more or less in smaller samples, which lie elsewhere."""
    best, before = least(judged), least(scouted)
    if 1.0 / _ALIKE < best / before < _ALIKE:
        return judged
    return judged_again(judged, whole, _MAY_TURN, threads)


def judged_again(
    judged: list[tuple[float, Plan]], large: Judge, most: float, threads: int
) -> list[tuple[float, Plan]]:
    """By larger blocks, the best of each kind that takes no more than ``most`` times the best."""
    best = least(judged)
    near = [plan for size, plan in _best_of_kinds(judged).values() if size < most * best]
    if len(near) < 2:
        return judged
    again = [partial(try_plan, plan=for_tiles(plan, large.blocks[0].shape)) for plan in near]
    return judge_all(again, large, threads)


def best_mixed(judged: Sequence[tuple[float, Plan]], judge: Judge, within: float, threads: int) -> Plan:
    """The best by mixed coding of ``judged`` plans: static coding is no judge of plans that are nearly as
    good, since contexts make up for the weaknesses of some, such as plateaus next to predicted values."""
    best = _best_of_kinds(judged)
    smallest = min(size for size, plan in best.values() if not isinstance(plan, Lattice))  # never mixed
    near = [plan for size, plan in best.values() if size <= smallest * within + SLACK]
    plans = [for_tiles(plan, judge.blocks[0].shape) for plan in near]
    if len(plans) == 1:
        return plans[0]
    # A wavelet takes half as long again as others.
    jobs = [
        (float(isinstance(plan, Wavelet)), partial(judge.mixed_size, plan, block))
        for plan in plans
        for block in judge.blocks
    ]
    sizes = np.array(results_of(jobs, threads)).reshape(len(plans), -1)
    return plans[int(np.argmin(sizes.sum(axis=1)))]


def _best_of_kinds(judged: Sequence[tuple[float, Plan]]) -> dict[tuple[str, bool, bool], tuple[float, Plan]]:
    best: dict[tuple[str, bool, bool], tuple[float, Plan]] = {}
    for pair in judged:
        kind = kind_of(pair[1])
        best[kind] = min(best.get(kind, pair), pair, key=lambda pair: pair[0])
    return best
