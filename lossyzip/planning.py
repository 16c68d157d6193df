"""What a frame's header will say, before anything is coded: tolerances, spans, special values, and plans."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lossyzip import field, tuning
from lossyzip.bound import Bound
from lossyzip.carrier import CodedSource, LeftOut, as_coded
from lossyzip.container.header import MOST_SPECIALS, Header, Level, part_of
from lossyzip.decompose.families import write_plan
from lossyzip.field import Source, Summary
from lossyzip.levels import Levels
from lossyzip.logarithms import scale_of, zero_and
from lossyzip.tuning import Effort
from lossyzip.version import VERSION


def _tile_shape(dtype: np.dtype, shape: tuple[int, ...], times: float = 1) -> tuple[int, ...]:
    return field.tile_shape(shape, times / 2 if dtype.kind == "c" else times)


def draft_header(
    source: Source, bound: Bound, summary: Summary, levels: Levels | None = None, threads: int = 1
) -> Header:
    """The header of the field, but for its plan. ``source`` is read for a pointwise relative bound alone."""
    dtype, shape = np.dtype(source.dtype), tuple(source.shape)
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
        *(dtype, shape, _tile_shape(dtype, shape), bound, eps, low, high, specials, "lossless", b"", writer),
        fill=fill,
        levels=tuple(map(Level, levels.eps)) if levels else (),
    )
    if not header.coded_eps > 0.0:
        return replace(header, specials=())
    return _with_range_of_logarithms(header, source, threads) if header.pointwise else header


def tile_shape_as_coded(header: Header, times: float) -> tuple[int, ...]:
    """Of tiles that are so many times as large as others."""
    return replace(header, tile_shape=_tile_shape(header.dtype, header.shape, times)).as_coded().tile_shape


def with_plans(
    draft: Header, source: Source, levels: Levels | None, effort: Effort, threads: int, idempotent: bool
) -> Header:
    """``draft`` with the plan that codes ``source`` best, or with one for each level."""
    if levels is None:
        return _with_plan(draft, source, None, effort, threads, idempotent)
    planned = []
    for number in range(len(levels.eps)):
        own = draft.at_level(number)
        own = _with_plan(own, source, levels.others(number), effort, threads, idempotent)
        planned.append(Level(own.eps, own.family, own.plan))
    return replace(draft, levels=tuple(planned))


def _with_plan(
    draft: Header, source: Source, left_out: LeftOut | None, effort: Effort, threads: int, idempotent: bool
) -> Header:
    if not draft.coded_eps > 0.0:
        return draft
    plan = tuning.choose_plan(*as_coded(source, draft, left_out), effort, threads, idempotent)
    return draft if plan is None else replace(draft, family=plan.name, plan=write_plan(plan))


def _with_range_of_logarithms(draft: Header, source: Source, threads: int) -> Header:
    coded = CodedSource(source, draft)
    tiles = (coded[where] for where in field.tile_slices(coded.shape))
    spans = field.summarize(tiles, coded.dtype, (), threads)
    if spans.coded_low > spans.coded_high:
        return draft
    shift = scale_of(draft.bound.value, draft.part).shift
    return replace(draft, low=spans.coded_low - shift, high=spans.coded_high - shift)
