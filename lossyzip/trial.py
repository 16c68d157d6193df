"""A field compressed in one way or another in trial: alone, with taps into references, with a network.

What a way makes of a field is a frame; who asks keeps the smallest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from lossyzip.bound import Bound
from lossyzip.compressor import FieldReport, compress_field
from lossyzip.decompressor import Frame
from lossyzip.grid import onto

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


def guided(
    field: np.ndarray,
    bound: Bound,
    references: Sequence[np.ndarray],
    told: Told | None,
    seconds: float,
    seed: int,
    options: dict[str, Any],
    tell: Callable[[float], Any] | None = None,
    *,
    subtracted: bool = True,
    **learning: Any,
) -> Trial | None:
    """With a network that is trained; None for a field that must come back as it is.

    Taps may reach into the ``references``, the first of those that are ``told``, and into what the network
    makes of them: see `in_ways`.
    """
    from lossyzip.field import valid_range
    from lossyzip.learned.training import train

    fills = options.get("fill_values", ())
    eps = bound.resolve(*valid_range(field, fills))
    if not eps > 0.0:
        return None
    others, target = [onto(reference, field.shape) for reference in references], valid_only(field, fills)
    network = train(target, others, eps, seconds=seconds, seed=seed, tell=tell, **learning).to_bytes()
    return in_ways(network, b"", field, bound, references, told, options, subtracted)


def in_ways(
    network: bytes,
    latents: bytes,
    field: np.ndarray,
    bound: Bound,
    references: Sequence[np.ndarray],
    told: Told | None,
    options: dict[str, Any],
    subtracted: bool = True,
) -> Trial:
    """The smaller of two: what ``network`` makes is subtracted, and weights can take back what should not
    have been; or, where there are taps, these alone decide what it, and all else, is worth. The latter if it
    is not to be ``subtracted``."""
    from lossyzip.guide import FieldGuide

    native, fills = field.dtype.newbyteorder("="), options.get("fill_values", ())
    ways = [*([True] if subtracted or told is None else []), *([] if told is None else [False])]
    found = []
    for way in ways:
        how: dict[str, Any] = {"kept": True, "subtracted": way, "latents": latents}
        guide = FieldGuide(network, references, field.shape, native, **how)
        guide = guide if told is None else with_taps(guide, told, valid_only(field, fills), fills)
        found.append(compressed(field, bound, guide, options)._replace(network=network))
    return min(found, key=lambda one: len(one.frame))


class Told(NamedTuple):
    """What references tell of a field, beside what a network makes of them."""

    references: list[np.ndarray]
    at_points: dict[int, np.ndarray]  # those that taps may reach into, at the field's points
    mask: int | None


def told_by(
    field: np.ndarray,
    bound: Bound,
    known: Sequence[np.ndarray],
    named: Sequence[int],
    options: dict[str, Any],
    most: int = _MOST_TAPPED,
) -> Told | None:
    """Those of ``known`` that are ``named``, and any that tells something linear or where special values are.
    Taps may reach into ``most`` of them.

    None for a field that must come back as it is.
    """
    from lossyzip.field import valid_range
    from lossyzip.linear_relations import mask_of, promising

    fills = options.get("fill_values", ())
    if field.dtype.kind != "f" or field.dtype.itemsize < 4 or bound.regions is not None:
        return None
    eps = bound.resolve(*valid_range(field, fills))
    if not eps > 0.0 or bound.kind not in ("absolute", "relative") or options.get("effort") == "fast":
        return None
    across = [n for n in field.shape if n > 1][-2:]
    if math.prod((n + _HALO) / n for n in across) > _MOST_HALO:
        return None
    target, at_points = valid_only(field, fills), [onto(one, field.shape) for one in known]
    with threadpool_limits(1):
        told = promising(target, eps, at_points, fills) if at_points else []
    tapped = list(dict.fromkeys([*told, *named]))[:most]
    chosen = list(dict.fromkeys([*named, *tapped]))
    masked = isinstance(field, np.ma.MaskedArray)  # where is said in another way then
    mask = None if masked else mask_of(target, known, fills)
    if mask is not None and mask not in chosen:
        chosen.append(mask)
    where = None if mask is None else chosen.index(mask)
    places = {chosen.index(k): at_points[k] for k in tapped}
    return Told([known[k] for k in chosen], places, where)


def tapped(field: np.ndarray, bound: Bound, told: Told | None, options: dict[str, Any]) -> Trial | None:
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
    return compressed(field, bound, guide, options)


def guided_by(
    model: Model,
    embed: bool,
    name: str,
    field: np.ndarray,
    bound: Bound,
    references: Sequence[np.ndarray],
    told: Told | None,
    options: dict[str, Any],
) -> Trial:
    """With what the model has for ``name``."""
    from lossyzip.container.in_model import InModel
    from lossyzip.guide import FieldGuide

    number = model.number_of(name)
    network = model.targets[number].network
    where = None if embed else InModel(model.checksum, number)
    native, fills = field.dtype.newbyteorder("="), options.get("fill_values", ())
    guide = FieldGuide(network, references, field.shape, native, kept=True, where=where)
    guide = guide if told is None else with_taps(guide, told, valid_only(field, fills), fills)
    return compressed(field, bound, guide, options)._replace(network=b"" if where else network)


def with_taps(guide: FieldGuide, told: Told, target: np.ndarray, fills: Sequence[float]) -> FieldGuide:
    """``guide``, of a network, with taps into what it makes of the references, and into these."""
    from lossyzip.raw_guides import from_network, proposed

    made = guide(tuple(slice(0, n) for n in target.shape))
    left = target - made if guide.subtracted else target
    taps = (*from_network(made), *proposed(left, told.at_points, fills))
    return guide.with_taps(told.references, taps, told.mask)


def compressed(field: Source, bound: Bound, guide: FieldGuide | None, options: dict[str, Any]) -> Trial:
    parts: list[bytes] = []
    report = compress_field(field, bound, parts.append, guide=guide, **options)
    return Trial(b"".join(parts), report, guide)


def not_enhanced(options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` for trials: what is chosen is enhanced alone, at last."""
    return {**options, "enhancing": None}


def enhanced(trial: Trial, field: Source, bound: Bound, options: dict[str, Any]) -> Trial:
    """The same with an enhancer, if one is asked for."""
    if options.get("enhancing") is None:
        return trial
    return compressed(field, bound, trial.guide, options)._replace(network=trial.network)


def used_of(frame: bytes, known: Mapping[K, np.ndarray]) -> list[K]:
    """Which of the ``known`` arrays the frame needs."""
    from lossyzip.guide import checksum

    needed = Frame.of_bytes(frame).references
    return [key for key, values in known.items() if checksum(values) in needed] if needed else []


def decoded(
    frame: bytes, references: Sequence[np.ndarray], threads: int | None, model: Model | None = None
) -> np.ndarray:
    """What a decoder has of a field, to be a reference."""
    opened = Frame.of_bytes(frame)
    opened.refer_to(references, model)
    result = np.empty(opened.shape, opened.dtype.newbyteorder("="))
    for where, values in opened.tiles(threads=threads):
        result[where] = np.ma.getdata(values)
    return result


def valid_only(field: np.ndarray, fills: Sequence[float]) -> np.ndarray:
    """``field`` with NaN where a value is a fill or masked."""
    out = np.ma.getdata(field).astype(field.dtype.newbyteorder("="))
    out[np.isin(out, np.array(fills, out.dtype)) | np.ma.getmaskarray(field)] = np.nan
    return out


def worth_a_network(size: float) -> bool:
    """Whether a field that takes ``size`` bytes can save what a network takes."""
    return size >= _LEAST_FOR_NETWORK
