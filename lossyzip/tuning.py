"""Which family, fold and weights: decided on a sample of the field, by coded bytes.

For the encoder alone, never part of the format.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from lossyzip.container.header import Header
from lossyzip.decompose import lattice
from lossyzip.decompose.families import (
    Codes,
    Plan,
    decompose,
    estimated_size,
    mix,
    quantizer,
    used_guides,
    write_plan,
)
from lossyzip.decompose.fitting import MultigridFitter, fit_raster, fit_wavelet
from lossyzip.decompose.fold import Fold, distinct_folds, fold
from lossyzip.decompose.interpolation import Multigrid, most_levels
from lossyzip.decompose.lattice import Lattice
from lossyzip.decompose.regression import Raster
from lossyzip.decompose.rows import Quantizer
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.entropy import lossless
from lossyzip.field import Source, classify, largest_coded, native, tile_shape
from lossyzip.threads import in_order

_USUAL_STEP, _FINE_STEP = 48, 35  # of the wavelet, in sixteenths of eps
_BITS_OF_FINE_STEPS = 0.5  # a value, above which the finer step is mostly better
_WAVELET_HANDICAP = 1.03  # it is the slowest family,
_SPARSE_HANDICAP = 1.1  # which counts where speed does
_CLOSE = 1.03
_CLOSE_FOLD = 1.05  # folds in which a raster is no farther behind are good enough for others
_SLACK = 1024  # bytes; where all is nearly free, a small sample says little
_WORTH_MIXING = 1.25  # plans that are larger than the best by more are not judged by mixed coding
_LOW_RATE, _LOW_MARGIN = 0.6, 1.5  # bits a value, below which small blocks say little: their edges cost most
_EDGE_BITS = (
    0.2  # a value: about what edges of the first sample cost, more for some families than for others,
)
_CLOSE_BITS, _HIGH_RATE = 0.05, 2.0  # and for folds of one family; a rate at which edges matter little
_MIXED_BLOCK = 1 << 18
_GUIDE_BYTES = 16  # that a guide takes in the header
_MANY = 1 << 20  # values, from which on it matters how long each takes
_LATTICE_SCOUT = 1 << 14
_NEARLY = 1.1
_NOTHING = 0.1  # bits a value
_FIT_BLOCK, _FIT_BLOCKS = 1 << 12, 32
_GOLDEN = 1.32471795724474602596  # root of x**3 = x + 1: multiples of its powers spread evenly


@dataclass(frozen=True)
class Effort:
    """How long to look.

    Every candidate is tried on about ``scouted`` values, if there are many more; then those that came
    close to the best, and the best of each family, if it came within ``margin``, on ``blocks`` blocks of
    up to ``block`` values each, or on the whole field where that is no more. A stencil is fitted to
    ``scout_points``, then to ``points`` values. Codes of tiles
    of up to ``mixed`` values are mixed, where that makes them worth it, and plans judged by that.
    If ``brief``, smaller fields than _MANY values are not scouted: all candidates are tried on the blocks.
    Others are scouted with those stencils fitted alone that serve most values, and with one step of the
    wavelet, whose rate says which of ``steps`` is tried on.
    """

    scouted: int
    scout_points: int
    margin: float
    block: int
    blocks: int
    points: int
    mixed: int
    steps: tuple[int, ...] = (_USUAL_STEP,)  # of the wavelet
    brief: bool = False
    lattice: bool = False  # no other family is looked at
    tile_bytes: int = 1 << 23  # of floats, at most
    times: float = 1.0  # as many values are in the field that weights are to pay their way in

    def mixes(self, tile_shape: tuple[int, ...]) -> bool:
        """Whether tiles of this shape are to be mixed."""
        return math.prod(tile_shape) <= self.mixed


_STEPS = (_FINE_STEP, _USUAL_STEP)
EFFORTS = {
    "fast": Effort(1 << 15, 2_000, 1.1, 1 << 14, 4, 4_000, mixed=0, lattice=True),
    "balanced": Effort(1 << 15, 2_000, 1.2, 1 << 16, 4, 3_000, mixed=1 << 18, steps=_STEPS, brief=True),
    "max": Effort(
        1 << 17, 10_000, 1.5, 1 << 18, 4, 50_000, mixed=1 << 62, steps=(*_STEPS, 64), tile_bytes=1 << 24
    ),
}
ROUGH = Effort(1 << 15, 2_000, 1.2, 1 << 16, 4, 3_000, mixed=1 << 62)  # to compare fields' sizes alone


def sample_blocks(shape: tuple[int, ...], effort: Effort) -> list[tuple[slice, ...]]:
    """Blocks of a field of ``shape`` to code: the whole field if it is small, or some that lie apart."""
    most = math.prod(tile_shape(shape))  # never more than a tile: halos may outweigh thin shapes
    if math.prod(shape) <= min(effort.block * effort.blocks, most):
        return [tuple(slice(0, n) for n in shape)]
    return _spread(shape, min(effort.block, most), effort.blocks)


def _fit_blocks(shape: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Blocks to fit stencils to: more and smaller ones, or all that fits into a tile."""
    most = math.prod(tile_shape(shape))
    if math.prod(shape) <= most:
        return [tuple(slice(0, n) for n in shape)]
    return _spread(shape, min(_FIT_BLOCK, most), _FIT_BLOCKS)


def _spread(shape: tuple[int, ...], most: int, count: int) -> list[tuple[slice, ...]]:
    """``count`` blocks of at most ``most`` values each, evenly spread, the first in the middle."""
    lengths = _halved(shape, most)
    return [
        tuple(
            slice(start, start + k)
            for axis, (n, k) in enumerate(zip(shape, lengths, strict=True))
            for start in [round((0.5 + number * _GOLDEN ** -(axis + 1)) % 1.0 * (n - k))]
        )
        for number in range(count)
    ]


def _halved(shape: tuple[int, ...], most: int) -> list[int]:
    """The longest axis is halved until there are at most ``most`` values."""
    lengths = list(shape)
    while math.prod(lengths) > most:
        axis = int(np.argmax(lengths))
        lengths[axis] = -(-lengths[axis] // 2)
    return lengths


class Block(NamedTuple):
    """A part of a field, and of the guides that taps may reach into: (guides, values), or None."""

    values: np.ndarray
    guides: np.ndarray | None = None

    @property
    def size(self) -> int:
        return self.values.size

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def flat(self) -> np.ndarray:
        return self.values.reshape(-1)


Beside = Callable[[tuple[slice, ...]], np.ndarray]  # guides (guides, ...) of a part of the field


def choose_plan(
    source: Source,
    header: Header,
    effort: Effort,
    threads: int = 1,
    idempotent: bool = False,
    beside: Beside | None = None,
) -> Plan | None:
    """The plan that codes ``source`` in the fewest bytes, by samples; None: the lossless back end does.

    ``header`` is the field's, its family and plan not yet known. The source is read in this thread.
    ``idempotent``: the family is the lattice, unless dtype and eps forbid it. ``beside``: guides that taps
    may reach into, in the header's dtype.
    """
    if idempotent and not lattice.suits(header.native, header.eps):
        return None
    rule = quantizer(header.native, header.eps, header.low, header.high) if header.eps > 0.0 else None
    if rule is None or 0 in header.shape:
        return None
    coded = _coded_blocks(source, header, sample_blocks(header.shape, effort), beside)
    if not coded:
        return Lattice(lattice.X) if idempotent else Multigrid(Fold.MERGED, 1)
    served = round(effort.times * math.prod(header.shape))
    near = coded if len(coded) == 1 else _coded_blocks(source, header, _fit_blocks(header.shape), beside)
    sparse = effort.brief and served >= _MANY
    final = _Judge(coded, near or coded, rule, served, effort.points, sparse=sparse)
    if idempotent or (effort.lattice and lattice.suits(header.native, header.eps)):
        size, plan = _best_lattice(final)
        if idempotent or size < math.inf:
            return plan
    folds = distinct_folds(coded[0].shape)
    if effort.lattice:
        return _best_lorenzo(folds, final, threads)
    candidates: list[Attempt] = [partial(_try_wavelet, step=step) for step in effort.steps]
    candidates += [partial(attempt, how=how) for how in folds for attempt in (_try_multigrid, _try_raster)]
    candidates += [partial(_try_still, how=how) for how in folds]
    alone: list[tuple[float, Plan]] = []
    scouted: list[tuple[float, Plan]] = []
    if beside is not None:
        candidates, alone = _best_without_guides(candidates, final, threads)
    elif final.values > 2 * effort.scouted and (sparse or not effort.brief):
        middle = [_middle(coded[0], effort.scouted)]
        scout = _Judge(middle, middle, rule, served, effort.scout_points, effort.brief, sparse)
        candidates, scouted = _shortlist(candidates, scout, effort.margin, threads)
        if sparse and len(candidates) > 1 and _has_low_rate(min(size for size, _ in scouted), served):
            larger = sample_blocks(header.shape, replace(effort, block=2 * effort.block))
            final = replace(final, blocks=_coded_blocks(source, header, larger, beside) or final.blocks)
    small = _Judge([_middle(coded[0], _LATTICE_SCOUT)], [], rule, served, 0)
    whole_steps = _repeats(small.blocks[0].values) or _in_steps(scouted, served)
    if sparse and len(candidates) == 1 and not effort.mixes(header.tile_shape) and not whole_steps:
        judged = [(min(size for size, _ in scouted), _plan_alone(candidates[0], final))]
    else:
        judged = _judged(candidates, final, threads) + alone
    if lattice.suits(header.native, header.eps) and (whole_steps or _in_steps(judged, served)):
        judged.append(final.size(_best_lattice(small)[1]))
    size, plan = min(judged, key=lambda pair: pair[0])
    if effort.mixes(header.tile_shape):
        block = [_middle(coded[0], _MIXED_BLOCK)]
        plan = _best_mixed(judged, replace(final, blocks=block), threads)
    if size > 0.5 * header.native.itemsize * served and final.lossless_size() < size:
        return None
    return _for_tiles(plan, header)


def best_of_each_kind(source: Source, header: Header, effort: Effort, threads: int = 1) -> list[Plan]:
    """The best multigrid, raster, still raster and wavelet for ``header``'s eps, by samples; the best first.

    For those that judge plans by something else than the bytes at that eps. Empty where `choose_plan` has
    nothing to try: no value of the samples is coded with loss.
    """
    rule = quantizer(header.native, header.eps, header.low, header.high) if header.eps > 0.0 else None
    if rule is None or 0 in header.shape:
        return []
    coded = _coded_blocks(source, header, sample_blocks(header.shape, effort))
    if not coded:
        return []
    served = math.prod(header.shape)
    near = coded if len(coded) == 1 else _coded_blocks(source, header, _fit_blocks(header.shape))
    judge = _Judge(coded, near or coded, rule, served, effort.points)
    folds = distinct_folds(coded[0].shape)
    tries = (_try_multigrid, _try_raster, _try_still)
    kinds: list[list[Attempt]] = [[partial(attempt, how=how) for how in folds] for attempt in tries]
    kinds.append([partial(_try_wavelet, step=step) for step in effort.steps])
    if judge.values > 2 * effort.scouted:
        middle = [_middle(coded[0], effort.scouted)]
        scout = _Judge(middle, middle, rule, served, effort.scout_points)
        scouted = [_judged(kind, scout, threads) for kind in kinds]
        kinds = [
            [kind[int(np.argmin([size for size, _ in judged]))]]
            for kind, judged in zip(kinds, scouted, strict=True)
        ]
    best = [min(_judged(kind, judge, threads), key=lambda pair: pair[0]) for kind in kinds]
    return [_for_tiles(plan, header) for _, plan in sorted(best, key=lambda pair: pair[0])]


def _for_tiles(plan: Plan, header: Header) -> Plan:
    """``plan`` with as many levels as a tile of the field has; the sample may have fewer."""
    if isinstance(plan, Multigrid):
        return replace(plan, levels=most_levels(fold(header.tile_shape, plan.fold)))
    return plan


def _coded_blocks(
    source: Source, header: Header, where: list[tuple[slice, ...]], beside: Beside | None = None
) -> list[Block]:
    """Blocks of ``source``; those without any value that is coded are left out."""
    found = []
    for place in where:
        values = _coded(np.asarray(source[place]), header)
        if not np.isnan(values).all():
            guides = None if beside is None else beside(place)
            found.append(Block(values, guides if guides is None else guides.reshape(len(guides), -1)))
    return found


def _coded(block: np.ndarray, header: Header) -> np.ndarray:
    """``block`` with NaN where a value is special."""
    values = native(block)
    classes, coded = np.empty(values.size, np.uint8), np.empty_like(values)
    specials = np.array(header.specials, np.uint64)
    bits = values.view(f"u{values.itemsize}")
    classify(values, bits, specials, largest_coded(header.native), classes, coded)
    return coded.reshape(block.shape)


def _middle(block: Block, most: int) -> Block:
    lengths = _halved(block.shape, most)
    part = tuple(slice((n - k) // 2, (n - k) // 2 + k) for n, k in zip(block.shape, lengths, strict=True))
    values, guides = np.ascontiguousarray(block.values[part]), block.guides
    if guides is not None:
        cut = guides.reshape(len(guides), *block.shape)[(slice(None), *part)]
        guides = np.ascontiguousarray(cut).reshape(len(guides), -1)
    return Block(values, guides)


@dataclass(frozen=True)
class _Judge:
    """Codes ``blocks`` of one shape with one plan after the other. ``served`` values are in the field;
    ``points`` of those of ``near`` are enough to fit a stencil that reads values before it. If ``brief``,
    only those stencils are fitted that serve most values; ``sparse`` ones are preferred to the best."""

    blocks: list[Block]
    near: list[Block]
    rule: Quantizer
    served: int
    points: int
    brief: bool = False
    sparse: bool = False

    @property
    def values(self) -> int:
        return sum(block.size for block in self.blocks)

    @property
    def scale(self) -> float:
        """How many times the sample's values the field has."""
        return self.served / self.values

    def size(self, plan: Plan) -> tuple[float, Plan]:
        """(about the bytes that the field takes with ``plan``, plan)."""
        shape = self.blocks[0].shape
        if isinstance(plan, Wavelet):  # whose volumes are apart
            codes = [decompose(self.together(), shape, plan, self.rule, guides=self.guides())]
        else:
            codes = [
                decompose(block.flat(), shape, plan, self.rule, guides=block.guides) for block in self.blocks
            ]
        return self.size_of(codes, plan), plan

    def together(self) -> np.ndarray:
        return np.concatenate([block.flat() for block in self.blocks])

    def guides(self) -> np.ndarray | None:
        """Those of all blocks."""
        found = [block.guides for block in self.blocks if block.guides is not None]
        return np.concatenate(found, axis=1) if found else None

    def size_of(self, codes: Sequence[Codes], plan: Plan) -> float:
        """The same, of all blocks' codes."""
        outliers = [code.outliers for code in codes if code.outliers is not None]
        if len(outliers) < len(codes):
            return math.inf
        sample = estimated_size(codes) + sum(array.nbytes for array in outliers)
        return sample * self.scale + _written(plan)

    def lossless_size(self) -> float:
        """About the bytes that the field takes without loss."""
        return self.scale * sum(len(lossless.pack(block.values)) for block in self.blocks)

    def mixed_size(self, plan: Plan) -> float:
        """Bytes of the first block, by mixed coding, if the plan's codes can be mixed."""
        block = self.blocks[0]
        codes = decompose(block.flat(), block.shape, plan, self.rule, guides=block.guides)
        if isinstance(plan, Lattice) and codes.outliers is not None:
            return float(len(codes.to_bytes()) + len(lossless.pack(codes.outliers)))
        mixed = mix(codes, block.shape, plan, self.rule, block.guides)
        share = _written(plan) * block.size / self.served
        size = math.inf if mixed is None else float(len(mixed.data) + len(lossless.pack(mixed.outliers)))
        return size + share


def _written(plan: Plan) -> int:
    """Bytes of a plan, and of its guides, in the header."""
    return len(write_plan(plan)) + _GUIDE_BYTES * len(used_guides(plan))


Attempt = partial[tuple[float, Plan]]  # of a function that takes a judge


def _judged(candidates: Sequence[Attempt], judge: _Judge, threads: int) -> list[tuple[float, Plan]]:
    return list(in_order((partial(candidate, judge) for candidate in candidates), threads))


def _shortlist(
    candidates: Sequence[Attempt], scout: _Judge, margin: float, threads: int
) -> tuple[list[Attempt], list[tuple[float, Plan]]]:
    """The candidates close to the best, and the best of each kind, unless it is far behind; and what all
    gave."""
    tried, judged = list(candidates), []
    if scout.brief:
        rasters = [c for c in candidates if c.func is _try_raster]
        judged = _judged(rasters, scout, threads)
        most = _CLOSE_FOLD * min(size for size, _ in judged)
        folds = {c.keywords["how"] for c, (size, _) in zip(rasters, judged, strict=True) if size <= most}
        others = [c for c in candidates if c.keywords.get("how") in folds and c.func is not _try_raster]
        others += [c for c in candidates if c.keywords.get("step") == _USUAL_STEP]
        tried = rasters + others
    judged += _judged(tried[len(judged) :], scout, threads)
    best = min(size for size, _ in judged)
    close, most = _CLOSE * best, margin * best + _SLACK
    if scout.sparse:
        bit = scout.served / 8.0
        close = best + _CLOSE_BITS * bit
        most = best + (_CLOSE_BITS if best > _HIGH_RATE * bit else _EDGE_BITS) * bit
        most = min(most, _LOW_MARGIN * best) + _SLACK
    best_of_kind: dict[tuple[str, bool, bool], float] = {}
    for size, plan in judged:
        kind = _kind(plan)
        best_of_kind[kind] = min(size, best_of_kind.get(kind, math.inf))
    chosen = []
    for candidate, (size, plan) in zip(tried, judged, strict=True):
        best_of_its = size == best_of_kind[_kind(plan)]
        if size <= close or (best_of_its and size <= most):
            chosen.append(candidate)
    if scout.brief:
        of_wavelet = [size for size, plan in judged if isinstance(plan, Wavelet)]
        if of_wavelet and 8.0 * of_wavelet[0] > _BITS_OF_FINE_STEPS * scout.served:
            chosen = [_with_step(candidate, _FINE_STEP) for candidate in chosen]
    return chosen, judged


def _best_without_guides(
    candidates: Sequence[Attempt], judge: _Judge, threads: int
) -> tuple[list[Attempt], list[tuple[float, Plan]]]:
    """The best of each kind, and all wavelets: with guides, others take several times as long to fit. And
    what they are without, which may be smaller."""
    blocks, near = ([block._replace(guides=None) for block in some] for some in (judge.blocks, judge.near))
    judged = _judged(candidates, replace(judge, blocks=blocks, near=near), threads)
    best: dict[tuple[str, bool, bool], tuple[float, Plan, Attempt]] = {}
    for candidate, (size, plan) in zip(candidates, judged, strict=True):
        if size < best.get(_kind(plan), (math.inf, plan, candidate))[0]:
            best[_kind(plan)] = size, plan, candidate
    fitted = [c for _, _, c in best.values() if c.func in (_try_multigrid, _try_raster)]
    wavelets = [candidate for candidate in candidates if candidate.func is _try_wavelet]
    return [*wavelets, *fitted], [(size, plan) for size, plan, _ in best.values()]


def _has_low_rate(size: float, served: int) -> bool:
    return 8.0 * size < _LOW_RATE * served


def _plan_alone(candidate: Attempt, judge: _Judge) -> Plan:
    """The plan of ``candidate``, of which ``judge`` need not say how good it is."""
    if candidate.func is _try_raster:
        return _fitted_raster(judge, **candidate.keywords)
    return (
        _fitted_wavelet(judge, **candidate.keywords) if "step" in candidate.keywords else candidate(judge)[1]
    )


def _with_step(candidate: Attempt, step: int) -> Attempt:
    """A wavelet with ``step``; other candidates as they are."""
    return partial(_try_wavelet, step=step) if "step" in candidate.keywords else candidate


def _best_mixed(judged: Sequence[tuple[float, Plan]], judge: _Judge, threads: int) -> Plan:
    """The best by mixed coding of ``judged`` plans: static coding is no judge of plans that are nearly as
    good, since contexts make up for the weaknesses of some, such as plateaus next to predicted values."""
    best: dict[tuple[str, bool, bool], tuple[float, Plan]] = {}
    for pair in judged:
        kind = _kind(pair[1])
        best[kind] = min(best.get(kind, pair), pair, key=lambda pair: pair[0])
    smallest = min(size for size, _ in best.values())
    plans = [plan for size, plan in best.values() if size <= smallest * _WORTH_MIXING + _SLACK]
    if len(plans) == 1:
        return plans[0]
    sizes = list(in_order((partial(judge.mixed_size, plan) for plan in plans), threads))
    return plans[int(np.argmin(sizes))]


def _kind(plan: Plan) -> tuple[str, bool, bool]:
    return plan.name, isinstance(plan, Raster) and plan.still, bool(used_guides(plan))


def _try_multigrid(judge: _Judge, how: Fold) -> tuple[float, Plan]:
    shape = judge.blocks[0].shape
    guides = judge.guides()
    plan = Multigrid(how, most_levels(fold(shape, how)), guides=0 if guides is None else len(guides))
    coded = judge.together()
    fitter = MultigridFitter(
        *(plan, coded, float(judge.rule.step), judge.scale, judge.points),
        brief=judge.brief,
        sparse=judge.sparse and 1 not in fold(shape, how)[1:],
    )
    codes = decompose(coded, shape, plan, judge.rule, fitter, guides)
    plan = fitter.plan()
    return judge.size_of([codes], plan), plan


def _try_raster(judge: _Judge, how: Fold) -> tuple[float, Plan]:
    return judge.size(_fitted_raster(judge, how))


def _fitted_raster(judge: _Judge, how: Fold) -> Raster:
    scale = judge.served / sum(block.size for block in judge.near)
    return fit_raster(
        *([block.values for block in judge.near], how, float(judge.rule.step), scale, judge.points),
        judge.brief,
        [block.guides for block in judge.near if block.guides is not None],
    )


def _fitted_wavelet(judge: _Judge, step: int) -> Wavelet:
    plan, guides = Wavelet(Fold.MERGED, step), judge.guides()
    if guides is None:
        return plan
    field = fold(judge.blocks[0].shape, plan.fold)
    field = field._replace(t=field.t * len(judge.blocks))
    return fit_wavelet(judge.together(), field, guides, plan, float(judge.rule.eps), judge.scale)


def _best_lattice(judge: _Judge) -> tuple[float, Plan]:
    """Differences along none of the axes, from 0 or from the middle, or along some: as long as that helps,
    the best one is added.

    In one thread: each is tried in less time than it takes another one to wake up.
    """
    shape = fold(judge.blocks[0].shape, Fold.VOLUMES)
    lengths = dict(zip((lattice.T, lattice.Z, lattice.Y, lattice.X), shape, strict=True))
    left = [axis for axis, n in lengths.items() if n > 1]
    centre = lattice.middle(judge.rule)
    judged: list[tuple[float, Plan]] = [judge.size(Lattice(0, start)) for start in {0: 0, centre: 0}]
    axes, size = 0, math.inf
    while left:
        tried = [(*judge.size(Lattice(axes + axis)), axis) for axis in left]
        best, plan, axis = min(tried, key=lambda found: found[0])
        judged.append((best, plan))
        if best >= size:
            break
        left.remove(axis)
        axes, size = axes + axis, best
    return min(judged, key=lambda pair: pair[0])


def _repeats(block: np.ndarray) -> bool:
    """Whether most values are the same as those before them along some axis."""
    along = (np.moveaxis(block, axis, 0) for axis in range(block.ndim))
    return any(2 * np.count_nonzero(values[1:] == values[:-1]) > values[1:].size > 0 for values in along)


def _in_steps(judged: Sequence[tuple[float, Plan]], served: int) -> bool:
    """Whether the lattice is worth a try: over masks and plateaus it may beat all that predict. That is where
    no prediction, too, is nearly as good as any, or where there is next to nothing to code."""
    best = min((size for size, _ in judged), default=math.inf)
    still = min((size for size, plan in judged if _kind(plan)[1]), default=math.inf)
    return still < _NEARLY * best or 8.0 * best < _NOTHING * served


def _best_lorenzo(folds: Sequence[Fold], judge: _Judge, threads: int) -> Plan | None:
    """What is fast where the lattice has too many outliers."""
    attempts: list[Attempt] = [partial(_Judge.size, plan=Raster(how)) for how in folds]
    size, plan = min(_judged(attempts, judge, threads), key=lambda pair: pair[0])
    return plan if size < judge.lossless_size() else None


def _try_still(judge: _Judge, how: Fold) -> tuple[float, Plan]:
    return judge.size(Raster(how, still=True))


def _try_wavelet(judge: _Judge, step: int) -> tuple[float, Plan]:
    size, plan = judge.size(_fitted_wavelet(judge, step))
    return size * (_SPARSE_HANDICAP if judge.sparse else _WAVELET_HANDICAP), plan
