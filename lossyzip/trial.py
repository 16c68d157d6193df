"""A field compressed in one way or another in trial: alone, with taps into references, with a network.

What a way makes of a field is a frame; who asks keeps the smallest.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from lossyzip.bound import Bound
from lossyzip.compressor import FieldReport, compress_field
from lossyzip.decompressor import Frame
from lossyzip.grid import on_grid
from lossyzip.scratch import Space

if TYPE_CHECKING:
    from lossyzip.field import Source
    from lossyzip.guide import FieldGuide
    from lossyzip.learned.model import Model

_LEAST_FOR_NETWORK = 4_000  # bytes of a field: a network takes 0.3 to 1.5 kB
_MOST_TAPPED = 5  # references for taps to reach into
_HALO, _MOST_HALO = 8, 4.0  # around each plane of a guide; times its values, or it takes too much memory
K = TypeVar("K")


class Trial(NamedTuple):
    """A field, compressed in one way."""

    frame: bytes
    report: FieldReport
    guide: FieldGuide | None
    network: bytes = b""  # that is in the frame


class Target:
    """A field as it is when others are asked what they tell of it: NaN where a value is a fill or masked, in
    native byte order; to be read in parts."""

    def __init__(self, field: Source, bound: Bound, fills: Sequence[float]) -> None:
        from lossyzip.field import valid_range

        self._field, self._fills = field, fills
        self.shape = tuple(field.shape)
        self.dtype = np.dtype(field.dtype).newbyteorder("=")
        self.eps = bound.resolve(*valid_range(field, fills))

    def __getitem__(self, where: tuple[slice, ...]) -> np.ndarray:
        from lossyzip.field import read

        return valid_only(read(self._field, where), self._fills)

    @cached_property
    def rows(self) -> np.ndarray:
        from lossyzip.parts import rows_of

        return rows_of(self)


class Told(NamedTuple):
    """What references tell of a field, beside what a network makes of them."""

    target: Target
    references: list[Source]
    rows: dict[int, np.ndarray]  # parts.py: of those that taps may reach into, at the field's points
    mask: int | None


def guided(
    field: Source,
    bound: Bound,
    references: Sequence[Source],
    told: Told | None,
    seconds: float,
    seed: int,
    options: dict[str, Any],
    tell: Callable[[float], Any] | None = None,
    *,
    subtracted: bool = True,
    space: Space | None = None,
    **learning: Any,
) -> Trial | None:
    """With a network that is trained; None for a field that must come back as it is.

    Taps may reach into the ``references``, the first of those that are ``told``, and into what the network
    makes of them: see `in_ways`. ``space``: for what it makes.
    """
    from lossyzip.guide import FieldGuide
    from lossyzip.learned.training import train

    fills = options.get("fill_values", ())
    target = Target(field, bound, fills) if told is None else told.target
    if not target.eps > 0.0:
        return None
    others = [on_grid(reference, target.shape) for reference in references]
    network = train(target, others, target.eps, seconds=seconds, seed=seed, tell=tell, **learning).to_bytes()
    native, space = target.dtype, space or Space()
    make = partial(FieldGuide, network, references, target.shape, native, kept=space)
    return in_ways(make, field, bound, told, options, subtracted)._replace(network=network)


def in_ways(
    make: Callable[..., FieldGuide],
    field: Source,
    bound: Bound,
    told: Told | None,
    options: dict[str, Any],
    subtracted: bool = True,
) -> Trial:
    """The smaller of two: what a network makes is subtracted, and weights can take back what should not have
    been; or, where there are taps, these alone decide what it, and all else, is worth. The latter if it is
    not to be ``subtracted``."""
    fills, best = options.get("fill_values", ()), None
    for way in [True] * (subtracted or told is None) + [False] * (told is not None):
        guide = make(subtracted=way)
        guide = guide if told is None else _with_taps(guide, told, fills)
        found = compressed(field, bound, guide, options)
        best = found if best is None else smaller(best, found)
        del found
    assert best is not None
    return best


def told_by(
    field: Source,
    bound: Bound,
    known: Sequence[Source],
    named: Sequence[int],
    options: dict[str, Any],
    most: int = _MOST_TAPPED,
) -> Told | None:
    """Those of ``known`` that are ``named``, and any that tells something linear or where special values are.
    Taps may reach into ``most`` of them.

    None for a field that must come back as it is.
    """
    from lossyzip.linear_relations import mask_of, promising
    from lossyzip.parts import rows_of

    if field.dtype.kind != "f" or field.dtype.itemsize < 4 or bound.regions is not None:
        return None
    fills = options.get("fill_values", ())
    target = Target(field, bound, fills)
    if not target.eps > 0.0 or bound.kind not in ("absolute", "relative") or options.get("effort") == "fast":
        return None
    across = [n for n in target.shape if n > 1][-2:]
    if math.prod((n + _HALO) / n for n in across) > _MOST_HALO:
        return None
    at_points = [on_grid(one, target.shape) for one in known]
    with threadpool_limits(1):
        told = promising(target, target.eps, at_points, fills) if at_points else []
    tapped = list(dict.fromkeys([*told, *named]))[:most]
    chosen = list(dict.fromkeys([*named, *tapped]))
    masked = isinstance(field, np.ma.MaskedArray)  # where is said in another way then
    mask = None if masked else mask_of(target, known, fills)
    if mask is not None and mask not in chosen:
        chosen.append(mask)
    where = None if mask is None else chosen.index(mask)
    rows = {chosen.index(k): rows_of(at_points[k]) for k in tapped}
    return Told(target, [known[k] for k in chosen], rows, where)


def tapped(field: Source, bound: Bound, told: Told | None, options: dict[str, Any]) -> Trial | None:
    """With taps into references; None where nothing is told."""
    from lossyzip.guide import FieldGuide
    from lossyzip.raw_guides import proposed

    if told is None:
        return None
    taps = proposed(told.target.rows, told.rows, options.get("fill_values", ()))
    if not taps and told.mask is None:
        return None
    how: dict[str, Any] = {"subtracted": False, "taps": taps, "mask": told.mask}
    guide = FieldGuide(b"", told.references, told.target.shape, told.target.dtype, **how)
    return compressed(field, bound, guide, options)


def guided_by(
    model: Model,
    embed: bool,
    name: str,
    field: Source,
    bound: Bound,
    references: Sequence[Source],
    told: Told | None,
    options: dict[str, Any],
    space: Space,
) -> Trial:
    """With what the model has for ``name``; what its network makes of a field is kept in ``space``."""
    from lossyzip.container.in_model import InModel
    from lossyzip.guide import FieldGuide

    number = model.number_of(name)
    network = model.targets[number].network
    where = None if embed else InModel(model.checksum, number)
    native = np.dtype(field.dtype).newbyteorder("=")
    make = partial(FieldGuide, network, references, tuple(field.shape), native, kept=space, where=where)
    return in_ways(make, field, bound, told, options)._replace(network=b"" if where else network)


def _with_taps(guide: FieldGuide, told: Told, fills: Sequence[float]) -> FieldGuide:
    """``guide``, of a network, with taps into what it makes of the references, which is kept, and into
    these."""
    from lossyzip.parts import rows_of, span_of
    from lossyzip.raw_guides import from_network, proposed

    assert guide.whole is not None
    made = rows_of(guide.whole)
    left = told.target.rows - made if guide.subtracted else told.target.rows
    taps = (*from_network(made, *span_of(guide.whole)), *proposed(left, told.rows, fills))
    return guide.with_taps(told.references, taps, told.mask)


def compressed(field: Source, bound: Bound, guide: FieldGuide | None, options: dict[str, Any]) -> Trial:
    frame = io.BytesIO()  # of which getvalue() makes no copy
    report = compress_field(field, bound, frame.write, guide=guide, **options)
    return Trial(frame.getvalue(), report, guide)


def smaller(best: Trial, other: Trial | None) -> Trial:
    """That of the smaller frame; ``best`` where they are alike."""
    return best if other is None or len(other.frame) >= len(best.frame) else other


def not_enhanced(options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` for trials: what is chosen is enhanced alone, at last."""
    return {**options, "enhancing": None}


def enhanced(trial: Trial, field: Source, bound: Bound, options: dict[str, Any]) -> Trial:
    """The same with an enhancer, if one is asked for."""
    if options.get("enhancing") is None:
        return trial
    return compressed(field, bound, trial.guide, options)._replace(network=trial.network)


def used_of(frame: bytes, known: Mapping[K, Source]) -> list[K]:
    """Which of the ``known`` arrays the frame needs."""
    from lossyzip.guide import checksum

    needed = Frame.of_bytes(frame).references
    return [key for key, values in known.items() if checksum(values) in needed] if needed else []


def decoded(frame: bytes, references: Sequence[Source], threads: int | None) -> np.ndarray:
    """What a decoder has of a field, to be a reference."""
    opened = Frame.of_bytes(frame)
    opened.refer_to(references)
    result = np.empty(opened.shape, opened.dtype.newbyteorder("="))
    opened.decode_into(result, threads)
    return result


def valid_only(field: np.ndarray, fills: Sequence[float]) -> np.ndarray:
    """``field`` with NaN where a value is a fill or masked."""
    out = np.ma.getdata(field).astype(field.dtype.newbyteorder("="))
    out[np.isin(out, np.array(fills, out.dtype)) | np.ma.getmaskarray(field)] = np.nan
    return out


def worth_a_network(size: float) -> bool:
    """Whether a field that takes ``size`` bytes can save what a network takes."""
    return size >= _LEAST_FOR_NETWORK
