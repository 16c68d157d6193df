"""Many fields of one state: in which order they are coded, and what helps which.

The order and the references are found by coding samples (learned/relations.py). Then each field is
compressed alone and, where others tell something of it, with taps into these *as decoded*, and with a
network's guide; the smallest is kept, so that references that are of no use cost time alone.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lossyzip import scratch, trial
from lossyzip.bound import Bound
from lossyzip.compressor import FieldReport
from lossyzip.decompressor import Frame
from lossyzip.errors import CorruptError, InvalidArgumentError
from lossyzip.grid import near
from lossyzip.learned.device import require_torch
from lossyzip.learned.relations import Given, clusters, order_of
from lossyzip.scratch import Space

if TYPE_CHECKING:
    from lossyzip.field import Source
    from lossyzip.learned.model import Model

_SECONDS_PER_BYTE, _LEAST_SECONDS = 60 / 100e6, 10.0  # of training, if nothing is said
SEARCH = 0.1  # of that, to find the order of fields and their references
_FEW = 1 << 12  # values, for which no reference is worth a search


@dataclass(frozen=True)
class Coded:
    """What became of one field: ``references`` helped it. Without them its frame has ``plain_bytes``; with
    taps into them, but without a network, ``tapped_bytes``, if that was tried; ``guided_bytes``: the smallest
    of all without latents. ``best_bytes``: of what was chosen, before it was enhanced."""

    name: str
    frame: bytes
    report: FieldReport
    references: tuple[str, ...]
    plain_bytes: int
    tapped_bytes: int
    guided_bytes: int
    best_bytes: int
    network_bytes: int
    train_seconds: float
    search_seconds: float  # of the clock, to find the order and the references of all fields of its grid


@dataclass(frozen=True)
class Learning:
    """How long to train, in all (None: `usual_seconds`; 0: not at all), and the seed of all that is random;
    or the model that is used instead, and whether its networks are put into the frames. ``autoencoder``:
    latents are tried, too, beside references or none, in as much time again."""

    seconds: float | None = None
    seed: int = 0
    model: Model | None = None
    embed: bool = False
    autoencoder: bool = False

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0.0 <= self.seconds < float("inf"):
            raise InvalidArgumentError(f"seconds to train must be finite and >= 0, not {self.seconds}")

    @property
    def trains(self) -> bool:
        """Whether networks are trained; else taps may reach into references, no more."""
        return self.model is None and self.seconds != 0.0

    def check(self) -> None:
        """Raises MissingDependencyError without what this takes, InvalidArgumentError for what cannot be."""
        if self.autoencoder and not self.trains:
            raise InvalidArgumentError("latents are trained: with a model, or in no time, there are none")
        if self.trains:
            require_torch()


def compress_related(
    fields: Mapping[str, Source],
    bounds: Mapping[str, Bound],
    learning: Learning,
    tell: Callable[[Coded], Any] | None = None,
    training: Callable[[str, float], Any] | None = None,
    space: Space | None = None,
    **options: Any,
) -> dict[str, Coded]:
    """What became of each field, in the order in which they were coded; ``tell`` is told of each, and
    ``training`` now and then which field is trained for, and what part of that is done.

    ``bounds`` has one for each name; ``options`` as for `compress_field`. Fields of float32 and float64 on
    one grid, staggered or not (grid.py), with an absolute or relative bound, may help one another; of many,
    those that are most alike. ``space`` is for those that are references to come, as decoded; a field that
    does not fit into memory as scratch.py would have it is read in parts, several times.
    Raises MissingDependencyError without torch.
    """
    _check(options)
    learning.check()
    done: dict[str, Coded] = {}
    space = space or Space()
    for names in _groups(fields, bounds, learning):
        group = {name: fields[name] for name in names}
        for coded in _Group(group, bounds, learning, options, training, space).run():
            done[coded.name] = coded
            if tell is not None:
                tell(coded)
    return done


def compress_referring(
    array: np.ndarray, bound: Bound, references: Sequence[np.ndarray], learning: Learning, **options: Any
) -> bytes:
    """A frame of ``array``, with a guide made from ``references`` where that is smaller.

    Raises InvalidArgumentError for references on another grid, MissingDependencyError without torch.
    """
    _check(options)
    learning.check()
    if bound.kind == "pointwise_relative" and len(references):
        raise InvalidArgumentError("references are of no use with a pointwise relative bound")
    others = [np.ma.getdata(reference) for reference in references]
    for other in others:
        if not near(other.shape, array.shape) or other.dtype.kind != "f" or other.dtype.itemsize < 4:
            raise InvalidArgumentError(
                f"references are of float32 or float64 and {array.shape}, not {other.dtype} {other.shape}"
            )
    seconds = usual_seconds(array.nbytes) if learning.seconds is None else learning.seconds
    plainly = trial.not_enhanced(options)
    told = trial.told_by(array, bound, others, range(len(others)), plainly)
    best = trial.compressed(array, bound, None, plainly)
    best = trial.smaller(best, trial.tapped(array, bound, told, plainly))
    if learning.trains and others:
        guided = trial.guided(array, bound, others, told, seconds, learning.seed, plainly)
        best = trial.smaller(best, guided)
    if learning.autoencoder:
        best = _with_latents(best, array, bound, others, told, seconds, learning.seed, plainly)
    return trial.enhanced(best, array, bound, options).frame


def _with_latents(
    best: trial.Trial,
    field: Source,
    bound: Bound,
    known: Sequence[Source],
    told: trial.Told | None,
    *about: Any,
) -> trial.Trial:
    """``best``, or the field with latents where that is smaller."""
    from lossyzip.latent_trial import autoencoded  # which imports numba

    found = autoencoded(field, bound, known, told, len(best.frame), *about)
    return trial.smaller(best, found)


def plan_of(
    fields: Mapping[str, Source],
    bounds: Mapping[str, Bound],
    learning: Learning,
    seconds: float,
    training: Callable[[str, float], Any] | None = None,
    **options: Any,
) -> list[tuple[str, tuple[str, ...]]]:
    """(name, names of references) in the order of coding, for `compress_related`; looks take ``seconds``."""
    groups = [group for group in _groups(fields, bounds, learning) if len(group) > 1]
    plan = []
    for names in groups:
        group = {name: fields[name] for name in names}
        plan += _Group(group, bounds, learning, options, training, Space()).plan(seconds / len(groups))
    return plan


def usual_seconds(size: int) -> float:
    """Of training for fields of ``size`` bytes, if nothing is said."""
    return max(_SECONDS_PER_BYTE * size, _LEAST_SECONDS)


def as_decoded(field: np.ndarray, bound: Bound, **options: Any) -> np.ndarray:
    """``field`` as a decoder has it, when it was coded alone."""
    done = trial.compressed(field, bound, None, options)
    return trial.decoded(done.frame, [], options.get("threads"))


def needed_by(names: Sequence[str], graph: Mapping[str, Sequence[str]]) -> list[str]:
    """``names`` and all that they need to be decoded, each behind what it needs.

    Raises CorruptError where a field needs itself.
    """
    order: dict[str, None] = {}
    for start in names:
        path = [(start, iter(graph.get(start, ())))]  # no recursion: a forged chain may be long
        while path:
            name, left = path[-1]
            nearest = next((other for other in left if other not in order), None)
            if nearest is None:
                order[name] = None
                path.pop()
            elif any(nearest == passed for passed, _ in path):
                raise CorruptError(f"field {nearest!r} refers to itself")
            else:
                path.append((nearest, iter(graph.get(nearest, ()))))
    return list(order)


def _check(options: Mapping[str, Any]) -> None:
    if options.get("idempotent"):
        raise InvalidArgumentError("what references tell of a field is not idempotent; leave one of both out")


def _groups(fields: Mapping[str, Source], bounds: Mapping[str, Bound], learning: Learning) -> list[list[str]]:
    """Names of fields that may help one another; alone, those that nothing can help."""
    alone: list[list[str]] = []
    related: list[list[str]] = []
    for name, field in fields.items():
        bound = bounds[name]
        relates = field.dtype.kind == "f" and field.dtype.itemsize > 2 and math.prod(field.shape) >= _FEW
        if not (relates and bound.kind in ("absolute", "relative") and bound.regions is None):
            alone.append([name])
            continue
        fitting = [names for names in related if all(near(fields[n].shape, field.shape) for n in names)]
        if fitting:
            fitting[0].append(name)
        else:
            related.append([name])
    if learning.model is None:
        related = [
            [names[k] for k in numbers]
            for names in related
            for numbers in clusters([fields[name] for name in names], learning.seed)
        ]
    return related + alone


class _Group:
    """Fields on one grid."""

    def __init__(
        self,
        fields: dict[str, Source],
        bounds: Mapping[str, Bound],
        learning: Learning,
        options: dict[str, Any],
        training: Callable[[str, float], Any] | None,
        space: Space,
    ) -> None:
        self._fields, self._bounds, self._learning, self._options = fields, bounds, learning, options
        self._training, self._space = training, space
        self._decoded: dict[str, Source] = {}
        self._searched = 0.0

    def run(self) -> Iterator[Coded]:
        seconds = self._learning.seconds
        if seconds is None:
            seconds = usual_seconds(sum(map(_bytes_of, self._fields.values())))
        plan: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in self._fields]
        if self._learning.model is not None:
            plan = self._learning.model.plan(self._fields)
        elif len(plan) > 1:
            plan = self.plan(SEARCH * seconds)
            seconds -= SEARCH * seconds
        helped = sum(bool(references) or self._learning.autoencoder for _, references in plan)
        for place, (name, references) in enumerate(plan):
            needed = {other for _, others in plan[place + 1 :] for other in others}
            yield self._best(name, references, seconds / max(helped, 1), needed)

    def plan(self, seconds: float) -> list[tuple[str, tuple[str, ...]]]:
        """(name, names of references) in the order of coding; a look at samples of all fields decides."""
        from lossyzip.sample import Sample  # which imports numba

        names, started = list(self._fields), time.perf_counter()
        sample = Sample(self._fields, self._bounds, self._learning.seed, seconds, self._options)
        looks = itertools.count()

        def judge(k: int, known: frozenset[int]) -> Given:
            if self._training is not None:
                self._training(f"{names[k]}, samples", min(next(looks) / sample.looks, 1.0))
            return sample.given(k, known)

        order = order_of(len(names), judge, sample.looks)
        plan = [(names[k], tuple(names[j] for j in references)) for k, references in order]
        for place, (k, references) in enumerate(order):
            if not references and sample.is_scant(k):
                plan[place] = names[k], tuple(name for name, _ in plan[:place])
        self._searched = time.perf_counter() - started
        return plan

    def _best(self, name: str, references: tuple[str, ...], seconds: float, needed: set[str]) -> Coded:
        """Of what was decoded, ``needed`` is kept."""
        bound, field = self._bounds[name], _at_hand(self._fields[name])
        plainly = trial.not_enhanced(self._options)
        best = trial.compressed(field, bound, None, plainly)  # of two frames the larger is not kept
        plain_bytes = tapped_bytes = len(best.frame)
        known = [self._decoded[reference] for reference in references]
        if references or self._learning.autoencoder:
            told = trial.told_by(field, bound, known, range(len(known)), plainly)
        if references:
            tapped = trial.tapped(field, bound, told, plainly)
            tapped_bytes = plain_bytes if tapped is None else len(tapped.frame)
            best = trial.smaller(best, tapped)
            del tapped
            best = trial.smaller(best, self._by_network(name, field, known, told, plain_bytes, seconds))
        guided_bytes = len(best.frame)
        if self._learning.autoencoder:
            tell = partial(self._training, name) if self._training else None
            about = seconds, self._learning.seed, plainly, tell
            best = _with_latents(best, field, bound, known, told, *about)
        frame, report, _, network = trial.enhanced(best, field, bound, self._enhancing(name))
        kept = dict(zip(references, known, strict=True))
        used = tuple(trial.used_of(frame, kept))
        if name in needed:
            helpers = [kept[reference] for reference in used]
            model = self._learning.model
            opened = Frame.of_bytes(frame)
            opened.refer_to(helpers, model)
            native = opened.dtype.newbyteorder("=")
            values = self._space.array(opened.shape, native, opened.tile_shape, opened.origin)
            self._decoded[name] = values
            opened.decode_into(values, self._options.get("threads"))
        self._decoded = {other: values for other, values in self._decoded.items() if other in needed}
        trained = seconds if network and self._learning.model is None else 0.0
        sizes = plain_bytes, tapped_bytes, guided_bytes, len(best.frame), len(network)
        return Coded(name, frame, report, used, *sizes, trained, self._searched)

    def _enhancing(self, name: str) -> dict[str, Any]:
        """The options, with the enhancer that the model has for the field, if there is one."""
        asked, learning = self._options.get("enhancing"), self._learning
        ready = None if learning.model is None else learning.model.ready(name, learning.embed)
        return self._options if asked is None else {**self._options, "enhancing": asked._replace(ready=ready)}

    def _by_network(
        self,
        name: str,
        field: Source,
        references: Sequence[Source],
        told: trial.Told | None,
        plain_bytes: int,
        seconds: float,
    ) -> trial.Trial | None:
        """By the model where there is one."""
        options = trial.not_enhanced(self._options)
        if self._learning.model is not None:
            model, embed = self._learning.model, self._learning.embed
            bound = self._bounds[name]
            return trial.guided_by(model, embed, name, field, bound, references, told, options, self._space)
        if not self._learning.trains or not trial.worth_a_network(plain_bytes):
            return None
        tell = partial(self._training, name) if self._training else None
        bound, seed = self._bounds[name], self._learning.seed
        return trial.guided(field, bound, references, told, seconds, seed, options, tell, space=self._space)


def _at_hand(field: Source) -> Source:
    """``field``, in memory if it is small: it is read many times."""
    if isinstance(field, np.ndarray) or _bytes_of(field) > scratch.IN_MEMORY:
        return field
    return np.asarray(field[...])


def _bytes_of(field: Source) -> int:
    return int(math.prod(field.shape) * field.dtype.itemsize)
