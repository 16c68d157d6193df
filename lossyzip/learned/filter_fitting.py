"""Fits a filter (filtering.py): points of a tile -> whole weights. For the encoder alone.

The original at a point is predicted from all around it but the decoded value itself, of which it is hardly
independent. Weights sum up to one, so that the level of a field does not matter. Magnitudes of residuals are
minimized, not squares (reweighted least squares): a few edges shall not decide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lossyzip.container.guided import FROM_NETWORK
from lossyzip.errors import CorruptError
from lossyzip.learned.filtering import Filter
from lossyzip.learned.network import Layer
from lossyzip.learned.terms import OWN, UNITS, Feature, gather_whole, offsets

POINTS = 60_000
_OF_AXIS = (0, 1, 3, 4)  # kinds of an axis that are independent of one another
_OTHERS = (21, 22, 23, 25)
_ROUNDS = 5
_LEAST = UNITS / 2  # residuals below which all are alike
_RIDGE = 1e-9
_WEIGHT_BITS, _MOST_SHIFT = 14, 31


def fitted(
    planes: np.ndarray, first: np.ndarray, errors: np.ndarray, kinds: Sequence[int], guides: Sequence[int]
) -> Filter | None:
    """That of ``planes`` at the places ``first``, where decoded values have these ``errors``, in eps.

    ``kinds``: those that are useful; ``guides``: the numbers of all planes but the first.
    """
    kept = [kind for kind in kinds if kind in _OTHERS or (kind < 21 and kind % 7 in _OF_AXIS)]
    features = [Feature(plane, kind) for plane in range(len(planes)) for kind in kept]
    features += [Feature(k + 1, OWN) for k, number in enumerate(guides) if number == FROM_NETWORK]
    features.sort()
    if not kept or len(first) < 4 * len(features):
        return None
    sums, shares = gather_whole(planes, features, first), np.array([_share(f) for f in features])
    base = sums[:, :1] / shares[0]
    wanted = UNITS * errors.astype(np.float64) - base[:, 0]  # from a neighbour's value
    weights = _least_magnitudes(sums[:, 1:] - base * shares[1:], wanted)
    weights = np.concatenate([[(1.0 - weights @ shares[1:]) / shares[0]], weights])
    return _in_integers(features, weights)


def _share(feature: Feature) -> float:
    """Of values around the point, that a feature weighs against the decoded value."""
    if feature.plane == 0:
        return float(-offsets(feature, (1, 1, 1, 1))[0][-1][1])
    return 1.0 if feature.kind == OWN else 0.0


def _least_magnitudes(inputs: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    scale = np.maximum(np.abs(inputs).mean(axis=0), 1.0)
    inputs, weights = inputs / scale, np.zeros(inputs.shape[1])
    left = wanted
    for _ in range(_ROUNDS):
        trust = 1.0 / np.maximum(np.abs(left), _LEAST)
        gram = inputs.T @ (inputs * trust[:, None])
        gram[np.diag_indices_from(gram)] *= 1.0 + _RIDGE
        gram[np.diag_indices_from(gram)] += _RIDGE * np.trace(gram) / len(gram) + 1e-300
        weights = np.linalg.solve(gram, inputs.T @ (wanted * trust))
        left = wanted - inputs @ weights
    return weights / scale


def _in_integers(features: list[Feature], weights: np.ndarray) -> Filter | None:
    most = float(np.abs(weights).max())
    if not 0.0 < most < 1 << (_WEIGHT_BITS - 1):
        return None
    shift = min(math.floor(math.log2(((1 << (_WEIGHT_BITS - 1)) - 1) / most)), _MOST_SHIFT)
    whole = np.rint(np.ldexp(weights, shift)).astype(np.int64)
    used = np.flatnonzero(whole)
    half = np.array([1 << shift >> 1])  # so that what is cut off was rounded
    try:
        return Filter(tuple(features[k] for k in used), Layer(whole[None, used], half, np.array([shift])))
    except CorruptError:
        return None
