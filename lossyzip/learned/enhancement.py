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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from lossyzip.container.guided import FROM_NETWORK
from lossyzip.learned import filter_fitting
from lossyzip.learned.classify import CLASSES
from lossyzip.learned.enhancer import MOST_GUIDES, MOST_SHIFT, STEPS, Enhancer, if_exact
from lossyzip.learned.filtering import Filter
from lossyzip.learned.neighbourhood import folded
from lossyzip.learned.network import Layer
from lossyzip.learned.terms import (
    LIMITS,
    OWN,
    REACH,
    Feature,
    gather,
    stacked,
    terms_of,
    useful,
)

POINTS = 250_000  # in all,
_JUDGED = 0.4  # of which so many are not learned from
FEWEST = 2_000
_CLASSES_PER_EPS = 24.0
_UNIT = 64.0  # of features, for the network
_RIDGE = 1e-4  # of a term's mean square
_SEEN = 64  # judged values of a class, for it to have a correction of its own
_WEIGHT_BITS, _ACTIVATION_BITS = 8, 7
_WEIGHT_BYTES = 0.7  # that a network's weight takes, about
_OUTPUT_BITS = (8, 9, 10)
_CHANNELS = (8, 8)
_MORE_CHANNELS, _LONG = (16, 16), 1 << 18  # from so many bytes of codes on
STEPS_A_SECOND = 700  # nominal: a slower machine takes longer, and finds the same
_LEAST_SECONDS, _MOST_STEPS = 2.0, 20_000
_BATCH = 1024
_RATE, _WARM = 5e-3, 0.15
_MARGIN = 1.25  # what marks gain over what they cost; around the optimum fewer bytes gain about as much
_STREAM = 40.0  # bytes that a tile's marks take beside what they tell
_LEAST_GAIN = 0.02  # dB, for which an enhancer is worth the time that it takes


class View(NamedTuple):
    """What an enhancer sees beside decoded values: see `Enhancer`."""

    guides: tuple[int, ...] = ()
    filter: Filter | None = None


@dataclass(frozen=True)
class Sample:
    """Points of decoded tiles: what an enhancer sees there, and what it should find."""

    view: View
    kinds: list[Feature]
    features: np.ndarray  # (points, kinds) float32
    errors: np.ndarray  # (points,) float32: (original - decoded) / eps
    usable: float  # share of all values that are like these, and not void

    def only(self, columns: Sequence[int]) -> Sample:
        """The same without other features, and without planes that have none left."""
        kinds, view = [self.kinds[k] for k in columns], self.view
        planes = {kind.plane for kind in kinds}
        if len(view.guides) + 1 not in planes:
            kept = [k for k in range(len(view.guides)) if k + 1 in planes]
            view = View(tuple(view.guides[k] for k in kept))
            kinds = [Feature(kept.index(p - 1) + 1 if p else 0, kind) for p, kind in kinds]
        return replace(self, view=view, kinds=kinds, features=self.features[:, columns])


class Price(NamedTuple):
    """What bytes are worth: with one percent more a smaller eps would gain so many ``decibels``."""

    decibels: float
    stream_bytes: int  # of the frame as it is
    values: int
    tiles: int
    marked: bool = True  # values that would leave the bound are: not if a PSNR is asked for

    def of(self, size: float) -> float:
        """In dB."""
        return self.decibels * 100.0 * size / self.stream_bytes


class Judged(NamedTuple):
    """``gain`` is what PSNR gains, ``net`` what is left when its bytes are paid, both in dB on the sample."""

    enhancer: Enhancer
    gain: float
    net: float


class Seen(NamedTuple):
    """A decoded tile, and what lies beside it: see `Enhancer.classes`; and its original."""

    decoded: np.ndarray
    original: np.ndarray
    void: np.ndarray | None
    low: float
    eps: float
    guides: Mapping[int, np.ndarray]

    def planes(self, view: View) -> np.ndarray:
        full = folded(self.decoded.shape)
        void = None if self.void is None else self.void.reshape(full)
        planes = stacked(self.decoded.reshape(full), void, self.low, self.eps, view.guides, self.guides)
        return planes if view.filter is None else np.concatenate([planes, view.filter.plane(planes)[None]])

    def drawn(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """(flat places of about ``count`` values that are not void and whose original is finite, the share of
        these)"""
        size = self.decoded.size
        flat = rng.permutation(size)[: 2 * count] if size > count else np.arange(size)
        usable = np.isfinite(self.original.reshape(-1)[flat])
        if self.void is not None:
            usable &= ~self.void.reshape(-1)[flat]
        return flat[usable][:count], float(usable.mean())

    def first(self, flat: np.ndarray) -> np.ndarray:
        """Where values are in the first plane."""
        full = folded(self.decoded.shape)
        number, *near = np.unravel_index(flat, full)
        padded = (full[0], *(n + 2 * REACH for n in full[1:]))
        return np.ravel_multi_index((number, *(at + REACH for at in near)), padded)

    def errors(self, flat: np.ndarray) -> np.ndarray:
        errors = self.original.reshape(-1)[flat].astype(np.float64) - self.decoded.reshape(-1)[flat]
        return (errors / self.eps).astype(np.float32)


def view_of(seen: Seen, rng: np.random.Generator) -> View:
    """All that may tell something of values like these: guides, and a filter of them."""
    guides = tuple(sorted(seen.guides, key=lambda number: number != FROM_NETWORK)[:MOST_GUIDES])
    (flat, _), planes = seen.drawn(filter_fitting.POINTS, rng), seen.planes(View(guides))
    kinds = useful(folded(seen.decoded.shape)[1:])
    with threadpool_limits(1):
        made = filter_fitting.fitted(planes, seen.first(flat), seen.errors(flat), kinds, guides)
    return View(guides, made)


def draw(seen: Seen, view: View, count: int, rng: np.random.Generator) -> Sample:
    """About ``count`` points of a tile."""
    flat, share = seen.drawn(count, rng)
    kinds, guides = useful(folded(seen.decoded.shape)[1:]), len(view.guides)
    features = [Feature(0, kind) for kind in kinds]
    features += [Feature(k + 1, OWN) for k, number in enumerate(view.guides) if number == FROM_NETWORK]
    if view.filter is not None:
        features += [Feature(guides + 1, kind) for kind in [*kinds, OWN]]
    found = gather(seen.planes(view), features, seen.first(flat), view.filter is not None)
    return Sample(view, features, found, seen.errors(flat), share)


def joined(samples: Sequence[Sample], rng: np.random.Generator) -> Sample:
    """One sample, in random order; tiles differ in the kinds that are useful only where one is flat."""
    kinds = min((sample.kinds for sample in samples), key=len)
    of_all = [sample.features[:, [sample.kinds.index(k) for k in kinds]] for sample in samples]
    errors = np.concatenate([sample.errors for sample in samples])
    order = rng.permutation(errors.size)
    share = sum(sample.usable for sample in samples) / len(samples)
    return Sample(samples[0].view, kinds, np.concatenate(of_all)[order], errors[order], share)


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
            found.append([_offsets(sample, weights, bits) for bits in _OUTPUT_BITS])
        if taught:
            steps = min(round(max(seconds, _LEAST_SECONDS) * STEPS_A_SECOND), _MOST_STEPS)
            net = _taught(terms[:learned], sample.errors[:learned], channels, weights, steps, seed)
            found.append([_network(sample, net, terms[:learned], bits) for bits in _OUTPUT_BITS])
        judged = [
            [
                _judge(enhancer, terms[learned:], sample.errors[learned:], sample.usable, price)
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
        enhancer = _offsets(sample.only(columns), weights, _OUTPUT_BITS[1])
        if enhancer is None:
            return -math.inf
        own = price.of(len(columns) * channels * _WEIGHT_BYTES)
        return _judge(enhancer, judged[:, some], errors, sample.usable, price).net - own

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


def _offsets(sample: Sample, weights: np.ndarray, bits: int) -> Enhancer | None:
    return _with_output(sample, [], weights, 0.0, bits)


def _with_output(
    sample: Sample, hidden: list[Layer], weights: np.ndarray, bias: float, bits: int
) -> Enhancer | None:
    """``weights`` and ``bias`` make the estimate in eps of the integers that the output sees."""
    most = float(np.abs(weights).max())
    if not 0.0 < most < math.inf:
        return None
    shift = math.floor(math.log2(((1 << (bits - 1)) - 1) / (most * _CLASSES_PER_EPS)))
    shift = min(max(shift, 0), MOST_SHIFT)
    scale = _CLASSES_PER_EPS * 2.0**shift
    rows = np.rint(weights * scale).astype(np.int64)[None]
    output = Layer(rows, np.array([round(bias * scale)], np.int64), np.zeros(1, np.int64))
    return if_exact(
        sample.kinds, sample.view.guides, sample.view.filter, hidden, output, _ACTIVATION_BITS, shift
    )


class _Net(NamedTuple):
    """What torch learned, in float64: hidden (weights (inputs, channels), biases), and the output's."""

    hidden: list[tuple[np.ndarray, np.ndarray]]
    weights: np.ndarray  # of activations, then of terms
    bias: float


def _taught(
    terms: np.ndarray, errors: np.ndarray, channels: Sequence[int], start: np.ndarray, steps: int, seed: int
) -> _Net:
    """A network beside the linear function, whose first weights are ``start``."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums whose order is the same each time
    try:
        random = torch.Generator().manual_seed(seed)
        features = terms.shape[1] // len(LIMITS)
        inputs, wanted = torch.from_numpy(terms / np.float32(_UNIT)), torch.from_numpy(errors)[:, None]
        widths = [features, *channels]
        hidden: list[tuple[Any, Any]] = []
        for before, after in zip(widths, channels, strict=False):
            reach = before**-0.5
            hidden.append(
                tuple(
                    ((2.0 * torch.rand(shape, generator=random) - 1.0) * reach).requires_grad_()
                    for shape in ((before, after), (after,))
                )
            )
        reach = 0.3 * channels[-1] ** -0.5
        own = (2.0 * torch.rand((channels[-1], 1), generator=random) - 1.0) * reach
        skip = torch.from_numpy((start * _UNIT).astype(np.float32))[:, None]
        last = torch.cat([own, skip]).requires_grad_()
        bias = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.Adam([p for pair in hidden for p in pair] + [last, bias], _RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, steps, pct_start=_WARM)
        for _ in range(steps):
            chosen = torch.randint(0, len(inputs), (min(_BATCH, len(inputs)),), generator=random)
            seen = inputs[chosen]
            now = seen[:, :features]
            for w, b in hidden:
                now = torch.relu(now @ w + b)
            out = torch.cat([now, seen], 1) @ last + bias
            loss = ((out - wanted[chosen]) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    finally:
        torch.set_num_threads(threads)

    def plain(tensor: Any) -> np.ndarray:
        array: np.ndarray = tensor.detach().numpy().astype(np.float64)
        return array

    (w, b), *others = [(plain(w), plain(b)) for w, b in hidden]
    weights = plain(last)[:, 0]
    weights[channels[-1] :] /= _UNIT
    return _Net([(w / _UNIT, b), *others], weights, float(bias.detach()[0]))


def _network(sample: Sample, net: _Net, terms: np.ndarray, bits: int) -> Enhancer | None:
    """``net`` in integers; ``terms`` show how large activations become."""
    if not all(np.isfinite(part).all() for pair in net.hidden for part in pair):
        return None
    now = terms[: 1 << 16, : len(sample.kinds)].astype(np.float64)
    step = np.ones(len(sample.kinds))  # what one of an input's integers is
    layers = []
    for w, b in net.hidden:
        now = np.maximum(now @ w + b, 0.0)
        fine = ((1 << _ACTIVATION_BITS) - 1) / np.maximum(1.05 * now.max(axis=0), 1e-3)
        scaled = w * step[:, None] * fine
        room = ((1 << (_WEIGHT_BITS - 1)) - 1) / np.maximum(np.abs(scaled).max(axis=0), 1e-9)
        shifts = np.clip(np.floor(np.log2(room)), 0, 16).astype(np.int64)
        halves = np.where(shifts > 0, np.ldexp(0.5, shifts), 0.0)  # so that what is cut off was rounded
        biases = np.rint(np.ldexp(b * fine, shifts) + halves).astype(np.int64)
        layers.append(Layer(np.rint(np.ldexp(scaled, shifts)).astype(np.int64).T.copy(), biases, shifts))
        step = 1.0 / fine
    channels = len(step)
    weights = np.concatenate([net.weights[:channels] * step, net.weights[channels:]])
    return _with_output(sample, layers, weights, net.bias, bits)


def outputs(enhancer: Enhancer, terms: np.ndarray) -> np.ndarray:
    """The output's sums (float64 that hold integers) at points of these ``terms``."""
    terms = terms.astype(np.float64)
    now = terms[:, : len(enhancer.features)]
    for layer in enhancer.hidden:
        sums = (now @ layer.weights.T.astype(np.float64) + layer.biases) * np.ldexp(1.0, -layer.shifts)
        now = np.clip(np.floor(sums), 0.0, float((1 << enhancer.activation_bits) - 1))
    seen = np.concatenate([now, terms], axis=1) if enhancer.hidden else terms
    result: np.ndarray = seen @ enhancer.output.weights[0].astype(np.float64) + enhancer.output.biases[0]
    return result


def _judge(enhancer: Enhancer, terms: np.ndarray, errors: np.ndarray, usable: float, price: Price) -> Judged:
    """``enhancer`` with the corrections that pay."""
    sums = outputs(enhancer, terms)
    classes = np.minimum(np.abs(sums).astype(np.int64) >> enhancer.shift, CLASSES - 1)
    towards = np.where(sums < 0.0, -errors, errors).astype(np.float64)
    square = float(np.square(towards).sum())
    values = usable * price.values
    # what a bit costs in one of the values, in dB, as a part of the mean square; for all of them together
    of_bit = square / errors.size * math.log(10.0) / 10.0 * price.of(values / 8.0) * _MARGIN
    corrections, left, bits = [0], 0.0, 0.0
    for number in range(CLASSES):
        own = towards[classes == number]
        tried = range(STEPS + 1) if own.size >= _SEEN else [corrections[-1]]
        each = [(*_cost(own, c, price.marked), c) for c in tried]
        distortion, marked, correction = min(each, key=lambda one: one[0] + of_bit * one[1])
        corrections.append(correction)
        left += distortion
        bits += marked
    enhancer = replace(enhancer, corrections=tuple(corrections[1:]))
    gain = 10.0 * math.log10(square / left) if left > 0.0 else 0.0
    size = bits / 8.0 * values / errors.size + len(enhancer.to_bytes()) + _STREAM * price.tiles * price.marked
    return Judged(enhancer, gain, gain - price.of(size))


def _cost(errors: np.ndarray, correction: int, marked: bool) -> tuple[float, float]:
    """(sum of squares that is left of ``errors``, bits for marks) when they are corrected by that much."""
    if not errors.size:
        return 0.0, 0.0
    c = correction / STEPS
    if not marked:
        return float(np.square(errors - c).sum()), 0.0
    outside = errors < c - 1.0
    squares = np.square(errors - np.where(outside, 0.5 * c - 1.0, c)).sum()
    share = float(np.count_nonzero(outside)) / errors.size
    if not 0.0 < share < 1.0:
        return float(squares), 0.0
    entropy = -share * math.log2(share) - (1.0 - share) * math.log2(1.0 - share)
    return float(squares), entropy * errors.size
