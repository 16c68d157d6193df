"""HDF5 files of snapshots -> a model file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossyzip.bound import Bound
from lossyzip.dataset import Learning
from lossyzip.enhancing import asked_for
from lossyzip.errors import InvalidArgumentError
from lossyzip.io import stored
from lossyzip.io.fields import fill_values, find_candidates
from lossyzip.io.hdf5 import Check, PathLike, WatchedSource, opened
from lossyzip.io.interrupt import Stop, interruptible
from lossyzip.io.output import written_whole
from lossyzip.io.selection import choose
from lossyzip.io.tree import Tree
from lossyzip.learned.device import require_torch
from lossyzip.learned.model import Model
from lossyzip.snapshots import Asked, model_of, stacks_of
from lossyzip.threads import thread_count

_PROGRESS = 1000  # steps


@dataclass(frozen=True)
class TargetRow:
    """A field that the model predicts from ``references``."""

    name: str
    references: tuple[str, ...]
    relative_eps: float  # eps / (max - min) for which it was trained
    network_bytes: int


@dataclass(frozen=True)
class EnhancerRow:
    """A field that the model has an enhancer for."""

    name: str
    relative_eps: float
    enhancer_bytes: int


@dataclass(frozen=True)
class TrainReport:
    """``alone``: fields that were asked for, and that nothing was found to help."""

    model: str  # its checksum
    model_bytes: int
    targets: tuple[TargetRow, ...]
    alone: tuple[str, ...]
    enhanced: tuple[EnhancerRow, ...] = ()


def train_files(
    sources: Sequence[PathLike],
    target: PathLike,
    bounds: Mapping[str, Bound],
    *,
    train_seconds: float | None = None,
    seed: int = 0,
    threads: int | None = None,
    force: bool = False,
    enhance: bool | str = False,
    progress: Callable[[str, int, int], Any] | None = None,
) -> TrainReport:
    """Write a model of the fields that ``bounds`` names in the files ``sources``, one snapshot each.

    See `lossyzip.train`; ``bounds`` and ``force`` as for `compress_file`. Raises MissingDependencyError
    without torch, InvalidArgumentError, CorruptError (a damaged source), OSError.
    """

    def work(stop: Stop) -> TrainReport:
        with written_whole(target, force=force) as output:
            stacks = stacks_of(_snapshots(sources, bounds, stop.check), len(sources), seed)
            done = 0

            def training(name: str, part: float) -> None:
                nonlocal done
                stop.check()
                if progress is not None:
                    progress(name, int(_PROGRESS * part) - done, _PROGRESS)
                done = int(_PROGRESS * part)

            model = model_of(stacks, Learning(train_seconds, seed), threads, training, enhancing)
            data = model.to_bytes()
            Model.from_bytes(data)  # what cannot be read is not written
            output.write(memoryview(data))
            stop.check()
        return _report(model, data, sorted(stacks.keys() - {target.name for target in model.targets}))

    enhancing = asked_for(enhance)
    require_torch()
    thread_count(threads)
    if not sources:
        raise InvalidArgumentError("a model is trained on one snapshot or more, not on none")
    return interruptible(work)


def describe_model(path: PathLike) -> TrainReport:
    """What a model file says of itself."""
    data = Path(path).read_bytes()
    return _report(Model.from_bytes(data), data, ())


def _report(model: Model, data: bytes, alone: Iterable[str]) -> TrainReport:
    rows = [TargetRow(t.name, t.references, t.relative_eps, len(t.network)) for t in model.targets]
    enhanced = [EnhancerRow(one.name, one.relative_eps, len(one.enhancer)) for one in model.enhanced]
    return TrainReport(f"{model.checksum:016x}", len(data), tuple(rows), tuple(alone), tuple(enhanced))


def _snapshots(
    sources: Sequence[PathLike], bounds: Mapping[str, Bound], check: Check
) -> Iterator[dict[str, Asked]]:
    for source in sources:
        with opened(source) as file:
            fields = {}
            for name, choice in choose(find_candidates(Tree(file)), bounds).items():
                if choice.bound is not None and choice.named:
                    dataset = stored.open_cached(file, name)
                    fields[name] = Asked(WatchedSource(dataset, check), choice.bound, fill_values(dataset))
            yield fields
