"""Which family, fold and weights: decided on a sample of the field, by coded bytes.

For the encoder alone, never part of the format.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from lossyzip.blocks import Beside, Block, coded_blocks, fit_blocks, middle_of, sample_blocks
from lossyzip.candidates import (
    best_lattice,
    best_lorenzo,
    for_tiles,
    kind_of,
    try_multigrid,
    try_raster,
    try_still,
)
from lossyzip.container.header import Header
from lossyzip.decompose import lorenzo, multiples
from lossyzip.decompose.families import Plan, quantizer
from lossyzip.decompose.fold import Fold, distinct_folds
from lossyzip.decompose.interpolation import Multigrid
from lossyzip.decompose.lattice import Lattice
from lossyzip.decompose.rows import Quantizer
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.effort import MANY, Effort
from lossyzip.field import Source
from lossyzip.final_rounds import best_mixed, judged_again, surely_judged
from lossyzip.judge import Attempt, Judge, judge_all
from lossyzip.margins import is_quiet
from lossyzip.shortlist import (
    FAR,
    best_without_guides,
    close_at,
    has_low_rate,
    judged_by_rasters,
    least,
    rasters_of_volumes,
    shortlist,
    smallest,
    step_at,
    wavelets,
)

_TURNS_AT_LOW_RATES = 1.5
_WORTH_MIXING = 1.25  # plans that are larger than the best by more are not judged by mixed coding
_MIXED_BLOCK = 1 << 20
_FEW_BYTES = 1 << 14  # of a field: one place may take most of them, so that a whole tile is mixed
_LATTICE_SCOUT = 1 << 14
_MAY_WIN = 1.2  # times a lattice whose contexts are levels, as blocks say, whose edges cost it nothing
_NEARLY, _LIKELY = 1.1, 1.2  # times the best; as small samples say
_NOTHING = 0.1  # bits a value
_OVERSTATED = 1.2  # times what larger samples say of the best: the small one was of a rough place
_LOOKS = 4  # times the usual blocks, where all of these are quiet


class Choice(NamedTuple):
    """A plan, or None where the lossless back end is better; about how many bytes the field takes, and how
    many bits a value that is not quiet."""

    plan: Plan | None
    size: float = math.inf
    rate: float = math.inf


class _Begun(NamedTuple):
    """A search that is not at its end."""

    candidates: list[Attempt]
    final: Judge  # that of these
    alone: list[tuple[float, Plan]]  # plans without guides, where others have some, and their sizes
    scouted: list[tuple[float, Plan]]  # what the middle of a block says of all candidates, if it is asked,
    left_out: list[Attempt]  # and the best of those kinds that it left out, but for hopeless ones

    @property
    def low_rate(self) -> bool:
        """Whether that is next to nothing."""
        return bool(self.scouted) and has_low_rate(least(self.scouted), self.final.served)


def choose_plan(source: Source, header: Header, effort: Effort, threads: int = 1) -> Plan | None:
    """That of a `Search`."""
    return Search(source, header, effort, threads).choice.plan


class Search:
    """For the plan that codes ``source`` in the fewest bytes, by samples, no further than is asked for.

    ``header`` is the field's, its family and plan not yet known. The source is read in this thread.
    ``idempotent``: the family is the lattice, unless dtype and eps forbid it. ``beside``: guides that taps
    may reach into, in the header's dtype.
    """

    def __init__(
        self,
        source: Source,
        header: Header,
        effort: Effort,
        threads: int = 1,
        idempotent: bool = False,
        beside: Beside | None = None,
    ) -> None:
        self._source, self._header, self._effort, self._threads = source, header, effort, threads
        self._idempotent, self._beside = idempotent, beside

    @cached_property
    def choice(self) -> Choice:
        """The plan; None where the lossless back end is better."""
        begun = self._begun
        return begun if isinstance(begun, Choice) else self._chosen(begun)

    @property
    def size(self) -> float:
        """About the bytes of the field, as the first look at it says, if it has a clear one; infinite where
        there is nothing to code, or to code it by."""
        begun = self._begun
        if isinstance(begun, _Begun) and begun.scouted and not begun.low_rate:
            return least(begun.scouted)
        return self.choice.size

    @property
    def is_clear(self) -> bool:
        """Whether the first look says much: there is more than next to nothing to code, or all was seen."""
        return isinstance(self._begun, _Begun) and not self._begun.low_rate

    @cached_property
    def _begun(self) -> Choice | _Begun:
        """What there is to choose from, if that is a question."""
        source, header, effort, threads = self._source, self._header, self._effort, self._threads
        if self._idempotent and not multiples.suits(header.native, header.eps):
            return Choice(None)
        rule = quantizer(header.native, header.eps, header.low, header.high) if header.eps > 0.0 else None
        if rule is None or 0 in header.shape:
            return Choice(None)
        coded, share = _sample(source, header, effort, rule, self._beside)
        if not coded:
            return Choice(Lattice(lorenzo.X) if self._idempotent else Multigrid(Fold.MERGED, 1))
        served = round(effort.times * math.prod(header.shape) * share)
        sparse, folds = effort.brief and served >= MANY, distinct_folds(coded[0].shape)
        final = Judge(coded, coded, rule, served, effort.points, sparse=sparse)
        if self._idempotent or (effort.lattice and multiples.suits(header.native, header.eps)):
            size, lattice = best_lattice(final, threads)
            if self._idempotent or size < math.inf:
                return Choice(lattice)
        if effort.lattice:
            return Choice(best_lorenzo(folds, final, threads))
        if len(coded) > 1 or share < 1.0:
            fitted = coded_blocks(source, header, fit_blocks(header.shape), self._beside)
            final = replace(final, near=_loud(fitted, rule) or coded)
        # Those first that take long, so that threads end together: rasters of planes are fitted to most.
        candidates: list[Attempt] = [partial(try_multigrid, how=how) for how in folds]
        candidates += [partial(try_raster, how=how) for how in reversed(folds)]
        candidates += wavelets(folds, effort.steps)
        candidates += [partial(try_still, how=how) for how in folds]
        if self._beside is not None:
            candidates, alone = best_without_guides(candidates, final, threads)
            return _Begun(candidates, final, alone, [], [])
        if final.values <= 2 * effort.scouted or (effort.brief and not sparse):
            return _Begun(candidates, final, [], [], [])
        middle = [middle_of(coded[0], effort.scouted)]
        scout = Judge(middle, middle, rule, served, effort.scout_points, effort.brief, sparse)
        candidates, scouted, left_out = shortlist(candidates, scout, effort.leeway, threads)
        return _Begun(candidates, final, [], scouted, left_out)

    def _chosen(self, begun: _Begun) -> Choice:
        header, effort, final = self._header, self._effort, begun.final
        if begun.low_rate and final.sparse and len(begun.candidates) > 1:
            larger = sample_blocks(header.shape, replace(effort, block=2 * effort.block))
            final = replace(final, blocks=self._loud_blocks(larger, final) or final.blocks)
        judged = self._judged(begun, final)
        if begun.scouted and final.sparse and header.tile_shape == header.shape:
            whole = replace(final, blocks=final.near)
            judged = surely_judged(judged, begun.scouted, whole, self._threads)
        elif begun.scouted and has_low_rate(least(judged), final.served):
            large = sample_blocks(header.shape, replace(effort, block=MANY, blocks=1))
            blocks = self._loud_blocks(large, final)
            if blocks:
                most = max(_TURNS_AT_LOW_RATES, close_at(8.0 * least(judged) / final.served))
                judged = judged_again(judged, replace(final, blocks=blocks), most, self._threads)
        size, plan = min(judged, key=lambda pair: pair[0])
        if begun.scouted and final.sparse and isinstance(plan, Wavelet):  # of which but one step was tried
            plan = replace(plan, step=step_at(8.0 * size / final.served))
        if effort.mixes(header.tile_shape):
            values, count = _MIXED_BLOCK, 1
            if self._beside is not None:
                values //= 4
            elif math.prod(header.shape) >= 2 * values:  # as two, for two threads
                values, count = values // 2, 2
            if size < _FEW_BYTES:
                values, count = math.prod(header.tile_shape), 1
            parts = sample_blocks(header.shape, replace(effort, block=values, blocks=count))
            blocks = coded_blocks(self._source, header, parts, self._beside) or begun.final.blocks[:1]
            within = _WORTH_MIXING
            if has_low_rate(size, final.served):
                within = max(FAR, close_at(8.0 * size / final.served))
            plan = best_mixed(judged, replace(final, blocks=blocks), within, self._threads)
        if size > 0.5 * header.native.itemsize * final.served:
            lossless = final.lossless_size()
            if lossless < size:
                return Choice(None, lossless)
        return Choice(for_tiles(plan, header.tile_shape), size, 8.0 * size / final.served)

    def _judged(self, begun: _Begun, final: Judge) -> list[tuple[float, Plan]]:
        """What the candidates give that are left, and those beside them."""
        header, effort, threads = self._header, self._effort, self._threads
        candidates, scouted = begun.candidates, begun.scouted
        middle = middle_of(begun.final.blocks[0], _LATTICE_SCOUT).values
        whole_steps = _repeats(middle) or _in_steps(scouted, final.served, _LIKELY)
        if final.sparse and not scouted and self._beside is None:  # most blocks are quiet: one is left
            judged = judged_by_rasters(candidates, final, threads)
        else:
            judged = judge_all(candidates, final, threads, rasters_of_volumes(candidates)) + begun.alone
            if final.sparse and scouted and _OVERSTATED * least(judged) < least(scouted):
                judged += judge_all(begun.left_out, final, threads)
        if multiples.suits(header.native, header.eps) and (whole_steps or _in_steps(judged, final.served)):
            best = min(judged, key=lambda pair: pair[0])
            judged.append(_best_lattice(self._source, header, effort, final, best, self._beside))
        return judged

    def _loud_blocks(self, where: list[tuple[slice, ...]], judge: Judge) -> list[Block]:
        return _loud(coded_blocks(self._source, self._header, where), judge.rule)


def _best_lattice(
    source: Source,
    header: Header,
    effort: Effort,
    judge: Judge,
    best: tuple[float, Plan],
    beside: Beside | None,
) -> tuple[float, Lattice]:
    """The best one for ``judge``'s blocks, or, where these say little of how it compares to the ``best``
    other plan, for a tile."""
    parts = [middle_of(block, _LATTICE_SCOUT // len(judge.blocks)) for block in judge.blocks]
    _, plan = best_lattice(replace(judge, blocks=parts))
    size, _ = judge.size(plan)
    others, other = best
    if not plan.levels or not others / _MAY_WIN < size < others * _MAY_WIN:
        return size, plan
    part = replace(effort, block=math.prod(header.tile_shape), blocks=1)
    tile = coded_blocks(source, header, sample_blocks(header.shape, part), beside)
    whole = replace(judge, blocks=_loud(tile, judge.rule) or judge.blocks)
    other = for_tiles(other, whole.blocks[0].shape)
    own, theirs = whole.size(plan)[0], whole.size(other)[0]
    return others * own / theirs if max(own, theirs) < math.inf else max(own, size), plan


def _sample(
    source: Source, header: Header, effort: Effort, rule: Quantizer, beside: Beside | None
) -> tuple[list[Block], float]:
    """Blocks to judge plans by, and the part of the field that is like them, as opposed to quiet."""
    for looks in (1, _LOOKS):
        where = sample_blocks(header.shape, replace(effort, blocks=looks * effort.blocks))
        blocks = coded_blocks(source, header, where, beside)
        loud = _loud(blocks, rule)
        if loud:
            return loud[: effort.blocks], len(loud) / len(blocks)
    return blocks[: effort.blocks], 1.0


def _loud(blocks: list[Block], rule: Quantizer) -> list[Block]:
    """Those of ``blocks`` that no margin might be: what is described says nothing of plans."""
    return [block for block in blocks if not is_quiet(block.values, rule)]


def best_of_each_kind(
    source: Source, header: Header, effort: Effort, threads: int = 1, within: float = math.inf
) -> list[Plan]:
    """The best multigrid, raster, still raster and wavelet for ``header``'s eps, by samples; the best first.

    For those that judge plans by something else than the bytes at that eps; they take at most ``within``
    times as many as the best, about. Empty where `choose_plan` has
    nothing to try: no value of the samples is coded with loss.
    """
    rule = quantizer(header.native, header.eps, header.low, header.high) if header.eps > 0.0 else None
    if rule is None or 0 in header.shape:
        return []
    coded = coded_blocks(source, header, sample_blocks(header.shape, effort))
    if not coded:
        return []
    served = math.prod(header.shape)
    near = coded if len(coded) == 1 else coded_blocks(source, header, fit_blocks(header.shape))
    judge = Judge(coded, near or coded, rule, served, effort.points)
    folds = distinct_folds(coded[0].shape)
    tries = (try_multigrid, try_raster, try_still)
    kinds: list[list[Attempt]] = [[partial(attempt, how=how) for how in folds] for attempt in tries]
    kinds.append(wavelets(folds, effort.steps))
    if judge.values > 2 * effort.scouted:
        middle = [middle_of(coded[0], effort.scouted)]
        scout = Judge(middle, middle, rule, served, effort.scout_points)
        scouted = kinds if effort.brief else kinds[:-1]  # all steps of the wavelet go on: see `shortlist`
        kinds[: len(scouted)] = [[smallest(kind, scout, threads)] for kind in scouted]
    best = [min(judge_all(kind, judge, threads), key=lambda pair: pair[0]) for kind in kinds]
    best.sort(key=lambda pair: pair[0])
    return [for_tiles(plan, header.tile_shape) for size, plan in best if size <= within * best[0][0]]


def _repeats(block: np.ndarray) -> bool:
    """Whether most values are the same as those before them along some axis."""
    along = (np.moveaxis(block, axis, 0) for axis in range(block.ndim))
    return any(2 * np.count_nonzero(values[1:] == values[:-1]) > values[1:].size > 0 for values in along)


def _in_steps(judged: Sequence[tuple[float, Plan]], served: int, nearly: float = _NEARLY) -> bool:
    """Whether the lattice is worth a try: over masks and plateaus it may beat all that predict. That is where
    no prediction, too, is nearly as good as any, or where there is next to nothing to code."""
    best = min((size for size, _ in judged), default=math.inf)
    still = min((size for size, plan in judged if kind_of(plan)[1]), default=math.inf)
    return still < nearly * best or 8.0 * best < _NOTHING * served
