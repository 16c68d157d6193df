"""Sentinels that nobody declared: a value far from all others that stands for none, such as -999 or 1e35.

Next to it predictions and contexts are of no use, so it is coded as a special value, which comes back bit for
bit. For the encoder alone: the tolerance is that of the field with all its values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from lossyzip.container.header import MOST_SPECIALS
from lossyzip.field import Number, Summary, summarize
from lossyzip.packing_search import RUN

_SHARE = 0.005  # of a sample: so many are the sentinel
_FAR = 2.0  # times the span of all other values, from the nearest of them
_TELLING = 64  # other values, and
_DISTINCT = 16  # as many different ones: fewer may be classes, of which one is as good as another
_ROUGH = 0.04  # share of neighbours of which one is the sentinel: where it is takes more than it gives


def sentinel_of(sample: np.ndarray, low: Number, high: Number) -> float | None:
    """The end of a field's span, ``low`` or ``high``, that stands for no value, as a ``sample`` of it says,
    of which each RUN values are neighbours."""
    values = sample.astype(np.float64)
    for end in (float(low), float(high)):
        others = values[values != end]
        if others.size < _TELLING or values.size - others.size < _SHARE * values.size:
            continue
        first, last = float(others.min()), float(others.max())
        gap = first - end if end == float(low) else end - last
        runs = (values[: values.size // RUN * RUN] == end).reshape(-1, RUN)
        rough = np.count_nonzero(runs[:, 1:] != runs[:, :-1]) > _ROUGH * runs[:, 1:].size
        if gap > _FAR * (last - first) and np.unique(others).size >= _DISTINCT and not rough:
            return end
    return None


def with_sentinel(
    summary: Summary,
    sentinel: float,
    tiles: Iterable[np.ndarray],
    dtype: np.dtype,
    fill_values: tuple[Number, ...],
    threads: int,
) -> Summary:
    """``summary`` of ``tiles`` with one more special value, and what is left of the span that is coded."""
    if len(fill_values) >= MOST_SPECIALS:
        return summary
    special = summarize(iter(tiles), dtype, (*fill_values, sentinel), threads)
    if special.coded_low > special.coded_high:
        return summary
    return replace(
        summary, specials=special.specials, coded_low=special.coded_low, coded_high=special.coded_high
    )
