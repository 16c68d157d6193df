"""What a frame's header will say, before anything is coded: tolerances, spans, special values, and plans."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lossyzip import field
from lossyzip.bound import Bound
from lossyzip.candidates import for_tiles
from lossyzip.carrier import CodedSource, LeftOut, as_coded
from lossyzip.container.dtypes import part_of
from lossyzip.container.guided import FROM_NETWORK, Guided
from lossyzip.container.header import MOST_SPECIALS, Header, Level
from lossyzip.decompose.families import Plan, used_alone, used_guides, write_plan
from lossyzip.effort import Effort
from lossyzip.extent import Extent
from lossyzip.field import Source, Summary
from lossyzip.levels import Levels
from lossyzip.logarithms import scale_of, zero_and
from lossyzip.packing_search import packing_of
from lossyzip.tuning import Search, best_of_each_kind
from lossyzip.version import VERSION

if TYPE_CHECKING:
    from lossyzip.guide import FieldGuide

_EDGES_COUNT = 0.3  # bits a value, below which what is next to edges of tiles takes much of them
_WORTH_A_TILE = 1.25  # times the best size, by samples, which are no better than that


def _tile_shape(dtype: np.dtype, shape: tuple[int, ...], times: float = 1) -> tuple[int, ...]:
    return field.tile_shape(shape, times / 2 if dtype.kind == "c" else times)


def _larger_tiles(header: Header) -> tuple[int, ...]:
    """Up to twice as large as usual, if there are two at least, for two threads; else as they are."""
    for times in (2, 1):
        tile = _tile_shape(header.dtype, header.shape, times)
        if tile != header.shape and math.prod(tile) > math.prod(header.tile_shape):
            return tile
    return header.tile_shape


def draft_header(
    source: Source,
    bound: Bound,
    summary: Summary,
    tile_bytes: int,
    levels: Levels | None = None,
    threads: int = 1,
    sample: np.ndarray | None = None,
) -> Header:
    """The header of the field, but for its plan. ``source`` is read for a pointwise relative bound alone.

    ``tile_bytes``: tiles of floats have no more; what is done with a tile should stay in a shared cache.
    ``sample``: valid values, of a field that may be packed.
    """
    dtype, shape = np.dtype(source.dtype), tuple(source.shape)
    values = tile_bytes / part_of(dtype).itemsize if dtype.kind in "fc" else field.TILE_VALUES
    tile = _tile_shape(dtype, shape, min(values / field.TILE_VALUES, 1.0))
    valid = summary.low <= summary.high
    eps = bound.resolve(*((summary.low, summary.high) if valid else (0.0, 0.0)))
    eps = 0.0 if dtype.kind == "b" else eps
    specials = summary.specials
    if bound.kind == "pointwise_relative":
        eps = scale_of(eps, part_of(dtype)).eps
        specials = zero_and(specials, part_of(dtype), MOST_SPECIALS)
    coded = summary.coded_low <= summary.coded_high
    low, high = (summary.coded_low, summary.coded_high) if coded else (0.0, 0.0)
    fill = None
    if isinstance(source, np.ma.MaskedArray):
        with np.errstate(over="ignore", invalid="ignore"):  # numpy's own may be too large for the dtype
            fill = np.asarray(source.fill_value, dtype).astype(dtype.newbyteorder("<")).tobytes()
    writer = tuple(int(part) for part in VERSION.split(".")[:3])
    header = Header(
        *(dtype, shape, tile, bound, eps, low, high, specials, "lossless", b"", writer),
        fill=fill,
        levels=tuple(map(Level, levels.eps)) if levels else (),
    )
    if sample is not None:
        header = replace(header, packing=packing_of(sample, header))
    if not header.coded_eps > 0.0:
        return replace(header, specials=())
    return _with_range_of_logarithms(header, source, threads) if header.pointwise else header


def tile_shape_as_coded(header: Header, times: float) -> tuple[int, ...]:
    """Of tiles that are so many times as large as others."""
    return replace(header, tile_shape=_tile_shape(header.dtype, header.shape, times)).as_coded().tile_shape


def with_plans(
    draft: Header,
    source: Source,
    levels: Levels | None,
    guide: FieldGuide | None,
    effort: Effort,
    threads: int,
    idempotent: bool,
    extent: Extent | None = None,
    search: Search | None = None,
) -> Header:
    """``draft`` with the plan that codes ``source`` best, or with one for each level.

    ``extent``: that of the field, if tiles may begin where it does. ``search``: for the plan, if it has
    begun.
    """

    def with_plan(header: Header, left_out: LeftOut | None) -> Header:
        if not header.coded_eps > 0.0:
            return header
        coded = as_coded(source, header, left_out, guide if header.subtracted else None)
        beside = guide.beside if guide is not None and guide.taps else None
        plan, _, rate = (search or Search(*coded, effort, threads, idempotent, beside)).choice
        header = _without_unused(header, plan, guide) if guide is not None and beside else header
        if plan is None and header.packing is not None:
            unpacked = replace(header, packing=None)
            return with_plan(
                unpacked if unpacked.coded_eps > 0.0 else replace(unpacked, specials=()), left_out
            )
        if plan is None:
            return header
        plan = used_alone(plan)
        if rate < _EDGES_COUNT and levels is None and (guide is None or guide.base):  # else as references'
            header = replace(header, tile_shape=_larger_tiles(header))
        if extent is not None and levels is None and guide is None and not header.pointwise:
            header = extent.divided(header)
        plan = for_tiles(plan, header.as_coded().tile_shape)
        return replace(header, family=plan.name, plan=write_plan(plan))

    if levels is None:
        return with_plan(draft, None)
    planned = []
    for number in range(len(levels.eps)):
        own = with_plan(draft.at_level(number), levels.others(number))
        planned.append(Level(own.eps, own.family, own.plan))
    return replace(draft, levels=tuple(planned))


def other_plans(planned: Header, source: Source, effort: Effort, threads: int) -> list[Plan]:
    """For a frame that is judged by more than bytes, beside the plan that it has: the best of each kind that
    is not much larger than others, the best first. None for those with guides, and where plans shall be
    fast."""
    if planned.guided is not None or planned.family == "lossless" or effort.lattice:
        return []
    return best_of_each_kind(*as_coded(source, planned, None, None), effort, threads, _WORTH_A_TILE)


def with_guide(draft: Header, source: Source, guide: FieldGuide, threads: int) -> Header:
    """``draft`` of a field from which ``guide`` is subtracted; as it was, where nothing would be coded."""
    if not draft.coded_eps > 0.0:
        return draft
    tapped = draft.bound.kind in ("absolute", "relative") and not draft.levels
    taps = guide.taps if tapped else ()
    if not taps and not guide.subtracted and guide.mask is None:
        return draft
    guided = Guided(
        *(draft.low, draft.high, guide.references, guide.network, guide.subtracted, taps, guide.mask),
        *(guide.latents, guide.base),
    )
    if not guide.subtracted:
        return replace(draft, guided=guided)
    coded = CodedSource(source, replace(draft, guided=guided), None, guide)
    tiles = (coded[where] for where in field.tile_slices(coded.shape))
    span = field.summarize(tiles, coded.dtype, (), threads)
    if span.low > span.high:
        return draft
    # 0 + 0.0: no end is -0.0
    return replace(draft, guided=guided._replace(low=span.low + 0.0, high=span.high + 0.0))


def with_base(draft: Header, values: np.ndarray, data: bytes = b"") -> Header:
    """``draft`` of a field from which a base of these ``values`` is subtracted, which are in the frame as
    ``data``; its span is that of all differences that may be."""
    low, high = values.dtype.type(draft.low), values.dtype.type(draft.high)
    within = np.clip(values, low, high)
    span = float(low - within.max()), float(high - within.min())
    return replace(draft, guided=Guided(*span, (), b"", base=data))


def _without_unused(header: Header, plan: Plan | None, guide: FieldGuide) -> Header:
    """``header`` without the raw guides that ``plan`` makes no use of, and the references of these alone."""
    guided = header.guided
    if guided is None:
        return header
    taps = [guided.taps[k] for k in used_guides(plan)]
    network = guided.subtracted or FROM_NETWORK in [tap.reference for tap in taps]
    numbers = set(range(guide.network_references)) if network else set()
    numbers |= {tap.reference for tap in taps} - {FROM_NETWORK}
    mask = guided.mask
    numbers |= set() if mask is None else {mask}
    kept = sorted(numbers)
    if not kept and not network:
        return replace(header, guided=None)
    kept = kept or [0][: len(guided.references)]  # of a network that looks at none
    places = {number: place for place, number in enumerate(kept)} | {FROM_NETWORK: FROM_NETWORK}
    few = guided._replace(
        references=tuple(guided.references[number] for number in kept),
        network=guided.network if network else b"",
        latents=guided.latents if network else b"",
        taps=tuple(tap._replace(reference=places[tap.reference]) for tap in taps),
        mask=None if mask is None else places[mask],
    )
    return replace(header, guided=few)


def _with_range_of_logarithms(draft: Header, source: Source, threads: int) -> Header:
    coded = CodedSource(source, draft)
    tiles = (coded[where] for where in field.tile_slices(coded.shape))
    spans = field.summarize(tiles, coded.dtype, (), threads)
    if spans.coded_low > spans.coded_high:
        return draft
    shift = scale_of(draft.bound.value, draft.part).shift
    return replace(draft, low=spans.coded_low - shift, high=spans.coded_high - shift)
