"""Which fields help which others, and in which order they are coded: decided by coded bytes of samples.

A judge says how many bytes a field takes where some others are known, and which of these told it something.
Knows nothing of how it finds that out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
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
_SURE = 1e-3  # of the bytes: bounds that are closer are one
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

    What is known of a field bounds what it takes beside any others: no more where those that were of use are
    among these, no less where these are among those. Again and again the order is found that takes the
    fewest bytes by guesses between the bounds, and the judge is asked where they are farthest apart; then by
    the lower bounds: once all of that order is known, none is better. Each field is asked for beside all
    others, and all in all the judge is asked ``looks`` times at most, unless these are more.
    """
    known = _Known(count)
    every = frozenset(range(count))
    for k in range(count):
        known.learn(k, frozenset(), judge(k, frozenset()))
        known.learn(k, every - {k}, judge(k, every - {k}))
    asked = count
    for estimate in (known.guess, known.least):
        while asked < looks and (unsure := known.most_unsure(_cheapest(estimate()))):
            known.learn(*unsure, judge(*unsure))
            asked += 1
    order = _cheapest(known.most)
    return [(k, tuple(sorted(known.used(k, _mask(order[:place]))))) for place, k in enumerate(order)]


class _Known:
    """What answers of a judge say of a field beside others: of every set of these, a number whose bits are
    its members."""

    def __init__(self, count: int) -> None:
        self._sets = np.arange(1 << count)
        self._least = np.zeros((count, 1 << count))
        self.most = np.full((count, 1 << count), np.inf)
        self._answers: list[list[tuple[int, Given]]] = [[] for _ in range(count)]

    def learn(self, k: int, others: frozenset[int], given: Given) -> None:
        """That this is what field k takes beside ``others``."""
        shown, used = _mask(others), _mask(given.used)
        within, beyond = self._sets & ~shown == 0, self._sets & used == used
        self._least[k, within] = np.maximum(self._least[k, within], given.bytes)
        self.most[k, beyond] = np.minimum(self.most[k, beyond], given.bytes)
        self._answers[k].append((shown, given))

    def least(self) -> np.ndarray:
        """(fields, sets): bytes that a field takes beside a set, at least."""
        return np.minimum(self._least, self.most)  # a judge may find that more is less

    def guess(self) -> np.ndarray:
        """The same, about: the fewer the more there is of what was of use beside all others."""
        least, out = self.least(), np.empty_like(self.most)
        for k, answers in enumerate(self._answers):
            used = _mask(answers[1][1].used)
            members = [self._sets >> j & 1 for j in range(len(self.most)) if used >> j & 1]
            there = sum(members) / max(len(members), 1)
            out[k] = (1.0 - there) * self.most[k] + there * least[k]
        return out

    def most_unsure(self, order: Sequence[int]) -> tuple[int, frozenset[int]] | None:
        """A field, and those before it in ``order``: the question of which least is known. None: all is."""
        widest, found = 0.0, None
        for place, k in enumerate(order):
            before = _mask(order[:place])
            width = float(self.most[k, before] - self._least[k, before])
            asked = any(shown == before for shown, _ in self._answers[k])
            if not asked and width > max(widest, _SURE * self.most[k, before]):
                widest, found = width, (k, frozenset(order[:place]))
        return found

    def used(self, k: int, others: int) -> frozenset[int]:
        """Which of ``others`` are of use to field k."""
        fitting = [given for _, given in self._answers[k] if _mask(given.used) & ~others == 0]
        return min(fitting, key=lambda given: given.bytes).used


def _cheapest(sizes: np.ndarray) -> list[int]:
    """The order in which fields add up to the fewest of ``sizes`` (fields, sets of those before), by dynamic
    programming over these sets."""
    count, rows = len(sizes), sizes.tolist()
    total, last = [0.0] + [math.inf] * ((1 << count) - 1), [0] * (1 << count)
    for before in range(1 << count):
        for k in range(count):
            after = before | 1 << k
            if after != before and total[before] + rows[k][before] < total[after]:
                total[after], last[after] = total[before] + rows[k][before], k
    order, left = list[int](), (1 << count) - 1
    while left:
        order.insert(0, last[left])
        left -= 1 << last[left]
    return order


def _mask(members: Iterable[int]) -> int:
    return sum(1 << k for k in members)


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
