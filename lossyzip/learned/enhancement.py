"""Training of enhancers: decoded values and their errors -> what predicts these. For the encoder alone.

A linear function of terms, of decoded values and of those planes that pay, is fitted by least squares; torch,
where it is there, teaches a small network what that leaves. Then each class of estimates gets the correction
that pays: marks cost bits, and a bit is worth what it would gain if eps were smaller instead. All is judged
on points that were not learned from, bytes of the enhancer included. The number of steps follows from the
budget alone, and all numbers from the seed.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from lossyzip.learned.corrections import Judged, Price, judge
from lossyzip.learned.enhancer import Enhancer
from lossyzip.learned.enhancer_rounding import network, offsets
from lossyzip.learned.observations import Sample
from lossyzip.learned.terms import LIMITS, OWN, terms_of

_JUDGED = 0.4  # of the points are not learned from
FEWEST = 2_000
_RIDGE = 1e-4  # of a term's mean square
_WEIGHT_BYTES = 0.7  # that a network's weight takes, about
_OUTPUT_BITS = (8, 9, 10)
_CHANNELS = (8, 8)
_MORE_CHANNELS, _LONG = (16, 16), 1 << 18  # from so many bytes of codes on
STEPS_A_SECOND = 700  # nominal: a slower machine takes longer, and finds the same
_LEAST_SECONDS, _MOST_STEPS = 2.0, 20_000
_LEAST_GAIN = 0.02  # dB, for which an enhancer is worth the time that it takes


def train(sample: Sample, price: Price, kinds: Sequence[str], seconds: float, seed: int) -> Judged | None:
    """The best enhancer of ``kinds``, as far as they can be had; None if none pays."""
    best = max(trained(sample, [price], kinds, seconds, seed), key=lambda one: one.net, default=None)
    return best if best is not None and best.net > _LEAST_GAIN else None


def trained(
    sample: Sample, prices: Sequence[Price], kinds: Sequence[str], seconds: float, seed: int
) -> list[Judged]:
    """Enhancers, the best of each of ``kinds`` at each price; none where there is nothing to learn."""
    count = sample.errors.size
    if count < FEWEST or not sample.kinds or not sample.errors.any():
        return []
    learned = count - round(_JUDGED * count)
    with threadpool_limits(1):
        channels = _CHANNELS if prices[0].stream_bytes < _LONG else _MORE_CHANNELS
        taught = "network" in kinds and importlib.util.find_spec("torch") is not None
        sample = _without_what_does_not_pay(sample, learned, prices[0], channels[0] if taught else 0)
        terms = terms_of(sample.features)
        weights = _solved(*_normal_equations(terms[:learned], sample.errors[:learned]))
        found: list[list[Enhancer | None]] = []
        if "offsets" in kinds:
            found.append([offsets(sample, weights, bits) for bits in _OUTPUT_BITS])
        if taught:
            from lossyzip.learned.enhancer_network import teach

            steps = min(round(max(seconds, _LEAST_SECONDS) * STEPS_A_SECOND), _MOST_STEPS)
            net = teach(terms[:learned], sample.errors[:learned], channels, weights, steps, seed)
            found.append([network(sample, net, terms[:learned], bits) for bits in _OUTPUT_BITS])
        judged = [
            [
                judge(enhancer, terms[learned:], sample.errors[learned:], sample.usable, price)
                for enhancer in alike
                if enhancer is not None
            ]
            for alike in found
            for price in prices
        ]
    return [max(alike, key=lambda one: one.net) for alike in judged if alike]


def _without_what_does_not_pay(sample: Sample, learned: int, price: Price, channels: int) -> Sample:
    """``sample`` with those planes that pay, judged by linear functions; in groups: the value of each, and
    what is around it. They are taken in turn, the best one first. A network has weights of its own for each,
    in so many ``channels``."""
    if not any(kind.plane for kind in sample.kinds):
        return sample
    groups: dict[tuple[int, bool], list[int]] = {}
    for k, (plane, kind) in enumerate(sample.kinds):
        groups.setdefault((plane, kind == OWN), []).append(k)
    chosen, left = groups.pop((0, False), []), list(groups.values())
    terms = terms_of(sample.features)
    gram, right = _normal_equations(terms[:learned], sample.errors[:learned])
    judged, errors, width = terms[learned:], sample.errors[learned:], len(sample.kinds)

    def net(columns: list[int]) -> float:
        some = [limit * width + k for limit in range(len(LIMITS)) for k in columns]
        weights = _solved(gram[np.ix_(some, some)], right[some])
        enhancer = offsets(sample.only(columns), weights, _OUTPUT_BITS[1])
        if enhancer is None:
            return -math.inf
        own = price.of(len(columns) * channels * _WEIGHT_BYTES)
        return judge(enhancer, judged[:, some], errors, sample.usable, price).net - own

    best = net(chosen)
    while left:
        nets = [net(sorted(chosen + group)) for group in left]
        if not max(nets) > best + _LEAST_GAIN:
            break
        best = max(nets)
        chosen = sorted(chosen + left.pop(nets.index(best)))
    return sample.only(chosen)


def _normal_equations(terms: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    gram, right = np.zeros((terms.shape[1],) * 2), np.zeros(terms.shape[1])
    for start in range(0, len(terms), 1 << 14):
        part = terms[start : start + (1 << 14)].astype(np.float64)
        gram += part.T @ part
        right += part.T @ errors[start : start + (1 << 14)]
    return gram, right


def _solved(gram: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Weights of terms, for an estimate in units of eps."""
    gram = gram.copy()
    gram[np.diag_indices_from(gram)] *= 1.0 + _RIDGE
    gram[np.diag_indices_from(gram)] += 1.0
    solved: np.ndarray = np.linalg.solve(gram, right)
    return solved
