"""Which fields tell something of which others: quick estimates, for the order in which fields are coded.

A target is predicted from references at sampled points by ridge regression on random features (an extreme
learning machine; Huang, Zhu and Siew 2006), whose cost is one small linear system. What counts is not the
error but how it differs between neighbours: what is smooth costs the local predictor next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_POINTS, _FEATURES = 3_000, 96
_RIDGE = 1e-3
_WORTH, _WORTH_ALL = 0.01, 0.05  # of the bits, that a reference must save to be one, and all together
_MOST_REFERENCES = 4  # beside those that tell something by their slopes alone


class Sampled(NamedTuple):
    """A field at sampled points and at their neighbours along the last two axes."""

    values: np.ndarray  # (3 x points,), as they are
    ranks: np.ndarray  # (3 x points,), in units of a robust scale, heavy tails drawn in
    slopes: np.ndarray  # (3 x points, axes): differences of the values before and behind along each axis
    eps: float


def sample(
    fields: Sequence[np.ndarray], tolerances: Sequence[float], fills: Sequence[float], seed: int
) -> list[Sampled]:
    """The same points of all ``fields``, of one shape; special values become the field's median."""
    shape = fields[0].shape
    rng = np.random.default_rng(seed)
    long = [axis for axis, n in enumerate(shape) if n > 1][-2:] or [len(shape) - 1]
    at = [rng.integers(0, n, _POINTS) for n in shape]
    places = [at]
    for axis in (long[0], long[-1]):
        next_to = np.where(at[axis] + 1 < shape[axis], at[axis] + 1, np.maximum(at[axis] - 1, 0))
        places.append([next_to if a == axis else index for a, index in enumerate(at)])
    together = tuple(np.concatenate(columns) for columns in zip(*places, strict=True))
    return [_sampled(field, together, eps, fills, rng) for field, eps in zip(fields, tolerances, strict=True)]


def _sampled(
    field: np.ndarray,
    places: tuple[np.ndarray, ...],
    eps: float,
    fills: Sequence[float],
    rng: np.random.Generator,
) -> Sampled:
    values, good = _read(field, places, fills)
    middle = float(np.median(values[good])) if good.any() else 0.0
    values = np.where(good, values, middle)
    slopes = []
    for axis in [axis for axis, n in enumerate(field.shape) if n > 1][-3:]:
        ends = []
        for step in (-1, 1):
            moved = np.clip(places[axis] + step, 0, field.shape[axis] - 1)
            end, known = _read(field, (*places[:axis], moved, *places[axis + 1 :]), fills)
            ends.append(np.where(known, end, values))
        slopes.append(ends[1] - ends[0] + rng.uniform(-eps, eps, values.size))
    across = np.stack(slopes, axis=1) if slopes else np.empty((values.size, 0))
    decoded = values + rng.uniform(-eps, eps, values.size)  # about what a decoder will have
    return Sampled(values, np.arcsinh(3.0 * _scaled(decoded - middle, eps)), _scaled(across, eps), eps)


def _read(
    field: np.ndarray, places: tuple[np.ndarray, ...], fills: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """(values, which of them are neither special nor masked)."""
    values = np.ma.getdata(field)[places]
    filled = np.isin(values, np.array(fills, values.dtype)) | np.ma.getmaskarray(field)[places]
    return values.astype(np.float64), np.isfinite(values) & ~filled


def _scaled(values: np.ndarray, eps: float) -> np.ndarray:
    """In units of the span of most of them."""
    low, high = np.quantile(values, (0.1, 0.9)) if values.size else (0.0, 0.0)
    return values / (max(high - low, eps) or 1.0)


def bits(
    target: Sampled, references: Sequence[Sampled], slopes: Sequence[Sampled] = (), seed: int = 0
) -> float:
    """About the bits a value that ``target`` needs, up to a constant, where ``references`` are known, and of
    ``slopes`` those."""
    count = target.values.size // 3
    rest = target.values
    if references or slopes:
        features = [np.ones((rest.size, 1)), *(other.slopes for other in (*references, *slopes))]
        if references:
            rng = np.random.default_rng(seed)
            inputs = np.stack([reference.ranks for reference in references], axis=1)
            weights = rng.standard_normal((inputs.shape[1], _FEATURES)) * 2.0 / np.sqrt(inputs.shape[1])
            features += [inputs, np.maximum(inputs @ weights + rng.standard_normal(_FEATURES), 0.0)]
        together = np.hstack(features)
        rest = rest - together @ _ridge(_differences(together, count), _differences(target.values, count))
    spread = np.abs(_differences(rest, count))
    return float(np.log2(1.0 + spread / max(target.eps, 1e-300)).mean())


def _differences(values: np.ndarray, count: int) -> np.ndarray:
    here, along, across = values[:count], values[count : 2 * count], values[2 * count :]
    return np.concatenate([here - along, here - across])


def _ridge(features: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Weights for differences; a second time with large errors counted less, as for an L1 fit."""
    weight = np.ones(len(target))
    found = np.zeros(features.shape[1])
    for _ in range(2):
        weighted = features * weight[:, None]
        gram = weighted.T @ features
        ridge = _RIDGE * (np.trace(gram) / len(gram) + 1e-300)
        found = np.linalg.solve(gram + ridge * np.eye(len(gram)), weighted.T @ target)
        error = np.abs(target - features @ found)
        weight = 1.0 / np.maximum(error, np.median(error) + 1e-300)
        weight /= weight.max() + 1e-300
    return found


def order_of(fields: Sequence[Sampled]) -> list[int]:
    """An order in which what comes before tells most of what comes after.

    From the end: again and again, the last is the one of which all others, or one and all slopes, tell most.
    """
    alone = [bits(field, []) for field in fields]
    given = [
        [
            bits(field, [other], [f for f in fields if f is not field and f is not other])
            if other is not field
            else np.inf
            for other in fields
        ]
        for field in fields
    ]

    def together(field: int, known: Sequence[int]) -> float:
        return bits(fields[field], [fields[other] for other in known if other != field])

    left, order = list(range(len(fields))), list[int]()
    while len(left) > 1:
        saved = [alone[k] - min(together(k, left), *(given[k][j] for j in left if j != k)) for k in left]
        last = left[int(np.argmax(saved))]
        order.append(last)
        left.remove(last)
    return [*left, *reversed(order)]


def references_of(target: Sampled, known: Sequence[Sampled]) -> list[int]:
    """Which of ``known`` tell something of ``target``: the best, the best beside it, and so on, and those of
    which the slopes do so, as components of a velocity of a density; or all, of which more is left out."""
    every = list(range(len(known)))

    def given(chosen: list[int], sloping: list[int]) -> float:
        others = [known[k] for k in sloping if k not in chosen]
        return bits(target, [known[k] for k in chosen], others)

    alone, chosen = bits(target, []), list[int]()
    here = given([], every) if known else alone
    while len(chosen) < min(_MOST_REFERENCES, len(known)):
        rest = [k for k in every if k not in chosen]
        tried = [given([*chosen, k], every) for k in rest]
        best = int(np.argmin(tried))
        if tried[best] > here - _WORTH * alone:
            break
        here = tried[best]
        chosen.append(rest[best])
    if known and (together := given(every, [])) < here - _WORTH * alone:
        here, chosen = together, list(every)
    used = list(every)
    for k in every:
        without = [other for other in used if other != k]
        left = given([other for other in chosen if other != k], without)
        if left <= here + _WORTH * alone:
            here, used, chosen = left, without, [other for other in chosen if other != k]
    return used if here < (1.0 - _WORTH_ALL) * alone else []
