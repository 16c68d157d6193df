"""Along which axes to difference a lattice: tried on samples.

For the encoder alone, never part of the format.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from lossyzip.decompose.fold import Fold, fold
from lossyzip.decompose.lattice import GROUPS, Lattice, Task, task_of
from lossyzip.decompose.lorenzo import T, X, Y, Z, differences
from lossyzip.decompose.rows import CELLS, Quantizer
from lossyzip.entropy.stream import estimated_size
from lossyzip.threads import results_of

_FEW = 1 << 15  # values, that are tried before another thread has the interpreter's lock


def sizes_along_axes(
    coded: np.ndarray, shape: tuple[int, ...], how: Fold, rule: Quantizer, threads: int = 1
) -> dict[int, float]:
    """About the bytes of the flat array ``coded``, one or more tiles of ``shape``, by axes.

    Along none, along one; then, as long as that helps, along one more beside those that are best so far. In
    the order in which they were tried; inf for those with too many outliers.
    """
    prepared = partial(task_of, coded, shape, Lattice(0, fold=how), rule, kept=True)  # in a thread's memory
    only = prepared() if threads == 1 or coded.size <= _FEW else None

    def size(axes: int) -> float:
        task: Task = only or prepared()
        symbols, outliers = task._replace(rows=differences(shape, axes, how)).done()
        return math.inf if outliers is None else estimated_size([symbols], GROUPS, CELLS) + outliers.nbytes

    def sizes_of(some: Sequence[int]) -> dict[int, float]:
        jobs = [(0.0, partial(size, axes)) for axes in some]
        return dict(zip(some, results_of(jobs, 1 if only else threads), strict=True))

    left = [axis for axis, n in zip((T, Z, Y, X), fold(shape, how), strict=True) if n > 1]
    sizes, more, least = sizes_of([0, *left]), left, math.inf
    while more:
        best = min(more, key=sizes.__getitem__)
        if sizes[best] >= least:
            break
        least = sizes[best]
        more = [best | axis for axis in left if not best & axis]
        sizes |= sizes_of(more)
    return sizes
