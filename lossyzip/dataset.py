"""Many fields of one state: in which order they are coded, and what helps which.

The order and the references are found by quick estimates (learned/relations.py). Then each field is
compressed alone and, where others are known that tell something of it, with taps into them *as decoded*, and
with a guide made from them; the smallest is kept, so that a guide that is of no use costs time alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from lossyzip.bound import Bound
from lossyzip.compressor import FieldReport, Frame, compress_field
from lossyzip.errors import CorruptError, InvalidArgumentError

if TYPE_CHECKING:
    from lossyzip.guide import FieldGuide

SECONDS_PER_BYTE = 60 / 100e6  # of training, if nothing is said
_MOST_TAPPED = 5  # references for taps to reach into
_HALO, _MOST_HALO = 8, 4.0  # around each plane of a guide; times its values, or it takes too much memory
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
    """How long to train, in all (None: 60 s for 100 MB), and the seed of all that is random."""

    seconds: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0.0 <= self.seconds < float("inf"):
            raise InvalidArgumentError(f"seconds to train must be finite and >= 0, not {self.seconds}")


def compress_related(
    fields: Mapping[str, np.ndarray],
    bounds: Mapping[str, Bound],
    learning: Learning,
    tell: Callable[[Coded], Any] | None = None,
    **options: Any,
) -> dict[str, Coded]:
    """What became of each field, in the order in which they were coded; ``tell`` is told of each.

    ``bounds`` has one for each name; ``options`` as for `compress_field`. Fields of float32 and float64 that
    share their shape, or are staggered, with an absolute or relative bound, may help one another.
    """
    _check(options)
    done: dict[str, Coded] = {}
    decoded: dict[str, np.ndarray] = {}
    for names in _groups(fields, bounds):
        group = _Group({name: fields[name] for name in names}, bounds, learning, options, decoded)
        for coded in group.run():
            done[coded.name] = coded
            if tell is not None:
                tell(coded)
    return done


def compress_referring(
    array: np.ndarray, bound: Bound, references: Sequence[np.ndarray], learning: Learning, **options: Any
) -> bytes:
    """A frame of ``array``, with a guide made from ``references`` where that is smaller.

    Raises InvalidArgumentError for references of another shape.
    """
    _check(options)
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
    told = _told(array, bound, others, range(len(others)), options)
    tapped = _tapped(array, bound, told, options)
    guided = _guided(array, bound, others, told, seconds, learning.seed, options)
    frames = [plain, *([tapped[0]] if tapped else []), *([guided[1][0]] if guided else [])]
    return min(frames, key=len)


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
    """Names of fields that may help one another, the largest group first; alone, those that nothing can
    help."""
    groups: dict[Any, list[str]] = {}
    for name, field in fields.items():
        bound = bounds[name]
        groups.setdefault(field.shape if _may_refer(field, bound) else name, []).append(name)
    return sorted(groups.values(), key=len, reverse=True)


def _may_refer(field: np.ndarray, bound: Bound) -> bool:
    large = field.dtype.kind == "f" and field.dtype.itemsize > 2 and field.size >= _FEW
    return large and bound.kind in ("absolute", "relative") and bound.regions is None


class _Group:
    """Fields of one shape. ``decoded``: of those that came before, as a decoder has them; it grows."""

    def __init__(
        self,
        fields: dict[str, np.ndarray],
        bounds: Mapping[str, Bound],
        learning: Learning,
        options: dict[str, Any],
        decoded: dict[str, np.ndarray],
    ) -> None:
        self._fields, self._bounds, self._learning, self._options = fields, bounds, learning, options
        self._decoded = decoded

    def run(self) -> Iterator[Coded]:
        seconds = self._learning.seconds
        if seconds is None:
            seconds = SECONDS_PER_BYTE * sum(field.nbytes for field in self._fields.values())
        plan = self._plan() if len(self._fields) > 1 else [(name, []) for name in self._fields]
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
        from lossyzip.guide import checksum

        field, bound = self._fields[name], self._bounds[name]
        frame, report = plain, _ = _compressed(field, bound, None, self._options)
        network = b""
        known = self._decoded if _may_refer(field, bound) else {}
        names, arrays, told = list(known), list(known.values()), None
        if known:
            named = [names.index(reference) for reference in references]
            told = _told(field, bound, arrays, named, self._options)
            tapped = _tapped(field, bound, told, self._options)
            if tapped is not None and len(tapped[0]) < len(frame):
                frame, report = tapped
        if references:
            own = [known[reference] for reference in references]
            guided = _guided(field, bound, own, told, seconds, self._learning.seed, self._options)
            if guided is not None and len(guided[1][0]) < len(frame):
                network, (frame, report) = guided
        needed = Frame.of_bytes(frame).references
        used = tuple(other for other in names if needed and checksum(known[other]) in needed)
        if _may_refer(field, bound):
            helpers = [known[reference] for reference in used]
            self._decoded[name] = _decoded(frame, helpers, self._options.get("threads"))
        trained = seconds if references else 0.0
        return Coded(name, frame, report, used, len(plain), len(network), trained)


def _guided(
    field: np.ndarray,
    bound: Bound,
    references: Sequence[np.ndarray],
    told: _Told | None,
    seconds: float,
    seed: int,
    options: dict[str, Any],
) -> tuple[bytes, tuple[bytes, FieldReport]] | None:
    """(network, (frame, report)); None for a field that must come back as it is.

    Taps may reach into the ``references``, the first of those that are ``told``, and into what the network
    makes of them, which is subtracted: so weights can take back what should not have been.
    """
    from lossyzip.field import valid_range
    from lossyzip.guide import FieldGuide
    from lossyzip.learned.training import train
    from lossyzip.raw_guides import from_network, proposed

    fills = options.get("fill_values", ())
    eps = bound.resolve(*valid_range(field, fills))
    if not eps > 0.0:
        return None
    with threadpool_limits(1):
        network = train(_valid(field, fills), references, eps, seconds=seconds, seed=seed).to_bytes()
    native = field.dtype.newbyteorder("=")
    guide = FieldGuide(network, references, native, kept=True)
    if told is not None:
        made = guide(tuple(slice(0, n) for n in field.shape))
        alike = told.of_shape(field.shape)
        taps = (*from_network(made), *proposed(_valid(field, fills) - made, alike.at_points, fills))
        guide = guide.with_taps(alike.references, taps, alike.mask)
    return network, _compressed(field, bound, guide, options)


class _Told(NamedTuple):
    """What references tell of a field, beside what a network makes of them."""

    references: list[np.ndarray]
    at_points: dict[int, np.ndarray]  # those that taps may reach into, at the field's points
    mask: int | None

    def of_shape(self, shape: tuple[int, ...]) -> _Told:
        """Without those that have another shape."""
        kept = [k for k, one in enumerate(self.references) if one.shape == shape]
        places = {kept.index(k): one for k, one in self.at_points.items() if k in kept}
        mask = None if self.mask is None else kept.index(self.mask)
        return _Told([self.references[k] for k in kept], places, mask)


def _told(
    field: np.ndarray,
    bound: Bound,
    known: Sequence[np.ndarray],
    named: Sequence[int],
    options: dict[str, Any],
) -> _Told | None:
    """Those of ``known`` that are ``named``, and any that tells something linear, or where special values
    are.

    None for a field that must come back as it is.
    """
    from lossyzip.field import valid_range
    from lossyzip.linear_relations import mask_of, promising
    from lossyzip.raw_guides import aligned

    fills = options.get("fill_values", ())
    eps = bound.resolve(*valid_range(field, fills))
    if not eps > 0.0 or bound.kind not in ("absolute", "relative") or options.get("effort") == "fast":
        return None
    across = [n for n in field.shape if n > 1][-2:]
    if math.prod((n + _HALO) / n for n in across) > _MOST_HALO:
        return None
    target = _valid(field, fills)
    at_points = {k: found for k, one in enumerate(known) if (found := aligned(one, field.shape)) is not None}
    fitting = list(at_points)
    with threadpool_limits(1):
        told = promising(target, eps, list(at_points.values()), fills)
    tapped = list(dict.fromkeys([*(fitting[k] for k in told), *named]))[:_MOST_TAPPED]
    chosen = list(dict.fromkeys([*named, *tapped]))
    masked = isinstance(field, np.ma.MaskedArray)  # where is said in another way then
    mask = None if masked else mask_of(target, [known[k] for k in fitting], fills)
    if mask is not None and fitting[mask] not in chosen:
        chosen.append(fitting[mask])
    where = None if mask is None else chosen.index(fitting[mask])
    places = {chosen.index(k): at_points[k] for k in tapped}
    return _Told([known[k] for k in chosen], places, where)


def _tapped(
    field: np.ndarray, bound: Bound, told: _Told | None, options: dict[str, Any]
) -> tuple[bytes, FieldReport] | None:
    """(frame, report) with taps into references; None where nothing is told."""
    from lossyzip.guide import FieldGuide
    from lossyzip.raw_guides import proposed

    if told is None:
        return None
    fills = options.get("fill_values", ())
    taps = proposed(_valid(field, fills), told.at_points, fills)
    if not taps and told.mask is None:
        return None
    native = field.dtype.newbyteorder("=")
    guide = FieldGuide(*(b"", told.references, native, False, False, taps), mask=told.mask, shape=field.shape)
    return _compressed(field, bound, guide, options)


def _compressed(
    field: np.ndarray, bound: Bound, guide: FieldGuide | None, options: dict[str, Any]
) -> tuple[bytes, FieldReport]:
    parts: list[bytes] = []
    report = compress_field(field, bound, parts.append, guide=guide, **options)
    return b"".join(parts), report


def _valid(field: np.ndarray, fills: Sequence[float]) -> np.ndarray:
    """``field`` with NaN where a value is a fill or masked."""
    out = np.ma.getdata(field).astype(field.dtype.newbyteorder("="))
    out[np.isin(out, np.array(fills, out.dtype)) | np.ma.getmaskarray(field)] = np.nan
    return out


def _decoded(frame: bytes, references: Sequence[np.ndarray], threads: int | None) -> np.ndarray:
    """What a decoder has of a field, to be a reference."""
    opened = Frame.of_bytes(frame)
    opened.refer_to(references)
    result = np.empty(opened.shape, opened.dtype.newbyteorder("="))
    for where, values in opened.tiles(threads=threads):
        result[where] = np.ma.getdata(values)
    return result
