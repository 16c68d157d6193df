"""Many arrays in, an archive out, and back, and models of what fields tell of one another.

Patterns say which field has which bound. What one field is made of is in api.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from lossyzip.api import as_array, compress, fill_values_of, part_of, whole
from lossyzip.bound import Bound
from lossyzip.container.archive import pack_archive, unpack_related
from lossyzip.decompressor import Frame
from lossyzip.enhancing import asked_for
from lossyzip.errors import DecodeError, InvalidArgumentError
from lossyzip.scratch import Space

if TYPE_CHECKING:
    from lossyzip.field import Number, Source
    from lossyzip.learned.model import Model
    from lossyzip.snapshots import Asked


def compress_fields(
    fields: Mapping[str, np.ndarray],
    bounds: Mapping[str, Bound],
    *,
    effort: str = "balanced",
    idempotent: bool = False,
    threads: int | None = None,
    fill_value: Number | Iterable[Number] | None = None,
    learned: bool = False,
    autoencoder: bool = False,
    enhance: bool | str = False,
    train_seconds: float | None = None,
    seed: int = 0,
    model: Model | None = None,
    embed_model: bool = False,
) -> bytes:
    """Many fields as one archive. ``bounds`` maps patterns (as in a shell) to bounds; the first match counts.

    ``learned``: fields of float32 and float64 on one grid, staggered or not, are predicted from others, by
    networks that are trained in about ``train_seconds`` in all (60 s for 100 MB, 10 s at least, if nothing
    is said), where that is smaller. The same ``seed`` gives the same bytes.
    Decompression decodes what a field depends on, too.
    ``autoencoder``: with ``learned``, each field is tried with latents, too; see `compress`.
    ``model`` (see `train`) takes the place of ``learned``: nothing is trained. Frames name it, and
    decompression needs it, unless ``embed_model`` puts its networks into them.
    ``enhance``: as for `compress`; references are enhanced, too. Fields that the model has an enhancer for
    take that.

    Raises InvalidArgumentError for a field that no pattern names, and for a pattern that names no field.
    """
    if learned and model is not None:
        raise InvalidArgumentError("learned=True trains anew, model=... does not: leave one of both out")
    if autoencoder and not learned:
        raise InvalidArgumentError("an autoencoder is trained beside what others tell: set learned=True, too")
    chosen = _bounds_for(fields, bounds)
    options: dict[str, Any] = {"effort": effort, "idempotent": idempotent, "threads": threads}
    if learned or model is not None:
        from lossyzip.dataset import Learning, compress_related

        learning = Learning(train_seconds, seed, model, embed_model, autoencoder)
        arrays = {name: as_array(field) for name, field in fields.items()}
        options["fill_values"] = fill_values_of(fill_value)
        options["enhancing"] = asked_for(enhance, _share(train_seconds, fields), seed, idempotent)
        coded = compress_related(arrays, chosen, learning, **options)
        graph = {name: one.references for name, one in coded.items()}
        return pack_archive({name: coded[name].frame for name in fields}, graph)
    options |= {"fill_value": fill_value, "enhance": enhance, "seed": seed}
    options["train_seconds"] = _share(train_seconds, fields)
    return pack_archive({name: compress(field, chosen[name], **options) for name, field in fields.items()})


def _share(seconds: float | None, fields: Mapping[str, np.ndarray]) -> float | None:
    return None if seconds is None else seconds / max(len(fields), 1)


def decompress_fields(
    archive: bytes,
    *,
    only: Iterable[str] | None = None,
    region: Any = None,
    threads: int | None = None,
    model: Model | None = None,
    enhance: bool = True,
) -> dict[str, np.ndarray]:
    """The fields of an archive by name; ``only`` those named are read, and what they depend on: that is in
    memory or scratch files (scratch.py) as long as it is needed. ``region``: that part of each, as for
    `decompress`; of what they depend on no other tiles are decoded than it needs.

    ``model``: the one that they were compressed with. ``enhance``: as for `decompress`. Raises a DecodeError
    subclass for damaged bytes, MissingModelError without the model, InvalidArgumentError for a name that is
    not there.
    """
    from lossyzip.dataset import needed_by

    frames, graph = unpack_related(archive)
    names = list(frames) if only is None else list(only)
    missing = [name for name in names if name not in frames]
    if missing:
        raise InvalidArgumentError(f"no field {missing[0]!r} in the archive; there are {', '.join(frames)}")
    if region is not None:
        return {name: _part_of(name, archive, region, threads, model, enhance) for name in names}
    order, space = needed_by(names, graph), Space()
    found: dict[str, np.ndarray] = {}
    decoded: dict[str, Source] = {}  # that others need
    for place, name in enumerate(order):
        frame = Frame.of_bytes(bytes(frames[name]))
        references = [decoded[reference] for reference in graph.get(name, ())]
        if references or not frame.references:
            frame.refer_to(references, model)
        later = {reference for other in order[place + 1 :] for reference in graph.get(other, ())}
        if name in names:
            found[name] = whole(frame, threads, enhance)
        if name in later and name in names and enhance:
            decoded[name] = found[name]
        elif name in later:
            values = space.array(frame.shape, frame.dtype.newbyteorder("="), frame.tile_shape, frame.origin)
            frame.decode_into(values, threads)
            decoded[name] = values
        decoded = {other: values for other, values in decoded.items() if other in later}
    return {name: found[name] for name in names}


def _part_of(
    name: str, archive: bytes, region: Any, threads: int | None, model: Model | None, enhance: bool
) -> np.ndarray:
    from lossyzip.dataset import needed_by
    from lossyzip.on_demand import opened_on_demand

    frames, graph = unpack_related(archive)
    try:
        frame = opened_on_demand(frames, graph, needed_by([name], graph), model)
        return part_of(frame, region, threads, enhance)
    except DecodeError:  # damaged; or references are listed in another order than ours
        options: dict[str, Any] = {"threads": threads, "model": model, "enhance": enhance}
        return decompress_fields(archive, only=[name], **options)[name][region]


def train(
    snapshots: Sequence[Mapping[str, np.ndarray]],
    bounds: Mapping[str, Bound],
    *,
    train_seconds: float | None = None,
    seed: int = 0,
    threads: int | None = None,
    fill_value: Number | Iterable[Number] | None = None,
    enhance: bool | str = False,
) -> Model:
    """What fields of ``snapshots`` tell of one another, for `compress_fields` of these and further ones.

    Each snapshot has the same fields, in the same shape. ``bounds``: as for `compress_fields`, about those at
    which fields will be compressed; others do no harm, but a network that was made for them may help more.
    Which field is predicted from which, and how, is found on boxes of up to 2**23 values a field in all, in
    about ``train_seconds`` (60 s for 100 MB of these, 10 s at least). Fields that nothing can help are
    left out. The same ``seed`` gives the same model on the same machine. ``enhance``: enhancers are trained,
    too, of the boxes as decoded, in a fifth of the time; `compress_fields` takes them where it is told to
    enhance, and where they pay.

    Raises MissingDependencyError without torch; InvalidArgumentError.
    """
    from lossyzip.dataset import Learning
    from lossyzip.snapshots import model_of, stacks_of

    if not snapshots:
        raise InvalidArgumentError("a model is trained on one snapshot or more, not on none")
    learning, fills = Learning(train_seconds, seed), fill_values_of(fill_value)
    asked = (_asked(fields, bounds, fills) for fields in snapshots)
    return model_of(stacks_of(asked, len(snapshots), seed), learning, threads, enhancing=asked_for(enhance))


def _asked(
    fields: Mapping[str, np.ndarray], bounds: Mapping[str, Bound], fills: tuple[Number, ...]
) -> dict[str, Asked]:
    from lossyzip.snapshots import Asked

    chosen = _bounds_for(fields, bounds)
    return {name: Asked(as_array(field), chosen[name], fills) for name, field in fields.items()}


def _bounds_for(names: Iterable[str], bounds: Mapping[str, Bound]) -> dict[str, Bound]:
    chosen = {name: _bound_for(name, bounds) for name in names}
    for pattern in bounds:
        if not any(fnmatchcase(name, pattern) for name in chosen):
            raise InvalidArgumentError(f"pattern {pattern!r} matches none of the fields {', '.join(chosen)}")
    return chosen


def _bound_for(name: str, bounds: Mapping[str, Bound]) -> Bound:
    for pattern, bound in bounds.items():
        if fnmatchcase(name, pattern):
            return bound
    raise InvalidArgumentError(
        f"no bound for field {name!r}; '*' names all fields that no other pattern does"
    )
