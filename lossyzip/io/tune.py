"""The bounds to ask for in an HDF5 file, so that its fields meet a PSNR, a ratio or a largest error."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import h5py
import numpy as np

from lossyzip.bound import lossless
from lossyzip.bound_search import MORE_PASSES, Targets, Tuned, find_bound
from lossyzip.errors import InvalidArgumentError, UnreachableTargetError
from lossyzip.io import stored
from lossyzip.io.fields import fill_values, find_candidates
from lossyzip.io.hdf5 import Check, Progress, WatchedSource, naming, opened
from lossyzip.io.interrupt import Stop, interruptible
from lossyzip.io.selection import choose
from lossyzip.io.tree import Tree
from lossyzip.threads import thread_count


@dataclass(frozen=True)
class TunedRow:
    """One field, as in `lossyzip.Tuned`; ``bound`` as it is written."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    bound: str
    eps: float
    relative_eps: float
    ratio: float
    psnr: float
    max_error: float
    passes: int

    @classmethod
    def of(cls, name: str, dataset: h5py.Dataset, found: Tuned) -> TunedRow:
        return cls(
            name,
            dataset.shape,
            np.dtype(dataset.dtype).str,
            str(found.bound),
            found.eps,
            found.relative_eps,
            found.ratio,
            found.psnr,
            found.max_error,
            found.passes,
        )


@dataclass(frozen=True)
class TuneReport:
    """``fields`` have met the targets; ``unmet``: {name: why} of those that no bound lets meet them."""

    source: str
    fields: tuple[TunedRow, ...]
    unmet: dict[str, str]


def tune_file(
    source: str | os.PathLike[str],
    fields: Iterable[str],
    targets: Targets,
    *,
    effort: str = "balanced",
    threads: int | None = None,
    progress: Progress | None = None,
) -> TuneReport:
    """What `lossyzip.tune` finds for the datasets that ``fields``, patterns as for
    `compress_file`, name. Nothing is written; datasets are read tile by tile.

    Raises InvalidArgumentError (a pattern that matches nothing, no field), UnsupportedDataError,
    CorruptError, OSError. A field that cannot meet the targets does not stop the others.
    """

    def work(stop: Stop) -> TuneReport:
        with opened(source) as file:
            chosen = _chosen(Tree(file), list(fields))
            total = MORE_PASSES * sum(file[f"/{name}"].size for name in chosen)
            rows, unmet = [], {}
            for name in chosen:
                dataset = stored.open_cached(file, name)
                steps = _Steps(name, dataset.size, total, progress)
                try:
                    with naming(name):
                        found = _tune(dataset, targets, effort, threads, stop.check, steps.tell)
                    rows.append(TunedRow.of(name, dataset, found))
                except UnreachableTargetError as error:
                    unmet[name] = str(error)
                steps.finish()
            return TuneReport(os.fspath(source), tuple(rows), unmet)

    thread_count(threads)
    return interruptible(work)


def _chosen(tree: Tree, patterns: list[str]) -> list[str]:
    choices = choose(find_candidates(tree), dict.fromkeys(patterns, lossless()))
    named = {name: choice for name, choice in choices.items() if choice.named}
    chosen = [name for name, choice in named.items() if choice.bound is not None]
    if not chosen:
        reasons = "; ".join(f"{name}: {choice.note}" for name, choice in named.items())
        raise InvalidArgumentError(f"there is no field to tune{f' ({reasons})' if reasons else ''}")
    return chosen


def _tune(
    dataset: h5py.Dataset,
    targets: Targets,
    effort: str,
    threads: int | None,
    check: Check,
    tell: Callable[[int], None],
) -> Tuned:
    return find_bound(
        WatchedSource(dataset, check),
        targets,
        effort=effort,
        threads=threads,
        fill_values=fill_values(dataset),
        progress=tell,
    )


class _Steps:
    """A field's share of the progress: as many passes as there may be, those not needed done at the end."""

    def __init__(self, name: str, size: int, total: int, progress: Progress | None) -> None:
        self._name, self._left, self._total, self._progress = name, MORE_PASSES * size, total, progress

    def tell(self, values: int) -> None:
        values = min(values, self._left)
        self._left -= values
        if self._progress is not None:
            self._progress(self._name, values, self._total)

    def finish(self) -> None:
        self.tell(self._left)
