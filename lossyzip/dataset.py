"""Many fields of one state: in which order they are coded, and what helps which.

The order and the references are found by coding samples (learned/relations.py). Then each field is
compressed alone and, where others tell something of it, with taps into these *as decoded*, and with a
network's guide; the smallest is kept, so that references that are of no use cost time alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from lossyzip.bound import Bound, absolute, lossless
from lossyzip.compressor import FieldReport, Frame, compress_field
from lossyzip.errors import CorruptError, InvalidArgumentError
from lossyzip.grid import common, near, onto
from lossyzip.learned.device import require_torch
from lossyzip.learned.relations import Given, blocks_of, clusters, cut, order_of, useful

if TYPE_CHECKING:
    from lossyzip.field import Source
    from lossyzip.guide import FieldGuide
    from lossyzip.learned.model import Model

SECONDS_PER_BYTE = 60 / 100e6  # of training, if nothing is said
SEARCH = 0.2  # of that, to find the order of fields and their references
_LEAST_SECONDS = 0.1  # of training, for one look
_LOOKS_AT_SMALL = 4  # a field, of those whose samples are all of them: their training is short, too
_WORTH = 0.02  # of a sample's bytes, that references must save to count as such
_FEW = 1 << 12  # values, for which no reference is worth a search
_LEAST_FOR_NETWORK = 4_000  # bytes of a field: a network takes 0.3 to 1.5 kB
_MOST_TAPPED = 5  # references for taps to reach into
_HALO, _MOST_HALO = 8, 4.0  # around each plane of a guide; times its values, or it takes too much memory
K = TypeVar("K")


@dataclass(frozen=True)
class Coded:
    """What became of one field: ``references`` helped it. Without them its frame has ``plain_bytes``; with
    taps into them, but without a network, ``tapped_bytes``, if that was tried. ``best_bytes``: of what was
    chosen, before it was enhanced."""

    name: str
    frame: bytes
    report: FieldReport
    references: tuple[str, ...]
    plain_bytes: int
    tapped_bytes: int
    best_bytes: int
    network_bytes: int
    train_seconds: float


@dataclass(frozen=True)
class Learning:
    """How long to train, in all (None: 60 s for 100 MB; 0: not at all), and the seed of all that is random;
    or the model that is used instead, and whether its networks are put into the frames."""

    seconds: float | None = None
    seed: int = 0
    model: Model | None = None
    embed: bool = False

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0.0 <= self.seconds < float("inf"):
            raise InvalidArgumentError(f"seconds to train must be finite and >= 0, not {self.seconds}")

    @property
    def trains(self) -> bool:
        """Whether networks are trained; else taps may reach into references, no more."""
        return self.model is None and self.seconds != 0.0

    def check(self) -> None:
        """Raises MissingDependencyError without what this takes."""
        if self.trains:
            require_torch()


def compress_related(
    fields: Mapping[str, Source],
    bounds: Mapping[str, Bound],
    learning: Learning,
    tell: Callable[[Coded], Any] | None = None,
    training: Callable[[str, float], Any] | None = None,
    **options: Any,
) -> dict[str, Coded]:
    """What became of each field, in the order in which they were coded; ``tell`` is told of each, and
    ``training`` now and then which field is trained for, and what part of that is done.

    ``bounds`` has one for each name; ``options`` as for `compress_field`. Fields of float32 and float64 on
    one grid, staggered or not (grid.py), with an absolute or relative bound, may help one another; of many,
    those that are most alike. In memory are, as a whole, the field that is being coded and those, as decoded,
    that are references to come. Raises MissingDependencyError without torch.
    """
    _check(options)
    learning.check()
    done: dict[str, Coded] = {}
    for names in _groups(fields, bounds, learning):
        group = {name: fields[name] for name in names}
        for coded in _Group(group, bounds, learning, options, training).run():
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
    if bound.kind == "pointwise_relative":
        raise InvalidArgumentError("references are of no use with a pointwise relative bound")
    others = [np.ma.getdata(reference) for reference in references]
    for other in others:
        if not near(other.shape, array.shape) or other.dtype.kind != "f" or other.dtype.itemsize < 4:
            raise InvalidArgumentError(
                f"references are of float32 or float64 and {array.shape}, not {other.dtype} {other.shape}"
            )
    seconds = SECONDS_PER_BYTE * array.nbytes if learning.seconds is None else learning.seconds
    plainly = _not_enhanced(options)
    told = _told(array, bound, others, range(len(others)), plainly)
    trials = [_compressed(array, bound, None, plainly), _tapped(array, bound, told, plainly)]
    if learning.trains:
        trials.append(_guided(array, bound, others, told, seconds, learning.seed, plainly))
    best = min((trial for trial in trials if trial is not None), key=lambda trial: len(trial.frame))
    return _enhanced(best, array, bound, options).frame


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
        plan += _Group(group, bounds, learning, options, training).plan(seconds / len(groups))
    return plan


def as_decoded(field: np.ndarray, bound: Bound, **options: Any) -> np.ndarray:
    """``field`` as a decoder has it, when it was coded alone."""
    return _decoded(_compressed(field, bound, None, options).frame, [], options.get("threads"))


def valid_only(field: np.ndarray, fills: Sequence[float]) -> np.ndarray:
    """``field`` with NaN where a value is a fill or masked."""
    out = np.ma.getdata(field).astype(field.dtype.newbyteorder("="))
    out[np.isin(out, np.array(fills, out.dtype)) | np.ma.getmaskarray(field)] = np.nan
    return out


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
    ) -> None:
        self._fields, self._bounds, self._learning, self._options = fields, bounds, learning, options
        self._training = training
        self._decoded: dict[str, np.ndarray] = {}
        self._needed: set[str] = set()  # to be decoded

    def run(self) -> Iterator[Coded]:
        seconds = self._learning.seconds
        if seconds is None:
            seconds = SECONDS_PER_BYTE * sum(map(_bytes_of, self._fields.values()))
        plan: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in self._fields]
        if self._learning.model is not None:
            plan = self._learning.model.plan(self._fields)
        elif len(plan) > 1:
            plan = self.plan(SEARCH * seconds)
            seconds -= SEARCH * seconds
        helped = sum(bool(references) for _, references in plan)
        for place, (name, references) in enumerate(plan):
            needed = {other for _, others in plan[place + 1 :] for other in others}
            yield self._best(name, references, seconds / max(helped, 1), needed)

    def plan(self, seconds: float) -> list[tuple[str, tuple[str, ...]]]:
        """(name, names of references) in the order of coding; a look at samples of all fields decides."""
        names = list(self._fields)
        sample = _Sample(self._fields, self._bounds, self._learning.seed, seconds, self._options)
        most, looks = len(names) * (len(names) if sample.in_part else _LOOKS_AT_SMALL), itertools.count()

        def judge(k: int, known: frozenset[int]) -> Given:
            if self._training is not None:
                self._training(f"{names[k]}, samples", min(next(looks) / most, 1.0))
            return sample.given(k, known)

        order = order_of(len(names), judge, most)
        return [(names[k], tuple(names[j] for j in references)) for k, references in order]

    def _best(self, name: str, references: tuple[str, ...], seconds: float, needed: set[str]) -> Coded:
        """Of what was decoded, ``needed`` is kept."""
        bound, field = self._bounds[name], self._fields[name]
        plainly = _not_enhanced(self._options)
        best = plain = _compressed(field, bound, None, plainly)
        tapped, known = None, [self._decoded[reference] for reference in references]
        if references:
            whole = field if isinstance(field, np.ndarray) else np.asarray(field[...])
            told = _told(whole, bound, known, range(len(known)), plainly)
            tapped = _tapped(whole, bound, told, plainly)
            guided = self._by_network(name, whole, known, told, len(plain.frame), seconds)
            found = [trial for trial in (plain, tapped, guided) if trial is not None]
            best = min(found, key=lambda trial: len(trial.frame))
        frame, report, _, network = _enhanced(best, field, bound, self._enhancing(name))
        kept = dict(zip(references, known, strict=True))
        used = tuple(_used(frame, kept))
        if name in needed:
            helpers = [kept[reference] for reference in used]
            model = self._learning.model
            self._decoded[name] = _decoded(frame, helpers, self._options.get("threads"), model)
        self._decoded = {other: values for other, values in self._decoded.items() if other in needed}
        trained = seconds if network and self._learning.model is None else 0.0
        sizes = len(plain.frame), len((tapped or plain).frame), len(best.frame), len(network)
        return Coded(name, frame, report, used, *sizes, trained)

    def _enhancing(self, name: str) -> dict[str, Any]:
        """The options, with the enhancer that the model has for the field, if there is one."""
        asked, learning = self._options.get("enhancing"), self._learning
        ready = None if learning.model is None else learning.model.ready(name, learning.embed)
        return self._options if asked is None else {**self._options, "enhancing": asked._replace(ready=ready)}

    def _by_network(
        self,
        name: str,
        field: np.ndarray,
        references: Sequence[np.ndarray],
        told: _Told | None,
        plain_bytes: int,
        seconds: float,
    ) -> _Trial | None:
        """By the model where there is one."""
        options = _not_enhanced(self._options)
        if self._learning.model is not None:
            bound, model = self._bounds[name], self._learning
            return _guided_by(model, name, field, bound, references, told, options)
        if not self._learning.trains or plain_bytes < _LEAST_FOR_NETWORK:
            return None
        tell = partial(self._training, name) if self._training else None
        bound, seed = self._bounds[name], self._learning.seed
        return _guided(field, bound, references, told, seconds, seed, options, tell)


class _Sample:
    """Samples of fields, coded in trial: the judge of what helps what (learned/relations.py)."""

    def __init__(
        self,
        fields: Mapping[str, Source],
        bounds: Mapping[str, Bound],
        seed: int,
        seconds: float,
        options: Mapping[str, Any],
    ) -> None:
        from lossyzip.field import valid_range

        self._options = {**_not_enhanced(options), "effort": "balanced"}
        fills = options.get("fill_values", ())
        shape = common(field.shape for field in fields.values())
        blocks = blocks_of(shape, seed)
        self.in_part = blocks is not None  # else samples are all that there is
        self._fields = [cut(field, shape, blocks) for field in fields.values()]
        self._eps = [bounds[name].resolve(*valid_range(field, fills)) for name, field in fields.items()]
        self._bounds = [absolute(eps) if eps > 0.0 else lossless() for eps in self._eps]
        self._times = math.prod(shape) / self._fields[0].size
        self._trains = seconds > 0.0
        self._seconds = max(seconds / (len(fields) * len(fields)), _LEAST_SECONDS)
        self._seed = seed
        plain = zip(self._fields, self._bounds, strict=True)
        self._plain = [_compressed(field, bound, None, self._options).frame for field, bound in plain]
        self._decoded = [_decoded(frame, [], options.get("threads")) for frame in self._plain]

    def given(self, k: int, known: frozenset[int]) -> Given:
        from lossyzip.learned.network import Network

        best = Given(self._times * len(self._plain[k]), frozenset())
        if not known:
            return best
        enough = (1.0 - _WORTH) * best.bytes
        field, bound, others = self._fields[k], self._bounds[k], sorted(known)
        arrays = [self._decoded[j] for j in others]
        tapped = _tapped(field, bound, _told(field, bound, arrays, (), self._options), self._options)
        if tapped is not None and self._times * len(tapped.frame) < enough:
            used = _used(tapped.frame, dict(zip(others, arrays, strict=True)))
            best = Given(self._times * len(tapped.frame), frozenset(used))
        if not self._trains or self._times * len(self._plain[k]) < _LEAST_FOR_NETWORK:
            return best
        guided = _guided(field, bound, arrays, None, self._seconds, self._seed, self._options)
        if guided is None:
            return best
        network = guided.network
        taken = self._times * (len(guided.frame) - len(network)) + len(network)
        if taken >= min(best.bytes, enough):
            return best
        target = valid_only(field, self._options.get("fill_values", ()))
        moved = [onto(other, target.shape) for other in arrays]
        told = useful(Network.from_bytes(network).guide, target, moved, self._eps[k])
        return Given(taken, frozenset(others[j] for j in told))


class _Trial(NamedTuple):
    """A field, compressed in one way."""

    frame: bytes
    report: FieldReport
    guide: FieldGuide | None
    network: bytes = b""  # that is in the frame


def _guided(
    field: np.ndarray,
    bound: Bound,
    references: Sequence[np.ndarray],
    told: _Told | None,
    seconds: float,
    seed: int,
    options: dict[str, Any],
    tell: Callable[[float], Any] | None = None,
) -> _Trial | None:
    """With a network that is trained; None for a field that must come back as it is.

    Taps may reach into the ``references``, the first of those that are ``told``, and into what the network
    makes of them, which is subtracted: so weights can take back what should not have been.
    """
    from lossyzip.field import valid_range
    from lossyzip.guide import FieldGuide
    from lossyzip.learned.training import train

    fills = options.get("fill_values", ())
    eps = bound.resolve(*valid_range(field, fills))
    if not eps > 0.0:
        return None
    others, target = [onto(reference, field.shape) for reference in references], valid_only(field, fills)
    network = train(target, others, eps, seconds=seconds, seed=seed, tell=tell).to_bytes()
    guide = FieldGuide(network, references, field.shape, field.dtype.newbyteorder("="), kept=True)
    guide = guide if told is None else _with_taps(guide, told, target, fills)
    return _compressed(field, bound, guide, options)._replace(network=network)


class _Told(NamedTuple):
    """What references tell of a field, beside what a network makes of them."""

    references: list[np.ndarray]
    at_points: dict[int, np.ndarray]  # those that taps may reach into, at the field's points
    mask: int | None


def _told(
    field: np.ndarray,
    bound: Bound,
    known: Sequence[np.ndarray],
    named: Sequence[int],
    options: dict[str, Any],
) -> _Told | None:
    """Those of ``known`` that are ``named``, and any that tells something linear or where special values are.

    None for a field that must come back as it is.
    """
    from lossyzip.field import valid_range
    from lossyzip.linear_relations import mask_of, promising

    fills = options.get("fill_values", ())
    eps = bound.resolve(*valid_range(field, fills))
    if not eps > 0.0 or bound.kind not in ("absolute", "relative") or options.get("effort") == "fast":
        return None
    across = [n for n in field.shape if n > 1][-2:]
    if math.prod((n + _HALO) / n for n in across) > _MOST_HALO:
        return None
    target, at_points = valid_only(field, fills), [onto(one, field.shape) for one in known]
    with threadpool_limits(1):
        told = promising(target, eps, at_points, fills)
    tapped = list(dict.fromkeys([*told, *named]))[:_MOST_TAPPED]
    chosen = list(dict.fromkeys([*named, *tapped]))
    masked = isinstance(field, np.ma.MaskedArray)  # where is said in another way then
    mask = None if masked else mask_of(target, known, fills)
    if mask is not None and mask not in chosen:
        chosen.append(mask)
    where = None if mask is None else chosen.index(mask)
    places = {chosen.index(k): at_points[k] for k in tapped}
    return _Told([known[k] for k in chosen], places, where)


def _tapped(field: np.ndarray, bound: Bound, told: _Told | None, options: dict[str, Any]) -> _Trial | None:
    """With taps into references; None where nothing is told."""
    from lossyzip.guide import FieldGuide
    from lossyzip.raw_guides import proposed

    if told is None:
        return None
    fills = options.get("fill_values", ())
    taps = proposed(valid_only(field, fills), told.at_points, fills)
    if not taps and told.mask is None:
        return None
    native = field.dtype.newbyteorder("=")
    how: dict[str, Any] = {"subtracted": False, "taps": taps, "mask": told.mask}
    guide = FieldGuide(b"", told.references, field.shape, native, **how)
    return _compressed(field, bound, guide, options)


def _guided_by(
    learning: Learning,
    name: str,
    field: np.ndarray,
    bound: Bound,
    references: Sequence[np.ndarray],
    told: _Told | None,
    options: dict[str, Any],
) -> _Trial:
    """With what the model has for ``name``."""
    from lossyzip.container.header import InModel
    from lossyzip.guide import FieldGuide

    assert learning.model is not None
    number = learning.model.number_of(name)
    network = learning.model.targets[number].network
    where = None if learning.embed else InModel(learning.model.checksum, number)
    native, fills = field.dtype.newbyteorder("="), options.get("fill_values", ())
    guide = FieldGuide(network, references, field.shape, native, kept=True, where=where)
    guide = guide if told is None else _with_taps(guide, told, valid_only(field, fills), fills)
    return _compressed(field, bound, guide, options)._replace(network=b"" if where else network)


def _with_taps(guide: FieldGuide, told: _Told, target: np.ndarray, fills: Sequence[float]) -> FieldGuide:
    """``guide``, of a network, with taps into what it makes of the references, and into these."""
    from lossyzip.raw_guides import from_network, proposed

    made = guide(tuple(slice(0, n) for n in target.shape))
    taps = (*from_network(made), *proposed(target - made, told.at_points, fills))
    return guide.with_taps(told.references, taps, told.mask)


def _compressed(field: Source, bound: Bound, guide: FieldGuide | None, options: dict[str, Any]) -> _Trial:
    parts: list[bytes] = []
    report = compress_field(field, bound, parts.append, guide=guide, **options)
    return _Trial(b"".join(parts), report, guide)


def _not_enhanced(options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` for trials: what is chosen is enhanced alone, at last."""
    return {**options, "enhancing": None}


def _enhanced(trial: _Trial, field: Source, bound: Bound, options: dict[str, Any]) -> _Trial:
    """The same with an enhancer, if one is asked for."""
    if options.get("enhancing") is None:
        return trial
    return _compressed(field, bound, trial.guide, options)._replace(network=trial.network)


def _used(frame: bytes, known: Mapping[K, np.ndarray]) -> list[K]:
    """Which of the ``known`` arrays the frame needs."""
    from lossyzip.guide import checksum

    needed = Frame.of_bytes(frame).references
    return [key for key, values in known.items() if checksum(values) in needed] if needed else []


def _bytes_of(field: Source) -> int:
    return int(math.prod(field.shape) * field.dtype.itemsize)


def _decoded(
    frame: bytes, references: Sequence[np.ndarray], threads: int | None, model: Model | None = None
) -> np.ndarray:
    """What a decoder has of a field, to be a reference."""
    opened = Frame.of_bytes(frame)
    opened.refer_to(references, model)
    result = np.empty(opened.shape, opened.dtype.newbyteorder("="))
    for where, values in opened.tiles(threads=threads):
        result[where] = np.ma.getdata(values)
    return result
