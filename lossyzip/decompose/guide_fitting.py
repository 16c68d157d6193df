"""Which taps into guides a stencil gets, and their weights: for the encoder alone, never part of the format.

Taps are added one by one, each the one that leaves the smallest squares (forward selection, by the sweep
operator: Goodnight, 1979), beside weights that are fitted anew with each. As many are kept as pay their way
in sampled bits: a useless guide gets none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import kernel
from lossyzip.decompose.guide_taps import INNOVATION, GuideWeights
from lossyzip.decompose.least_squares import (
    BUCKETS,
    LEAST_SERVED,
    cheapest,
    estimated_bits,
    fit,
    median_size,
    normal_equations,
    relative_to_first,
    robust,
    subtract,
)
from lossyzip.decompose.stencil import LARGEST_PARAMETER, SHIFTS, Weights, best_rice
from lossyzip.entropy.bits import BitWriter

_COUNTS = (1, 2, 3, 4, 6, 8, 11, 15, 20, 28, 40)  # of taps, that are tried
_SAMPLES = 12  # a weight, or there are too few
_ENTRY_BITS = 6
_ABOUT_BITS = 8  # that a tap takes


class Samples(NamedTuple):
    """What `least_squares.fit` fits."""

    sums: np.ndarray
    sizes: np.ndarray
    target: np.ndarray
    prior: np.ndarray
    known: np.ndarray


class Regressors(NamedTuple):
    """Of one stencil, for each sample; see `least_squares.fit`."""

    free: np.ndarray  # (samples, parameters): of those weights that do not follow from the others
    wanted: np.ndarray  # (samples,): what these, and taps into guides, are to add up to
    beside: np.ndarray  # (samples, guides x kinds): of taps into guides
    guides: int
    first: int  # the kind of the first column
    step: float

    def row(self, weights: GuideWeights) -> np.ndarray:
        """Its weights of the columns of `beside`."""
        out = np.zeros((self.guides, self.beside.shape[1] // self.guides))
        for guide, row in enumerate(weights.parameters):
            for kind, parameter in row:
                if kind - self.first < out.shape[1]:
                    out[guide, kind - self.first] = parameter / float(1 << SHIFTS[weights.precision])
        return out.reshape(-1)

    def weights(self, precision: int, columns: np.ndarray, found: np.ndarray) -> GuideWeights | None:
        """``found`` for ``columns``, rounded; None where they do not fit, or are none."""
        rounded = np.rint(found * float(1 << SHIFTS[precision]))
        if not (np.abs(rounded) <= LARGEST_PARAMETER).all() or not rounded.any():
            return None
        rows: list[list[tuple[int, int]]] = [[] for _ in range(self.guides)]
        for column, value in sorted(zip(columns.tolist(), rounded.astype(np.int64).tolist(), strict=True)):
            if value:
                guide, kind = divmod(column, self.beside.shape[1] // self.guides)
                rows[guide].append((kind + self.first, value))
        return GuideWeights(precision, tuple(map(tuple, rows)))


class Found(NamedTuple):
    """What is to be written for a stencil: None, what serves without; and about the bits of what it
    serves."""

    bits: float
    weights: Weights | None
    beside: GuideWeights | None


def written_bits(weights: GuideWeights) -> int:
    """Bits that `GuideWeights.write` takes."""
    writer = BitWriter()
    weights.write(writer)
    return 1 + 8 * len(writer.finish())


def nothing(guides: int) -> GuideWeights:
    """No taps."""
    return GuideWeights(0, ((),) * guides)


def in_turn(normal: np.ndarray, right: np.ndarray, always: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """(order, solutions): which columns behind the first ``always`` are taken in turn, up to ``most``; the
    weights (taken + 1, columns) of least squares with none, one, two, ... of them."""
    size = right.size
    square = np.empty((size + 1, size + 1))
    square[:size, :size] = np.tril(normal) + np.tril(normal, -1).T
    square[:size, size] = square[size, :size] = right
    square[size, size] = 0.0
    most = max(min(most, size - always), 0)
    order, solutions = np.empty(most, np.int64), np.zeros((most + 1, size))
    taken = _in_turn(square, always, order, solutions)
    return order[:taken], solutions[: taken + 1]


@kernel
def _in_turn(square, always, order, solutions):
    """Sweep the columns of the (symmetric) matrix one by one; returns how many were worth it."""
    size = square.shape[0] - 1
    first = np.empty(size, np.float64)
    swept = np.zeros(size, np.bool_)
    for k in range(size):
        first[k] = square[k, k]
    for k in range(always):
        if square[k, k] > 1e-9 * first[k]:
            _sweep(square, k)
            swept[k] = True
    for k in range(size):
        solutions[0, k] = square[k, size] if swept[k] else 0.0
    for number in range(order.size):
        best, chosen = 0.0, -1
        for k in range(always, size):
            if not swept[k] and square[k, k] > 1e-9 * first[k]:
                gain = square[k, size] * square[k, size] / square[k, k]
                if gain > best:
                    best, chosen = gain, k
        if chosen < 0:
            return number
        _sweep(square, chosen)
        swept[chosen] = True
        order[number] = chosen
        for k in range(size):
            solutions[number + 1, k] = square[k, size] if swept[k] else 0.0
    return order.size


@kernel
def _sweep(square, k):
    size = square.shape[0]
    pivot = square[k, k]
    for j in range(size):
        square[k, j] /= pivot
    for i in range(size):
        if i != k:
            factor = square[i, k]
            for j in range(size):
                square[i, j] -= factor * square[k, j]
            square[i, k] = -factor / pivot
    square[k, k] = 1.0 / pivot


def counts(samples: int, parameters: int) -> list[int]:
    """How many taps are worth a try."""
    return [count for count in _COUNTS if _SAMPLES * (parameters + count) <= samples]


class Around(NamedTuple):
    """Guides around the samples of one stencil."""

    values: np.ndarray  # (guides, samples, places)
    table: np.ndarray  # (kinds from 1 on, places): what they add up
    groups: np.ndarray  # (groups, places): what the groups of the stencil's own taps add up

    def columns(self, stencil: np.ndarray | None) -> np.ndarray:
        """Regressors (samples, guides x kinds); the innovation first, if the weights of a ``stencil``'s
        groups are given. The first kind of the table is the value at the point."""
        found = []
        for around in self.values:
            kinds = _product(around, self.table)
            if stencil is not None:
                expected = _product(around, (stencil @ self.groups)[None])
                kinds = np.hstack([kinds[:, :1] - expected, kinds])
            found.append(kinds)
        return np.hstack(found)


def fit_beside(
    stencil: Samples, around: Around, known_beside: GuideWeights | None, step: float, points: float
) -> Found:
    """What codes the samples in the fewest bits: weights, taps into guides, both or none.

    ``known_beside``: taps that serve at no cost. Otherwise as `least_squares.fit`. Weights are those of a
    fit without guides, or of one to what a guide's innovation leaves, or are fitted together with taps into
    guides.
    """
    sums, sizes, target, prior, known = stencil
    plain = fit(sums, sizes, target, prior, known, step, points)
    count, samples, guides = sizes.size, target.size, len(around.values)
    free, wanted = np.empty((samples, count - 1)), np.empty(samples)
    largest = max(float(relative_to_first(sums, sizes, target, 1.0, free, wanted)), step) if samples else 0.0
    if not samples or step < 1e-100 or largest > 1e100 or points < LEAST_SERVED:
        return Found(0.0, plain, None)
    scale = points / samples

    def regressors(own: np.ndarray) -> Regressors:
        first = np.append((1.0 - sizes[1:] @ own) / sizes[0], own)
        return Regressors(free, wanted, around.columns(first), guides, INNOVATION, step)

    def bits(own: np.ndarray, beside: GuideWeights | None, here: Regressors) -> float:
        rest = wanted if beside is None else wanted - _times(here.beside, here.row(beside))
        return float(_bits_left(free, rest, own, step) * scale)

    before = regressors(known[1:])
    found = [Found(bits(known[1:], known_beside, before), None, None)]
    found.append(_with_taps(before, known[1:], known[1:], scale, False))
    if plain is not None:
        own = _free_part(plain)
        here = regressors(own)
        cost = _written(plain)
        found.append(Found(bits(own, known_beside, here) + cost, plain, None))
        if known_beside is not None and any(known_beside.parameters):
            none = nothing(guides)
            found.append(Found(bits(own, none, here) + cost + written_bits(none), plain, none))
        taken = _with_taps(here, own, own, scale, False)
        if taken.beside is not None:
            found.append(Found(taken.bits + cost, plain, taken.beside))
            again = _innovations_left(stencil, around, here, taken.beside, step, points)
            if again is not None:
                own = _free_part(again)
                taken = _with_taps(regressors(own), own, own, scale, False)
                found.append(Found(taken.bits + _written(again), again, taken.beside))
        if samples >= 3 * count:
            together = Regressors(free, wanted, around.columns(None), guides, INNOVATION + 1, step)
            found.append(_with_taps(together, prior[1:], own, scale, True))
    return min(found, key=lambda one: one.bits)


def _innovations_left(
    stencil: Samples, around: Around, here: Regressors, beside: GuideWeights, step: float, points: float
) -> Weights | None:
    """Weights fitted to the target less what innovations of guides say of it, and of those around it."""
    sums, target = stencil.sums.copy(), stencil.target.copy()
    for guide, row in enumerate(beside.parameters):
        share = dict(row).get(INNOVATION, 0) / float(1 << SHIFTS[beside.precision])
        if share:
            values = around.values[guide]
            target -= share * _product(values, around.table[:1])[:, 0]
            sums -= share * _product(values, around.groups)
    if (target == stencil.target).all():
        return None
    return fit(sums, stencil.sizes, target, stencil.prior, stencil.known, step, points)


def fit_alone(
    wanted: np.ndarray, beside: np.ndarray, guides: int, step: float, points: float
) -> GuideWeights | None:
    """Taps into guides, of kinds from 1 on, that alone predict ``wanted`` (samples,); None where it takes no
    fewer bits with them."""
    if not wanted.size or step < 1e-100 or max(np.abs(wanted).max(), np.abs(beside).max()) > 1e100:
        return None
    none = np.empty((wanted.size, 0))
    here = Regressors(none, wanted, beside, guides, INNOVATION + 1, step)
    scale = points / wanted.size
    found = _with_taps(here, none[0], none[0], scale, False)
    return found.beside if found.bits < _bits_left(none, wanted, none[0], step) * scale else None


def _with_taps(here: Regressors, start: np.ndarray, near: np.ndarray, scale: float, fitted: bool) -> Found:
    """The best number of taps beside weights drawn to ``start``, or, unless ``fitted``, just these.

    ``near`` are weights that leave about what these will.
    """
    none = Found(np.inf, None, None)
    always = start.size if fitted else 0
    columns = np.hstack([here.free, here.beside]) if fitted else here.beside
    tried = counts(len(columns), always)
    if not tried:
        return none
    first = here.wanted - _times(here.free, start)
    now = here.wanted - _times(here.free, near)
    normal, right = _normal(columns, first, now, here.step)
    order, solutions = in_turn(normal, right, always, tried[-1])
    least, chosen = np.inf, 0
    for number in sorted({min(count, len(order)) for count in tried} - {0}):
        bits = _bits_left(columns, first, solutions[number], here.step) * scale + _ABOUT_BITS * number
        if bits < least:
            least, chosen = bits, number
    if not chosen:
        return none
    taken = np.sort(order[:chosen])
    columns = np.ascontiguousarray(np.hstack([columns[:, :always], columns[:, taken]]))
    weights = robust(columns, first, np.zeros(always + chosen), here.step)
    own, taps = start + weights[:always] if fitted else start, weights[always:]
    beside = _rounded_beside(here, own, taken - always, taps, scale)
    if beside is None:
        return none
    rest = here.wanted - _times(here.beside, here.row(beside))
    if not fitted:
        bits = _bits_left(here.free, rest, own, here.step) * scale + written_bits(beside)
        return Found(bits, None, beside)
    precision, _ = cheapest(here.free, rest, own, np.zeros(own.size), here.step, scale)
    if precision < 0:
        return none
    rounded = Weights(precision, tuple(np.rint(own * float(1 << SHIFTS[precision])).astype(int).tolist()))
    bits = _bits_left(here.free, rest, _free_part(rounded), here.step) * scale
    return Found(bits + _written(rounded) + written_bits(beside), rounded, beside)


def _rounded_beside(
    here: Regressors, own: np.ndarray, columns: np.ndarray, taps: np.ndarray, scale: float
) -> GuideWeights | None:
    """``taps`` at the precision that takes the fewest bits."""
    least, best = np.inf, None
    for precision in range(len(SHIFTS)):
        weights = here.weights(precision, columns, taps)
        if weights is None:
            continue
        rest = here.wanted - _times(here.beside, here.row(weights))
        bits = _bits_left(here.free, rest, own, here.step) * scale + written_bits(weights)
        if bits < least:
            least, best = bits, weights
    return best


def _free_part(weights: Weights) -> np.ndarray:
    return np.array(weights.parameters, np.float64) / float(1 << SHIFTS[weights.precision])


def _written(weights: Weights) -> int:
    return _ENTRY_BITS + int(best_rice(np.array(weights.parameters, np.int64))[1])


def _product(values: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """(samples, kinds): what each of ``kinds`` (kinds, places) adds up of ``values`` (samples, places)."""
    out = np.zeros((len(values), len(kinds)))
    _multiply(values, kinds, out)
    return out


@kernel
def _multiply(values, kinds, out):
    for kind in range(kinds.shape[0]):
        for place in range(kinds.shape[1]):
            weight = kinds[kind, place]
            if weight != 0.0:
                for i in range(values.shape[0]):
                    out[i, kind] += weight * values[i, place]


@kernel
def _times(columns, weights):
    """``columns`` (samples, n) times ``weights`` (n,)."""
    total = np.zeros(columns.shape[0], np.float64)
    for i in range(total.size):
        for k in range(weights.size):
            total[i] += columns[i, k] * weights[k]
    return total


@kernel
def _bits_left(columns, wanted, weights, step):
    """About how many bits what ``columns`` times ``weights`` leave of ``wanted`` takes."""
    residual, room = np.empty(wanted.size, np.float64), np.empty(BUCKETS, np.int64)
    subtract(columns, wanted, weights, residual)
    bits = estimated_bits(residual, step, room)
    inverse, near = 2.0 / step, 0.0
    for value in residual:
        near += 0.5 * np.log2(1.0 + (value * inverse) ** 2)
    return 0.5 * (bits + near)


@kernel
def _normal(columns, first, residual, step):
    """Normal equations, large ``residual`` counting linearly, as in `least_squares.robust`."""
    count = columns.shape[1]
    trust, right = np.empty(first.size, np.float64), np.empty(count, np.float64)
    normal = np.empty((count, count), np.float64)
    scale = 2.0 * (median_size(residual) + 0.25 * step)
    for i in range(trust.size):
        trust[i] = 1.0 / max(1.0, abs(residual[i]) / scale)
    normal_equations(columns, first, trust, normal, right)
    trace = 0.0
    for k in range(count):
        trace += normal[k, k]
    for k in range(count):
        normal[k, k] += 1e-6 * trace / count + 2.5e-4 * step * step * first.size
    return normal, right
