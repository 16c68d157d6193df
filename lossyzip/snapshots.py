"""Many snapshots of the same fields -> a model of what they tell of one another, for further snapshots.

A box is taken of each snapshot, the same of all its fields, and the boxes of a field are stacked. Order and
references are found on the stacks as for the fields of one snapshot; networks see references *as decoded*.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lossyzip.bound import Bound, absolute
from lossyzip.compressor import compress_field
from lossyzip.dataset import SEARCH, Learning, as_decoded, plan_of, usual_seconds
from lossyzip.decompressor import Frame
from lossyzip.enhancing import Enhancing
from lossyzip.errors import InvalidArgumentError
from lossyzip.field import Number, Source, valid_range
from lossyzip.grid import onto
from lossyzip.learned.device import require_torch
from lossyzip.learned.model import Enhanced, Model, Target
from lossyzip.learned.neighbourhood import folded
from lossyzip.learned.training import train
from lossyzip.trial import valid_only

ENHANCING = 0.2  # of the time to train, for enhancers
_STACKED = 1 << 23  # values of a field, of all snapshots together


class Asked(NamedTuple):
    """A field of a snapshot, and how it will be compressed."""

    source: Source
    bound: Bound
    fills: tuple[Number, ...]


@dataclass(frozen=True)
class Stack:
    """Boxes of a field, of several snapshots."""

    values: np.ndarray  # (separate, z, y, x)
    eps: float  # the median of the snapshots'
    relative_eps: float  # the same, of eps / range
    fills: tuple[Number, ...]


def stacks_of(snapshots: Iterable[Mapping[str, Asked]], count: int, seed: int) -> dict[str, Stack]:
    """Those of the fields that references may help, of ``count`` snapshots; each is read as it comes.

    Raises InvalidArgumentError where a field is missing in one of them, or has another shape.
    """
    boxes: dict[str, list[_Box]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for number, fields in enumerate(snapshots):
        for name, asked in fields.items():
            shape = shapes.setdefault(name, tuple(asked.source.shape))
            if number and name not in boxes:
                raise InvalidArgumentError(f"only snapshot {number + 1} has a field {name!r}")
            if tuple(asked.source.shape) != shape:
                raise InvalidArgumentError(
                    f"field {name!r} is {shape}, but {asked.source.shape} in snapshot {number + 1}"
                )
            boxes.setdefault(name, []).append(_box(asked, count, np.random.default_rng([seed, number])))
        if lacking := [name for name in boxes if name not in fields]:
            raise InvalidArgumentError(f"snapshot {number + 1} has no field {lacking[0]!r}")
    return {name: _stacked(found) for name, found in boxes.items() if all(box.eps > 0.0 for box in found)}


def model_of(
    stacks: Mapping[str, Stack],
    learning: Learning,
    threads: int | None = None,
    training: Callable[[str, float], Any] | None = None,
    enhancing: Enhancing | None = None,
) -> Model:
    """The model of ``stacks``; it may have no targets. Fields with the same fill values may help one another.

    ``training`` is told now and then which field is trained for, and what part of all training is done.
    ``enhancing``: enhancers are trained, too.
    Raises MissingDependencyError without torch.
    """
    require_torch()
    seconds = learning.seconds
    if seconds is None:
        seconds = usual_seconds(sum(stack.values.nbytes for stack in stacks.values()))
    enhanced: tuple[Enhanced, ...] = ()
    if enhancing is not None:
        asked = enhancing._replace(seconds=ENHANCING * seconds / max(len(stacks), 1), seed=learning.seed)
        enhanced = _enhancers(stacks, asked, threads)
        seconds -= ENHANCING * seconds

    def looking(name: str, _: float) -> None:
        if training is not None:
            training(name, 0.0)

    plan = []
    for fills in dict.fromkeys(stack.fills for stack in stacks.values()):
        together = {name: stack for name, stack in stacks.items() if stack.fills == fills}
        fields = {name: stack.values for name, stack in together.items()}
        bounds = {name: absolute(stack.eps) for name, stack in together.items()}
        looks = SEARCH * seconds * len(together) / len(stacks)
        steps = plan_of(fields, bounds, learning, looks, looking, fill_values=fills)
        plan += [step for step in steps if step[1]]
    seconds -= SEARCH * seconds
    decoded: dict[str, np.ndarray] = {}
    targets = []
    for number, (name, references) in enumerate(plan):

        def tell(part: float, name: str = name, number: int = number) -> None:
            if training is not None:
                training(name, (number + part) / len(plan))

        for other in references:
            if other not in decoded:
                stack, options = stacks[other], {"threads": threads, "fill_values": stacks[other].fills}
                decoded[other] = as_decoded(stack.values, absolute(stack.eps), **options)
        stack = stacks[name]
        network = train(
            valid_only(stack.values, stack.fills),
            [onto(decoded[other], stack.values.shape) for other in references],
            stack.eps,
            stacked=True,
            seconds=seconds / len(plan),
            seed=learning.seed,
            tell=tell,
        )
        if network.features:  # else it says the same everywhere
            targets.append(Target(name, references, stack.relative_eps, network.to_bytes()))
    return Model(tuple(targets), enhanced)


def _enhancers(stacks: Mapping[str, Stack], asked: Enhancing, threads: int | None) -> tuple[Enhanced, ...]:
    """Of the stacks that one pays for."""
    found = []
    asked = asked._replace(any_plan=False)  # as the fields will be coded that are given the model
    for name, stack in stacks.items():
        parts: list[bytes] = []
        bound = absolute(stack.eps)
        options: dict[str, Any] = {"threads": threads, "fill_values": stack.fills}
        compress_field(stack.values, bound, parts.append, enhancing=asked, **options)
        made = Frame.of_bytes(b"".join(parts)).own_enhancer
        if made is not None:
            found.append(Enhanced(name, stack.relative_eps, made))
    return tuple(found)


class _Box(NamedTuple):
    values: np.ndarray
    eps: float  # 0.0 where references cannot help
    relative_eps: float
    fills: tuple[Number, ...]


def _box(asked: Asked, count: int, rng: np.random.Generator) -> _Box:
    source, bound, fills = asked
    dtype, shape = np.dtype(source.dtype), tuple(source.shape)
    floats = dtype.kind == "f" and dtype.itemsize > 2
    if not floats or bound.kind not in ("absolute", "relative") or bound.regions is not None:
        return _Box(np.empty(0), 0.0, 0.0, fills)
    low, high = valid_range(source, fills)
    if not high > low:
        return _Box(np.empty(0), 0.0, 0.0, fills)
    lengths = list(shape)
    while math.prod(lengths) > max(_STACKED // count, 1):
        longest = lengths.index(max(lengths))
        lengths[longest] = -(-lengths[longest] // 2)
    starts = [int(rng.integers(n - k + 1)) for n, k in zip(shape, lengths, strict=True)]
    values = source[tuple(slice(start, start + k) for start, k in zip(starts, lengths, strict=True))]
    eps = bound.resolve(low, high)
    return _Box(values.reshape(folded(tuple(lengths))), eps, eps / (float(high) - float(low)), fills)


def _stacked(boxes: Sequence[_Box]) -> Stack:
    masked = any(isinstance(box.values, np.ma.MaskedArray) for box in boxes)
    values = (np.ma.concatenate if masked else np.concatenate)([box.values for box in boxes])
    eps, relative_eps = (float(np.median([box[k] for box in boxes])) for k in (1, 2))
    return Stack(values, eps, relative_eps, boxes[0].fills)
