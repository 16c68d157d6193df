"""Which features a network sees: decided by a linear fit, before it is trained. For the encoder alone."""

from __future__ import annotations

import math

import numpy as np

from lossyzip.learned.neighbourhood import FEATURES, NEAR
from lossyzip.learned.sampling import Patches

_SHARE = 6  # one patch in so many is looked at
_MOST_PAIRS = 24
_WORTH = 0.01  # of what is left unexplained: a pair that takes off less stays away


def select(patches: Patches, inputs: int) -> list[tuple[int, int]]:
    """(input, kind) of each feature: of every input the point and the shells around it, and those pairs along
    an axis that help a linear fit of differences between neighbours."""
    every = [(k, kind) for k in range(inputs) for kind in range(FEATURES)]
    if not every:  # all references are constant
        return []
    near = [j for j, (_, kind) in enumerate(every) if kind < NEAR]
    few = np.arange(0, len(patches.values), _SHARE)
    few = few[patches.valid[few].all(axis=1)]
    neighbours = _neighbours(patches.shape)
    if len(few) * len(neighbours) < 4 * len(every):
        return [every[j] for j in near]
    features, values = patches.features(every, few).astype(np.float64), patches.values[few]
    x = np.concatenate([features[:, j] - features[:, 0] for j in neighbours])
    y = np.concatenate([values[:, j] - values[:, 0] for j in neighbours])
    most = float(np.quantile(np.abs(y), 0.99))  # fronts would outweigh everything else
    y = np.clip(y, -most, most)[:, None]
    table = np.concatenate([_unit(x), _unit(y)], axis=1)
    gram = table.T @ table
    chosen = list(near)
    for j in near:
        _take(gram, j)
    for _ in range(_MOST_PAIRS):
        own = np.diagonal(gram)[:-1]
        gain = np.where(own > 1e-6, gram[-1, :-1] ** 2 / np.maximum(own, 1e-6), 0.0)
        best = int(gain.argmax())
        if gain[best] <= _WORTH * gram[-1, -1]:
            break
        chosen.append(best)
        _take(gram, best)
    return [every[j] for j in sorted(chosen)]


def _take(gram: np.ndarray, j: int) -> None:
    """Leave of all products what is orthogonal to feature ``j``."""
    if gram[j, j] > 1e-9:
        row = gram[j] / math.sqrt(gram[j, j])
        gram -= np.outer(row, row)


def _unit(columns: np.ndarray) -> np.ndarray:
    norms = np.sqrt((columns * columns).sum(axis=0))
    return columns / np.where(norms > 0.0, norms, 1.0)


def _neighbours(shape: tuple[int, int, int]) -> list[int]:
    """Of a patch's first point, one along each axis."""
    nz, ny, nx = shape
    return [step for n, step in ((nz, ny * nx), (ny, nx), (nx, 1)) if n > 1]
