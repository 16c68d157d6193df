"""Finding the weights of stencils, on samples: for the encoder alone, never part of the format.

Weights pay their way or stay away: where the default ones code a sample in no more bits, they stay.
The sums are kernels of our own, not BLAS: whose threads would spin between products as small as
these, and whose sums, and so our bytes, would depend on their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lossyzip._jit import helper, kernel
from lossyzip.decompose.buffer import Buffer
from lossyzip.decompose.fold import Fold, fold
from lossyzip.decompose.interpolation import PHASES, Multigrid, PhasePass, Taps
from lossyzip.decompose.regression import CLASSES, Raster, class_taps, row_classes, rows_of_class
from lossyzip.decompose.stencil import LARGEST_PARAMETER, SHIFTS, Weights, written_bits

_ITERATIONS = 3
_HALVINGS = 24
_FEW_SERVED = 0.1  # of all values: so few are not worth many points
_LARGEST_MAGNITUDE = 1e9
_BUCKETS = 8 * 27 + 16  # of magnitudes: an octave is cut into eight
_LEAST_SERVED = 16  # values a parameter: for fewer it does not pay


class MultigridFitter:
    """Fits the phases of a multigrid while a sample is swept; then `plan` says what was kept.

    Regressors are what the decoder will see. ``points`` is how many times the sample's values the field has;
    ``most`` how many values are enough to fit one phase. ``brief``: no level but the finest is fitted.
    ``sparse``: taps off the axes at distance three get no weight, which makes coding faster.
    """

    def __init__(
        self,
        plan: Multigrid,
        field: np.ndarray,
        step: float,
        points: float,
        most: int,
        brief: bool = False,
        sparse: bool = False,
    ) -> None:
        self._plan = plan
        self._field = field
        self._step = step
        self._points = points
        self._most = most
        self._brief = brief
        self._sparse = sparse
        self._rng = np.random.default_rng(0)
        self._weights: list[list[Weights | None]] = [[None] * len(PHASES) for _ in range(plan.levels)]

    def __call__(self, buffer: Buffer, here: PhasePass) -> Weights | None:
        lattice, taps, level, phase = here.lattice, here.taps, here.level, here.phase
        inherited = self._inherited(level, phase, taps)
        if self._brief and level > 1:
            return inherited
        total = lattice.nt * lattice.nz * lattice.ny * lattice.nx
        count = min(total, self._most)
        points = self._rng.integers(0, total, count) if count < total else np.arange(total)
        own = _near(taps) if self._sparse else np.arange(here.parameters + 1)  # groups that are fitted
        used = np.isin(taps.groups, own)
        groups = np.searchsorted(own, taps.groups[used])
        sizes = np.bincount(groups).astype(np.float64)
        sums, target = np.zeros((count, sizes.size)), np.empty(count)
        valid = _sum_groups(
            *(buffer.values, self._field, lattice, points, here.offsets[used], groups, sums, target)
        )
        if valid == 0:
            return inherited
        sums, target = sums[:valid], target[:valid]
        cubic = np.bincount(groups, taps.cubic[used]) / sizes
        known = cubic
        if inherited is not None:
            known = inherited.of_groups(np.bincount(taps.groups).astype(np.float64))[own]
        found = fit(sums, sizes, target, cubic, known, self._step, total * self._points)
        if found is not None:
            parameters = np.zeros(here.parameters + 1, int)
            parameters[own[1:]] = found.parameters
            found = Weights(found.precision, tuple(parameters[1:].tolist()))
        self._weights[level - 1][phase] = found
        return inherited if found is None else found

    def plan(self) -> Multigrid:
        """The plan with what was found."""
        found = [tuple(level) for level in self._weights]
        while found and not any(found[-1]):
            found.pop()
        return replace(self._plan, weights=tuple(found))

    def _inherited(self, level: int, phase: int, taps: Taps) -> Weights | None:
        for coarser in self._weights[level:]:
            weights = coarser[phase]
            if weights is not None:
                return weights if len(weights.parameters) == taps.groups.max() else None
        return None


def _near(taps: Taps) -> np.ndarray:
    """The groups of taps but for those off the axes at distance three, of which there are many."""
    distance, largest = np.abs(taps.offsets).sum(axis=1), np.abs(taps.offsets).max(axis=1)
    return np.unique(taps.groups[(distance < 3) | (largest != 2)])


def fit_raster(
    blocks: Sequence[np.ndarray], how: Fold, step: float, scale: float, most: int, common_alone: bool = False
) -> Raster:
    """Weights fitted on ``blocks`` of one shape; ``scale`` is how many times their values the field has.

    Regressors get uniform noise of one step: they will be reconstructed values. NaN is no value.
    ``common_alone``: only the class of most rows is fitted.
    """
    field = fold(blocks[0].shape, how)
    field_values = sum(block.size for block in blocks)
    rng = np.random.default_rng(0)
    weights: list[Weights | None] = [None] * CLASSES
    classes = row_classes(field)
    if common_alone:
        classes = [max(classes, key=lambda row_class: rows_of_class(field, row_class))]
    for row_class in classes:
        values_served = len(blocks) * rows_of_class(field, row_class) * field.x
        taps = class_taps(row_class, field.z > 1, field.y > 1)
        count = min(values_served, most if values_served > _FEW_SERVED * field_values else most // 4)
        place = np.stack(
            [_coordinates(rng, n, count, lack) for n, lack in zip(field, _lacking(row_class), strict=True)]
        )
        regressors = np.empty((count, len(taps.offsets)))
        target = np.empty(count)
        valid = 0
        for k, block in enumerate(blocks):
            chosen = place[:, count * k // len(blocks) : count * (k + 1) // len(blocks)]
            valid = _gather(block.reshape(field), chosen, taps.offsets, step, regressors, target, valid)
        regressors, target = regressors[:valid], target[:valid]
        each = np.ones(len(taps.offsets))
        if target.size:
            served = values_served * scale
            weights[row_class] = fit(regressors, each, target, taps.lorenzo, taps.lorenzo, step, served)
    return Raster(how, tuple(weights))


@kernel
def _gather(values, places, offsets, step, regressors, target, found):
    """The value at each of ``places`` (4, n), and those at ``offsets`` (K, 4) from it, or nearest to that,
    with the noise that quantization will add. They are put behind the first ``found``; those with a NaN are
    left out. Returns how many there are then."""
    nt, nz, ny, nx = values.shape
    noise = np.uint64(found)
    for i in range(places.shape[1]):
        t, z, y, x = places[0, i], places[1, i], places[2, i], places[3, i]
        row = regressors[found]
        total = np.float64(values[t, z, y, x])
        target[found] = total
        for k in range(offsets.shape[0]):
            at_t = min(max(t + offsets[k, 0], 0), nt - 1)
            at_z = min(max(z + offsets[k, 1], 0), nz - 1)
            at_y = min(max(y + offsets[k, 2], 0), ny - 1)
            at_x = min(max(x + offsets[k, 3], 0), nx - 1)
            # A linear congruential generator (Knuth, TAOCP 3.3.4): the same numbers wherever it runs.
            noise = noise * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
            uniform = np.float64(noise >> np.uint64(32)) / 4294967296.0 - 0.5
            row[k] = np.float64(values[at_t, at_z, at_y, at_x]) + uniform * step
            total += row[k]
        found += 1 if np.isfinite(total) else 0
    return found


def _lacking(row_class: int) -> tuple[int, int, int, int]:
    return row_class & 4, row_class & 2, row_class & 1, 0


def _coordinates(rng: np.random.Generator, length: int, count: int, lacking: int) -> np.ndarray:
    """Random coordinates along one axis: 0 where the class lacks a neighbour, beyond it otherwise."""
    return np.zeros(count, np.int64) if lacking else rng.integers(min(1, length - 1), length, count)


def fit(
    sums: np.ndarray,
    sizes: np.ndarray,
    target: np.ndarray,
    prior: np.ndarray,
    known: np.ndarray,
    step: float,
    points: float,
) -> Weights | None:
    """Weights that code ``target`` (samples,) in the fewest bits, or None if ``known`` ones do.

    ``sums`` (samples, groups) are the sums of the regressors that share a parameter, ``sizes`` (groups,)
    how many those are. ``prior`` (groups,) are weights that the fit is drawn to, ``known`` (groups,) those
    that serve at no cost; both sum to one over all regressors. ``points`` values will be served.
    """
    count = sizes.size
    if count < 2 or target.size < 3 * count or points < _LEAST_SERVED * count:
        return None
    free, wanted = np.empty((target.size, count - 1)), np.empty(target.size)
    largest = max(float(_relative_to_first(sums, sizes, target, 1.0, free, wanted)), step)
    if step < 1e-100 or largest > 1e100:  # squares would vanish or overflow
        unit = 0.5 / largest
        step = max(step * unit, 1e-100)
        _relative_to_first(sums, sizes, target, unit, free, wanted)
    weights = _robust(free, wanted, prior[1:], step)
    precision = _cheapest(free, wanted, weights, known[1:], step, points / target.size)
    if precision < 0:
        return None
    return Weights(precision, tuple(np.rint(weights * float(1 << SHIFTS[precision])).astype(int).tolist()))


@kernel
def _relative_to_first(sums, sizes, target, unit, free, wanted):
    """Fill ``free`` and ``wanted`` with what is left to fit where all weights sum to one; returns the largest
    magnitude of all that is in ``sums`` and ``target``, which are multiplied by ``unit``."""
    largest = 0.0
    for i in range(target.size):
        value, row, out = target[i] * unit, sums[i], free[i]
        first = row[0] * unit / sizes[0]
        largest = max(largest, max(abs(value), abs(row[0] * unit)))
        wanted[i] = value - first
        for k in range(1, sizes.size):
            largest = max(largest, abs(row[k] * unit))
            out[k - 1] = row[k] * unit - first * sizes[k]
    return largest


@kernel
def _cheapest(free, wanted, weights, known, step, scale):
    """The precision at which ``weights`` code ``wanted`` in the fewest bits; -1: the ``known`` ones do."""
    residual, counts = np.empty(wanted.size, np.float64), np.empty(_BUCKETS, np.int64)
    rounded, used = np.empty(weights.size, np.int64), np.empty(weights.size, np.float64)
    _subtract(free, wanted, known, residual)
    best, chosen = estimated_bits(residual, step, counts) * scale, -1
    for precision in range(len(SHIFTS)):
        unit = np.float64(np.int64(1) << np.int64(SHIFTS[precision]))
        fits = True
        for k in range(weights.size):
            value = np.rint(weights[k] * unit)
            fits = fits and abs(value) <= LARGEST_PARAMETER
            rounded[k] = np.int64(value) if abs(value) <= LARGEST_PARAMETER else np.int64(0)
            used[k] = value / unit
        if fits:
            _subtract(free, wanted, used, residual)
            bits = estimated_bits(residual, step, counts) * scale + written_bits(rounded)
            if bits < best:
                best, chosen = bits, precision
    return chosen


@kernel
def _robust(free, wanted, start, step):
    """Iteratively reweighted least squares around ``start``: large residuals count linearly."""
    count = start.size
    first, residual = np.empty(wanted.size, np.float64), np.empty(wanted.size, np.float64)
    trust, change = np.empty(wanted.size, np.float64), np.empty(count, np.float64)
    normal = np.empty((count, count), np.float64)
    _subtract(free, wanted, start, first)
    for i in range(first.size):
        residual[i] = first[i]
    for _ in range(_ITERATIONS):
        scale = 2.0 * (_median_size(residual) + 0.25 * step)
        for i in range(trust.size):
            trust[i] = 1.0 / max(1.0, abs(residual[i]) / scale)
        _normal_equations(free, first, trust, normal, change)
        trace = 0.0
        for k in range(count):
            trace += normal[k, k]
        for k in range(count):
            normal[k, k] += 1e-6 * trace / count + 2.5e-4 * step * step * wanted.size
        _solve(normal, change)
        _subtract(free, first, change, residual)
    for k in range(count):
        change[k] += start[k]
    return change


@helper
def _median_size(residual):
    """About the median of the magnitudes of ``residual`` (n,), by bisection."""
    low, high = 0.0, 0.0
    for value in residual:
        high = max(high, abs(value))
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        below = 0
        for value in residual:
            below += 1 if abs(value) < middle else 0
        if 2 * below < residual.size:
            low = middle
        else:
            high = middle
    return high


@helper
def _solve(normal, right):
    """Put the solution of ``normal`` x = ``right`` into ``right``, by Cholesky's decomposition in place.

    Zeros where the matrix is not positive definite.
    """
    n = right.size
    for k in range(n):
        for j in range(k):
            normal[k, k] -= normal[k, j] * normal[k, j]
        if not normal[k, k] > 0.0:
            right[:] = 0.0
            return
        normal[k, k] = np.sqrt(normal[k, k])
        for i in range(k + 1, n):
            for j in range(k):
                normal[i, k] -= normal[i, j] * normal[k, j]
            normal[i, k] /= normal[k, k]
    for k in range(n):
        for j in range(k):
            right[k] -= normal[k, j] * right[j]
        right[k] /= normal[k, k]
    for k in range(n - 1, -1, -1):
        for j in range(k + 1, n):
            right[k] -= normal[j, k] * right[j]
        right[k] /= normal[k, k]


@kernel
def _sum_groups(values, field, lattice, points, offsets, groups, sums, target):
    """The values of ``field`` at ``points`` (numbers in C order); the sums of each group of taps around them.

    ``sums`` (points, groups) must be zero. Points without a value are left out; returns how many are left.
    """
    found = 0
    for i in range(points.size):
        rest, x = divmod(points[i], lattice.nx)
        rest, y = divmod(rest, lattice.ny)
        t, z = divmod(rest, lattice.nz)
        value = field[lattice.origin + t * lattice.ft + z * lattice.fz + y * lattice.fy + x * lattice.fx]
        if not np.isfinite(value):
            continue
        place = lattice.base + t * lattice.st + z * lattice.sz + y * lattice.sy + x
        target[found] = value
        for k in range(offsets.size):
            sums[found, groups[k]] += np.float64(values[place + offsets[k]])
        found += 1
    return found


@helper
def _subtract(free, wanted, weights, residual):
    """Fill ``residual``: ``wanted`` less ``free`` (samples, parameters) times ``weights``."""
    for i in range(wanted.size):
        left = wanted[i]
        for k in range(weights.size):
            left -= free[i, k] * weights[k]
        residual[i] = left


@helper
def _normal_equations(free, wanted, trust, normal, right):
    """Fill the matrix (its lower half) and the right side of the least squares of ``free`` times weights to
    ``wanted``."""
    count = free.shape[1]
    normal[:] = 0.0
    right[:] = 0.0
    whole = wanted.size & -4
    for i in range(0, whole, 4):  # four samples at a time: the matrix is read and written less often
        a, b, c, d = free[i], free[i + 1], free[i + 2], free[i + 3]
        for k in range(count):
            ak, bk, ck, dk = (
                a[k] * trust[i],
                b[k] * trust[i + 1],
                c[k] * trust[i + 2],
                d[k] * trust[i + 3],
            )
            line = normal[k, : k + 1]
            for other in range(k + 1):
                line[other] += (ak * a[other] + bk * b[other]) + (ck * c[other] + dk * d[other])
            right[k] += (ak * wanted[i] + bk * wanted[i + 1]) + (ck * wanted[i + 2] + dk * wanted[i + 3])
    for i in range(whole, wanted.size):
        row = free[i]
        for k in range(count):
            weighted = row[k] * trust[i]
            for other in range(k + 1):
                normal[k, other] += weighted * row[other]
            right[k] += weighted * wanted[i]


@helper
def estimated_bits(residual, step, counts):
    """About how many bits it takes to code ``residual`` (n,) in steps of ``step``, without contexts.

    ``counts`` (_BUCKETS,) is room for a histogram.
    """
    counts[:] = np.int64(0)
    bits = 0.0
    for value in residual:
        magnitude = np.int64(min(np.rint(abs(value) / step), _LARGEST_MAGNITUDE))
        octave = np.int64(0)
        while magnitude >> octave > 15:
            octave += 1
        counts[8 * octave + (magnitude >> octave)] += 1
        bits += octave + (1.0 if magnitude > 0 else 0.0)
    for count in counts:
        if count > 0:
            bits -= count * np.log2(count / residual.size)
    return bits
