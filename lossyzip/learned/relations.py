"""Which fields help which others, and in which order they are coded: decided by coded bytes of samples.

A judge says how many bytes a field takes where some others are known, and which of these told it something.
Knows nothing of how it finds that out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lossyzip.grid import common

if TYPE_CHECKING:
    from lossyzip.field import Source

MOST_TOGETHER = 10  # fields among which an order is sought: looks grow with the square
_COMPARED = 1 << 14  # values by which they are chosen
BLOCKS = 4  # of which a sample consists,
_BLOCK_VALUES = 1 << 15  # with about so many values each
_WHOLE = 1 << 18  # values: fields that are not larger are samples of themselves
_WORTH = 0.01  # of what is left to code, that a reference must explain to be one


class Given(NamedTuple):
    """What a field takes where others are known, and which of these it has use for."""

    bytes: float
    used: frozenset[int]


Judge = Callable[[int, frozenset[int]], Given]  # of a field, and others; of no others too


def blocks_of(shape: tuple[int, ...], seed: int) -> list[tuple[slice, ...]] | None:
    """Where the blocks of a sample lie: cubes in the last three axes of length > 1. None: take the whole."""
    if math.prod(shape) <= _WHOLE:
        return None
    rng = np.random.default_rng(seed)
    long = [axis for axis, n in enumerate(shape) if n > 1][-3:]
    sides = [1] * len(shape)
    left = float(_BLOCK_VALUES)
    for place, axis in enumerate(sorted(long, key=lambda axis: shape[axis])):
        sides[axis] = min(shape[axis], max(round(left ** (1 / (len(long) - place))), 1))
        left /= sides[axis]
    return [
        tuple(
            slice(start, start + side)
            for n, side in zip(shape, sides, strict=True)
            for start in [int(rng.integers(n - side + 1))]
        )
        for _ in range(BLOCKS)
    ]


def cut(field: Source, shape: tuple[int, ...], blocks: Sequence[tuple[slice, ...]] | None) -> np.ndarray:
    """The sample of ``field``: its blocks, along an axis of their own. ``shape`` is the one they were made
    for; they are longer by as much as the field is."""
    if blocks is None:
        return field if isinstance(field, np.ndarray) else np.asarray(field[...])
    more = [n - m for n, m in zip(field.shape, shape, strict=True)]
    stack = np.ma.stack if isinstance(field, np.ma.MaskedArray) else np.stack
    return stack(
        [
            field[tuple(slice(s.start, s.stop + m) for s, m in zip(where, more, strict=True))]
            for where in blocks
        ]
    )


def clusters(fields: Sequence[Source], seed: int) -> list[list[int]]:
    """Numbers of fields on one grid in groups of at most MOST_TOGETHER, each grown by what is most like one
    of its members: by the correlation of steps along the last axis, large ones drawn in."""
    if len(fields) <= MOST_TOGETHER:
        return [list(range(len(fields)))]
    shape = common(field.shape for field in fields)
    blocks = blocks_of(shape, seed)
    steps = np.stack([_steps(cut(field, shape, blocks)) for field in fields])
    likeness = np.abs(steps @ steps.T)
    left, found = set(range(len(fields))), list[list[int]]()
    while left:
        group = [min(left)]
        left -= set(group)
        while left and len(group) < MOST_TOGETHER:
            group.append(max(sorted(left), key=lambda k: likeness[k, group].max()))
            left.discard(group[-1])
        found.append(sorted(group))
    return found


def _steps(sample: np.ndarray) -> np.ndarray:
    """Of some values, as a vector of length 1 or 0."""
    axis = _last_long(sample.shape)
    ends = [
        np.ma.getdata(sample).take(range(k, sample.shape[axis] - 1 + k), axis).reshape(-1) for k in (0, 1)
    ]
    few = slice(None, None, -(-ends[0].size // _COMPARED))
    with np.errstate(all="ignore"):
        steps = ends[1][few].astype(np.float64) - ends[0][few]
        steps = np.arcsinh(steps / (np.nanmedian(np.abs(steps)) + 1e-300))
        steps[~np.isfinite(steps)] = 0.0
        steps = np.pad(steps, (0, _COMPARED - steps.size))
        return steps / max(float(np.linalg.norm(steps)), 1e-300)


def _last_long(shape: tuple[int, ...]) -> int:
    return max((axis for axis, n in enumerate(shape) if n > 1), default=0)


def order_of(count: int, judge: Judge, looks: int) -> list[tuple[int, tuple[int, ...]]]:
    """(field, references) in an order in which all fields together take few bytes.

    First from the end: again and again, the last is the one that takes so many bytes less where all others
    are known. Then fields are moved to better places, until no move helps or the judge was asked more than
    ``looks`` times.
    """
    asked = _Asked(judge)
    order, left = list[int](), list(range(count))
    while left:
        saved = [asked(k, frozenset()).bytes - asked(k, frozenset(left) - {k}).bytes for k in left]
        order.insert(0, left.pop(int(np.argmax(saved))))
    order = _improved(order, asked, looks)
    return [(k, tuple(sorted(asked(k, frozenset(order[:place])).used))) for place, k in enumerate(order)]


def _improved(order: list[int], asked: _Asked, looks: int) -> list[int]:
    least, better = asked.total(order, math.inf), True
    while better:
        better = False
        for k, place in itertools.product(sorted(order), range(len(order))):
            rest = [other for other in order if other != k]
            moved = [*rest[:place], k, *rest[place:]]
            if asked.looks >= looks:
                return order
            if (total := asked.total(moved, least)) < least:
                order, least, better = moved, total, True
    return order


class _Asked:
    """A judge's answers. One holds for fewer fields too, as long as those that were of use are there."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._answers: dict[int, list[tuple[frozenset[int], Given]]] = {}
        self.looks = 0

    def __call__(self, field: int, known: frozenset[int]) -> Given:
        answers = self._answers.setdefault(field, [])
        for others, given in answers:
            if given.used <= known <= others:
                return given
        given = self._judge(field, known)
        self.looks += bool(known)
        answers.append((known, given))
        return given

    def total(self, order: Sequence[int], most: float) -> float:
        """The bytes of all fields in that ``order``; infinite where they are more than ``most``."""
        total = 0.0
        for place, field in enumerate(order):
            total += self(field, frozenset(order[:place])).bytes
            if total > most:
                return math.inf
        return total


def useful(
    guide: Callable[[Sequence[np.ndarray]], np.ndarray],
    target: np.ndarray,
    references: Sequence[np.ndarray],
    eps: float,
) -> list[int]:
    """Which of ``references`` the guide that is made of them owes something: without which more is left.

    ``target`` has NaN where a value does not count.
    """
    here = _left(target, guide(references), eps)
    return [
        k
        for k, reference in enumerate(references)
        if _left(target, guide([*references[:k], _flat(reference), *references[k + 1 :]]), eps)
        > (1.0 + _WORTH) * here
    ]


def _flat(reference: np.ndarray) -> np.ndarray:
    return np.full_like(reference, np.median(reference))


def _left(target: np.ndarray, guide: np.ndarray, eps: float) -> float:
    """About the bits a value that ``target - guide`` needs: magnitudes of differences along the last axis."""
    steps = np.abs(np.diff(target - guide, axis=_last_long(target.shape)))
    return float(np.nanmean(np.log2(1.0 + steps / eps)))
