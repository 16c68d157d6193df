"""Many fields of one state: in which order they are coded, and what helps which.

The order and the references are found by quick estimates (learned/relations.py). Then each field is
compressed alone and, where others are known that tell something of it, with a guide made from them *as
decoded*; the smaller of both is kept, so that a guide that is of no use costs time alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from lossyzip.bound import Bound
from lossyzip.compressor import FieldReport, Frame, compress_field
from lossyzip.errors import CorruptError, InvalidArgumentError
from lossyzip.learned.device import require_torch

if TYPE_CHECKING:
    from lossyzip.guide import FieldGuide
    from lossyzip.learned.model import Model

SECONDS_PER_BYTE = 60 / 100e6  # of training, if nothing is said
_FEW = 1 << 12  # values, for which no network is worth its bytes


@dataclass(frozen=True)
class Coded:
    """What became of one field: ``references`` helped it, and without them its frame has ``plain_bytes``."""

    name: str
    frame: bytes
    report: FieldReport
    references: tuple[str, ...]
    plain_bytes: int
    network_bytes: int
    train_seconds: float


@dataclass(frozen=True)
class Learning:
    """How long to train, in all (None: 60 s for 100 MB), and the seed of all that is random; or the model
    that is used instead, and whether its networks are put into the frames."""

    seconds: float | None = None
    seed: int = 0
    model: Model | None = None
    embed: bool = False

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0.0 <= self.seconds < float("inf"):
            raise InvalidArgumentError(f"seconds to train must be finite and >= 0, not {self.seconds}")


def compress_related(
    fields: Mapping[str, np.ndarray],
    bounds: Mapping[str, Bound],
    learning: Learning,
    tell: Callable[[Coded], Any] | None = None,
    training: Callable[[str, float], Any] | None = None,
    **options: Any,
) -> dict[str, Coded]:
    """What became of each field, in the order in which they were coded; ``tell`` is told of each, and
    ``training`` now and then which field is trained for, and what part of that is done.

    ``bounds`` has one for each name; ``options`` as for `compress_field`. Fields of float32 and float64 that
    share their shape, with an absolute or relative bound, may help one another. Raises
    MissingDependencyError without torch.
    """
    _check(options)
    if learning.model is None:
        require_torch()
    done: dict[str, Coded] = {}
    for names in _groups(fields, bounds):
        group = _Group({name: fields[name] for name in names}, bounds, learning, options, training)
        for coded in group.run():
            done[coded.name] = coded
            if tell is not None:
                tell(coded)
    return done


def compress_referring(
    array: np.ndarray, bound: Bound, references: Sequence[np.ndarray], learning: Learning, **options: Any
) -> bytes:
    """A frame of ``array``, with a guide made from ``references`` where that is smaller.

    Raises InvalidArgumentError for references of another shape, MissingDependencyError without torch.
    """
    _check(options)
    require_torch()
    if bound.kind == "pointwise_relative":
        raise InvalidArgumentError("references are of no use with a pointwise relative bound")
    others = [np.ma.getdata(reference) for reference in references]
    for other in others:
        if other.shape != array.shape or other.dtype.kind != "f" or other.dtype.itemsize < 4:
            raise InvalidArgumentError(
                f"references are of float32 or float64 and {array.shape}, not {other.dtype} {other.shape}"
            )
    seconds = SECONDS_PER_BYTE * array.nbytes if learning.seconds is None else learning.seconds
    plain, _ = _compressed(array, bound, None, options)
    guided = _guided(array, bound, others, seconds, learning.seed, options)
    return plain if guided is None else min(plain, guided[1][0], key=len)


def plan_of(
    fields: Mapping[str, np.ndarray], bounds: Mapping[str, Bound], learning: Learning, **options: Any
) -> list[tuple[str, list[str]]]:
    """(name, names of references) in the order of coding, as in `compress_related`."""
    plan = []
    for names in _groups(fields, bounds):
        if len(names) > 1:
            plan += _Group({name: fields[name] for name in names}, bounds, learning, options, None)._plan()
    return plan


def as_decoded(field: np.ndarray, bound: Bound, **options: Any) -> np.ndarray:
    """``field`` as a decoder has it, when it was coded alone."""
    return _decoded(_compressed(field, bound, None, options)[0], [], options.get("threads"))


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


def _groups(fields: Mapping[str, np.ndarray], bounds: Mapping[str, Bound]) -> list[list[str]]:
    """Names of fields that may help one another; alone, those that nothing can help."""
    groups: dict[Any, list[str]] = {}
    for name, field in fields.items():
        bound = bounds[name]
        related = field.dtype.kind == "f" and field.dtype.itemsize > 2 and field.size >= _FEW
        related = related and bound.kind in ("absolute", "relative") and bound.regions is None
        groups.setdefault(field.shape if related else name, []).append(name)
    return list(groups.values())


class _Group:
    """Fields of one shape."""

    def __init__(
        self,
        fields: dict[str, np.ndarray],
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
            seconds = SECONDS_PER_BYTE * sum(field.nbytes for field in self._fields.values())
        if self._learning.model is not None:
            plan = self._learning.model.plan(self._fields)
        else:
            plan = self._plan() if len(self._fields) > 1 else [(name, []) for name in self._fields]
        self._needed = {other for _, references in plan for other in references}
        helped = sum(bool(references) for _, references in plan)
        for name, references in plan:
            yield self._best(name, references, seconds / max(helped, 1))

    def _plan(self) -> list[tuple[str, list[str]]]:
        """(name, names of references) in the order of coding."""
        from lossyzip.field import valid_range
        from lossyzip.learned import relations

        names = list(self._fields)
        fills = self._options.get("fill_values", ())
        tolerances = [self._bounds[name].resolve(*valid_range(self._fields[name], fills)) for name in names]
        samples = relations.sample(list(self._fields.values()), tolerances, fills, self._learning.seed)
        plan = []
        with threadpool_limits(1):  # matrices are small: threads would wait for one another
            order = relations.order_of(samples)
            for place, k in enumerate(order):
                known = order[:place]
                found = relations.references_of(samples[k], [samples[j] for j in known])
                plan.append((names[k], [names[known[j]] for j in found]))
        return plan

    def _best(self, name: str, references: list[str], seconds: float) -> Coded:
        field, bound = self._fields[name], self._bounds[name]
        frame, report = plain, _ = _compressed(field, bound, None, self._options)
        network, used = b"", tuple[str, ...]()
        if references:
            arrays = [self._decoded[reference] for reference in references]
            tell = partial(self._training, name) if self._training else None
            guided = (
                _guided(field, bound, arrays, seconds, self._learning.seed, self._options, tell)
                if self._learning.model is None
                else _guided_by(self._learning, name, field, bound, arrays, self._options)
            )
            if guided is not None and len(guided[1][0]) < len(plain):
                network, (frame, report) = guided
                used = tuple(references)
        if name in self._needed:
            known = [self._decoded[reference] for reference in used]
            model = self._learning.model
            self._decoded[name] = _decoded(frame, known, self._options.get("threads"), model)
        trained = seconds if references and self._learning.model is None else 0.0
        return Coded(name, frame, report, used, len(plain), len(network), trained)


def _guided(
    field: np.ndarray,
    bound: Bound,
    references: Sequence[np.ndarray],
    seconds: float,
    seed: int,
    options: dict[str, Any],
    tell: Callable[[float], Any] | None = None,
) -> tuple[bytes, tuple[bytes, FieldReport]] | None:
    """(network, (frame, report)); None for a field that must come back as it is."""
    from lossyzip.field import valid_range
    from lossyzip.guide import FieldGuide
    from lossyzip.learned.training import train

    fills = options.get("fill_values", ())
    eps = bound.resolve(*valid_range(field, fills))
    if not eps > 0.0:
        return None
    target = valid_only(field, fills)
    network = train(target, references, eps, seconds=seconds, seed=seed, tell=tell).to_bytes()
    guide = FieldGuide(network, references, field.dtype.newbyteorder("="), kept=True)
    return network, _compressed(field, bound, guide, options)


def _guided_by(
    learning: Learning,
    name: str,
    field: np.ndarray,
    bound: Bound,
    references: Sequence[np.ndarray],
    options: dict[str, Any],
) -> tuple[bytes, tuple[bytes, FieldReport]]:
    """(network, (frame, report)) with what the model has for ``name``; b"" where the frame only names it."""
    from lossyzip.container.header import InModel
    from lossyzip.guide import FieldGuide

    assert learning.model is not None
    number = learning.model.number_of(name)
    network = learning.model.targets[number].network
    where = None if learning.embed else InModel(learning.model.checksum, number)
    guide = FieldGuide(network, references, field.dtype.newbyteorder("="), kept=True, where=where)
    return b"" if where else network, _compressed(field, bound, guide, options)


def _compressed(
    field: np.ndarray, bound: Bound, guide: FieldGuide | None, options: dict[str, Any]
) -> tuple[bytes, FieldReport]:
    parts: list[bytes] = []
    report = compress_field(field, bound, parts.append, guide=guide, **options)
    return b"".join(parts), report


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
