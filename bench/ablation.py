"""What each part of lossyzip gives: sizes without it, relative to `balanced`. A row a field, bound, variant.

Plans come from lossyzip's own tuning, tiles from its own coder; each size is that of a whole frame, in
real bytes. Nothing is decoded here: `python -m bench ratio` is where bounds are checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.fields import Field, Prepared, prepared_fields
from bench.rows import Row, write
from lossyzip import tuning
from lossyzip.bound import absolute
from lossyzip.container import frame
from lossyzip.container.header import Header
from lossyzip.decompose.families import Codes, Plan, estimated_size, write_plan
from lossyzip.decompose.interpolation import Multigrid
from lossyzip.decompose.regression import Raster
from lossyzip.effort import EFFORTS, NO_MIXING, Mixing
from lossyzip.entropy.tokens import FLAG_CELL, GROUP_CELLS
from lossyzip.field import summarize, tile_shape
from lossyzip.tile import encode_tile, preview_tile

BALANCED = "balanced"
VARIANTS = {
    BALANCED: "all parts",
    "mixed": "mixing for tiles of any size, plans as they are (a lattice is never mixed)",
    "static": "no mixing, not even of small tiles",
    "order-0": "one table for all codes instead of contexts, no mixing",
    "no weights": "cubic and Lorenzo stencils instead of fitted ones",
    "multigrid": "this family alone",
    "raster": "this family alone",
    "wavelet": "this family alone",
    "lattice": "this family alone, no mixing",
}
COLUMNS = ("file", "field", "shape", "rel", "raw_bytes", "variant", "bytes", "family", "relative_size")


def run(
    fields: list[Field], rels: list[float], output: Path | None, tell: Callable[[Row], None]
) -> list[Row]:
    """All rows; each is told and written as soon as it is known."""
    rows: list[Row] = []
    for field, prepared in prepared_fields(fields):
        for rel in rels:
            balanced = 0
            for variant, size, plan in _variants(prepared, prepared.eps(rel)):
                balanced = balanced or size
                row = {
                    "file": field.file,
                    "field": field.name,
                    "shape": "x".join(map(str, field.shape)),
                    "rel": f"{rel:g}",
                    "raw_bytes": str(field.raw_bytes),
                    "variant": variant,
                    "bytes": str(size),
                    "family": "lossless" if plan is None else plan.name,
                    "relative_size": f"{size / balanced:.4f}",
                }
                rows.append(row)
                tell(row)
            if output is not None:
                write(output, COLUMNS, rows)
    return rows


def _variants(prepared: Prepared, eps: float) -> Iterator[tuple[str, int, Plan | None]]:
    """(variant, bytes of the frame, plan); `balanced` first."""
    effort = EFFORTS[BALANCED]
    header = _header(prepared.values, eps)
    usual = effort.mixing(header.shape, header.tile_shape)
    chosen = tuning.choose_plan(prepared.values, header, effort)
    kinds = tuning.best_of_each_kind(prepared.values, header, effort)
    fast = tuning.choose_plan(prepared.values, header, EFFORTS["fast"])

    def size(plan: Plan | None, mixing: Mixing) -> int:
        return _frame_size(prepared.values, header, plan, mixing)

    def least(plans: list[Plan]) -> tuple[int, Plan | None]:
        """By real bytes, not by samples."""
        return min(((size(plan, usual), plan) for plan in plans), key=lambda pair: pair[0], default=(0, None))

    yield BALANCED, size(chosen, usual), chosen
    yield "mixed", size(chosen, Mixing(math.inf)), chosen
    yield "static", size(chosen, NO_MIXING), chosen
    yield "order-0", _frame_size(prepared.values, header, chosen, NO_MIXING, order_0), chosen
    yield "no weights", *least([_without_weights(plan) for plan in kinds])
    for family in ("multigrid", "raster", "wavelet"):
        yield family, *least([plan for plan in kinds if plan.name == family])
    if fast is not None and fast.name == "lattice":
        yield "lattice", size(fast, NO_MIXING), fast


def order_0(codes: Codes) -> Codes:
    """Without contexts, but for the flags of batches."""
    flags = codes.symbols.cells % GROUP_CELLS >= FLAG_CELL
    cells = np.where(flags, FLAG_CELL, 0).astype(np.uint8)
    return replace(codes, symbols=codes.symbols._replace(cells=cells))


def _without_weights(plan: Plan) -> Plan:
    if isinstance(plan, Multigrid):
        return Multigrid(plan.fold, plan.levels)
    return Raster(plan.fold, still=plan.still) if isinstance(plan, Raster) else plan


def _frame_size(
    values: np.ndarray,
    header: Header,
    plan: Plan | None,
    mixing: Mixing,
    change: Callable[[Codes], Codes] | None = None,
) -> int:
    """Bytes of a frame; with ``change``, its codes are coded as ``change`` makes them."""
    if plan is not None:
        header = replace(header, family=plan.name, plan=write_plan(plan))
    sizes = []
    for where in header.tile_slices():
        tile = np.ascontiguousarray(values[where])
        size = len(encode_tile(tile, header, plan, mixing))
        seen = None if plan is None or change is None else preview_tile(tile, header, plan)
        if seen is not None and change is not None:
            size += int(estimated_size([change(seen[1])]) - estimated_size([seen[1]]))
        sizes.append(len(frame.pack_record(bytes(size), 0)))
    end = frame.pack_end(sizes, {"e": bytes(8)})
    return len(frame.pack_head(header.to_bytes())) + sum(sizes) + len(end)


def _header(values: np.ndarray, eps: float) -> Header:
    """As `lossyzip.compress` begins with."""
    summary = summarize(iter([values]), values.dtype, ())
    return Header(
        values.dtype,
        values.shape,
        tile_shape(values.shape),
        absolute(eps),
        eps,
        summary.coded_low,
        summary.coded_high,
        summary.specials,
        "lossless",
        b"",
        (0, 1, 0),
    )
