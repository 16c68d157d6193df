"""About what an absolute bound would make of a field: from samples, nothing is coded. For `tune` alone.

A sample's bytes are not the field's by the ratio of their values: header, plan and tables of a tile are
written once, however many values they serve. So these are counted apart, and only the rest is scaled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from lossyzip import tuning
from lossyzip.blocks import sample_blocks
from lossyzip.bound import absolute
from lossyzip.carrier import as_coded
from lossyzip.checker import Checker
from lossyzip.container.header import Header
from lossyzip.decompose.families import Codes, Plan, estimated_size, write_plan
from lossyzip.effort import Effort
from lossyzip.entropy import lossless
from lossyzip.field import Number, Source, Summary
from lossyzip.planning import draft_header
from lossyzip.threads import in_order
from lossyzip.tile import mixed_share, preview_tile

_FRAME_BYTES, _TILE_BYTES = 80, 20  # about: header without its plan, index; checksums and sizes of a record


@dataclass(frozen=True)
class Look:
    """``rms`` of the errors relative to the range, and raw bytes over compressed ones, of the whole field."""

    rms: float
    ratio: float


class Preview:
    """What a bound makes of a field with ``summary``, whose valid values differ. The source is read in this
    thread; the result does not depend on the number of ``threads``."""

    def __init__(
        self,
        source: Source,
        summary: Summary,
        fill_values: tuple[Number, ...],
        effort: Effort,
        threads: int,
    ) -> None:
        self._source, self._effort, self._threads = source, effort, threads
        self._draft = draft_header(source, absolute(1.0), summary, effort.tile_bytes)
        coded, header = as_coded(source, self._draft)
        self._span, self._fill_values = (summary.low, summary.high), fill_values if coded is source else ()
        self._blocks = [np.asarray(coded[place]) for place in sample_blocks(header.shape, effort)]
        self._scale = math.prod(header.shape) / sum(block.size for block in self._blocks)

    def look(self, eps: float) -> Look:
        """What ``absolute(eps)`` would do; 0 is lossless."""
        coded, header = as_coded(self._source, replace(self._draft, bound=absolute(eps), eps=eps))
        plan = tuning.choose_plan(coded, header, self._effort, self._threads)
        if plan is not None:
            header = replace(header, family=plan.name, plan=write_plan(plan))
        total, codes, apart = self._checker(eps), list[Codes](), 0
        jobs = (partial(self._see, block, header, plan) for block in self._blocks)
        for checker, its_codes, its_bytes in in_order(jobs, self._threads):
            total.merge(checker)
            codes += [] if its_codes is None else [its_codes]
            apart += its_bytes
        tiles = header.tile_count()
        size = _FRAME_BYTES + len(header.plan) + _TILE_BYTES * tiles + self._scale * apart
        if codes and plan is not None:
            size += self._mixed_share(header, plan) * tiles * estimated_size(codes, self._scale / tiles)
        raw = math.prod(self._draft.shape) * self._draft.dtype.itemsize
        return Look(math.sqrt(total.mean_square()), raw / size)

    def _see(self, block: np.ndarray, header: Header, plan: Plan | None) -> tuple[Checker, Codes | None, int]:
        """(errors, codes, bytes beside those of the codes)."""
        checker = self._checker(header.eps)
        seen = None if plan is None else preview_tile(block, header, plan)
        native = block.astype(header.native, copy=False)
        origin = (0,) * block.ndim
        if seen is None or seen[1].outliers is None:
            checker.update(native, native, origin)
            return checker, None, len(lossless.pack(native))
        checker.update(native, seen[0], origin)
        return checker, seen[1], seen[1].outliers.nbytes

    def _checker(self, eps: float) -> Checker:
        return Checker(eps, *self._span, self._fill_values)

    def _mixed_share(self, header: Header, plan: Plan) -> float:
        """Mixed over static size of a block; 1 where tiles will not be mixed."""
        mixing = self._effort.mixing(header.shape, header.tile_shape)
        return mixed_share(self._blocks[0], header, plan, mixing)
