"""Finding the weights of stencils, on samples: for the encoder alone, never part of the format.

Weights pay their way or stay away: where the default ones code a sample in no more bits, they stay.
The sums are kernels of our own, not BLAS: whose threads would spin between products as small as
these, and whose sums, and so our bytes, would depend on their number.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lossyzip._jit import kernel
from lossyzip.decompose.buffer import Buffer
from lossyzip.decompose.fold import Fold, fold
from lossyzip.decompose.interpolation import PHASES, Multigrid, Taps
from lossyzip.decompose.regression import CLASSES, Raster, class_taps, row_classes, rows_of_class
from lossyzip.decompose.rows import Lattice
from lossyzip.decompose.stencil import SHIFTS, Weights

_ITERATIONS = 4
_LARGEST_PARAMETER = 1 << 20
_LEAST_SERVED = 16  # values a parameter: for fewer it does not pay


class MultigridFitter:
    """Fits the phases of a multigrid while a sample is swept; then `plan` says what was kept.

    Regressors are what the decoder will see. ``points`` is how many times the sample's values the field has;
    ``most`` how many values are enough to fit one phase.
    """

    def __init__(self, plan: Multigrid, field: np.ndarray, step: float, points: float, most: int) -> None:
        self._plan = plan
        self._field = field
        self._step = step
        self._points = points
        self._most = most
        self._rng = np.random.default_rng(0)
        self._weights: list[list[Weights | None]] = [[None] * len(PHASES) for _ in range(plan.levels)]

    def __call__(
        self, buffer: Buffer, lattice: Lattice, level: int, phase: int, taps: Taps, offsets: np.ndarray
    ) -> Weights | None:
        inherited = self._inherited(level, phase, taps)
        total = lattice.nt * lattice.nz * lattice.ny * lattice.nx
        count = min(total, self._most)
        point = self._rng.integers(0, total, count) if count < total else np.arange(total)
        t, z, y, x = np.unravel_index(point, lattice[:4])
        place = lattice.base + t * lattice.st + z * lattice.sz + y * lattice.sy + x
        target = self._field[
            lattice.origin + t * lattice.ft + z * lattice.fz + y * lattice.fy + x * lattice.fx
        ]
        valid = np.isfinite(target)
        target = target[valid].astype(np.float64)
        if not target.size:
            return inherited
        sizes = np.bincount(taps.groups).astype(np.float64)
        sums = np.zeros((target.size, sizes.size))
        _sum_groups(buffer.values, place[valid], offsets, taps.groups, sums)
        cubic = np.bincount(taps.groups, taps.cubic) / sizes
        known = cubic if inherited is None else inherited.of_groups(sizes)
        found = fit(sums, sizes, target, cubic, known, self._step, total * self._points)
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


def fit_raster(sample: np.ndarray, how: Fold, step: float, points: float, most: int) -> Raster:
    """Weights fitted on ``sample``; ``points`` is how many times its values the field has.

    Regressors get uniform noise of one step: they will be reconstructed values. NaN is no value.
    """
    field = fold(sample.shape, how)
    values = sample.reshape(field)
    rng = np.random.default_rng(0)
    weights: list[Weights | None] = [None] * CLASSES
    for row_class in row_classes(field):
        rows = rows_of_class(field, row_class)
        taps = class_taps(row_class, field.z > 1, field.y > 1)
        count = min(rows * field.x, most)
        place = np.stack(
            [_coordinates(rng, n, count, lack) for n, lack in zip(field, _lacking(row_class), strict=True)]
        )
        target = values[tuple(place)].astype(np.float64)
        regressors = np.empty((count, len(taps.offsets)))
        for k, offset in enumerate(taps.offsets):
            at = [np.clip(p + o, 0, n - 1) for p, o, n in zip(place, offset, field, strict=True)]
            regressors[:, k] = values[tuple(at)]
        valid = np.isfinite(target) & np.isfinite(regressors).all(axis=1)
        regressors, target = regressors[valid], target[valid]
        regressors += rng.uniform(-0.5 * step, 0.5 * step, regressors.shape)
        each = np.ones(len(taps.offsets))
        if target.size:
            served = rows * field.x * points
            weights[row_class] = fit(regressors, each, target, taps.lorenzo, taps.lorenzo, step, served)
    return Raster(how, tuple(weights))


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
    largest = max(float(np.abs(sums).max()), float(np.abs(target).max()), step)
    if step < 1e-100 or largest > 1e100:  # squares would vanish or overflow
        unit = 0.5 / largest
        sums, target, step = sums * unit, target * unit, max(step * unit, 1e-100)
    first = sums[:, 0] / sizes[0]
    free = sums[:, 1:] - first[:, None] * sizes[1:]
    wanted = target - first
    weights = _robust(free, wanted, prior[1:], step)
    scale = points / target.size
    best = estimated_bits(_residual(free, wanted, known[1:]), step) * scale
    chosen = None
    for precision, shift in enumerate(SHIFTS):
        candidate = Weights(precision, tuple(int(w) for w in np.rint(weights * float(1 << shift))))
        if max(map(abs, candidate.parameters)) > _LARGEST_PARAMETER:
            continue
        used = np.array(candidate.parameters) / float(1 << shift)
        bits = estimated_bits(_residual(free, wanted, used), step) * scale + candidate.size()
        if bits < best:
            best, chosen = bits, candidate
    return chosen


def _robust(free: np.ndarray, wanted: np.ndarray, start: np.ndarray, step: float) -> np.ndarray:
    """Iteratively reweighted least squares around ``start``: large residuals count linearly."""
    first = residual = _residual(free, wanted, start)
    change = np.zeros_like(start)
    for _ in range(_ITERATIONS):
        scale = 2.0 * (np.median(np.abs(residual)) + 0.25 * step)
        trust = 1.0 / np.maximum(1.0, np.abs(residual) / scale)
        normal, right = _normal_equations(free, first, trust)
        ridge = 1e-6 * np.trace(normal) / start.size + 2.5e-4 * step * step * wanted.size
        normal[np.diag_indices_from(normal)] += ridge
        change = np.linalg.solve(normal, right)
        residual = _residual(free, first, change)
    return start + change


@kernel
def _sum_groups(values, places, offsets, groups, sums):
    """Add the taps of each group around each place; ``sums`` (places, groups) must be zero."""
    for i in range(places.size):
        for k in range(offsets.size):
            sums[i, groups[k]] += np.float64(values[places[i] + offsets[k]])


@kernel
def _residual(free, wanted, weights):
    """``wanted`` less ``free`` (samples, parameters) times ``weights``."""
    residual = wanted.copy()
    for i in range(wanted.size):
        for k in range(weights.size):
            residual[i] -= free[i, k] * weights[k]
    return residual


@kernel
def _normal_equations(free, wanted, trust):
    """Matrix and right side of the least squares of ``free`` times weights against ``wanted``."""
    count = free.shape[1]
    normal = np.zeros((count, count))
    right = np.zeros(count)
    row = np.empty(count)
    for i in range(wanted.size):
        for k in range(count):
            row[k] = free[i, k] * trust[i]
        for k in range(count):
            for other in range(count):
                normal[k, other] += row[k] * free[i, other]
            right[k] += row[k] * wanted[i]
    return normal, right


def estimated_bits(residual: np.ndarray, step: float) -> float:
    """About how many bits it takes to code ``residual`` in steps of ``step``, without contexts."""
    magnitude = np.minimum(np.rint(np.abs(residual) / step), 1e9)
    octave = np.floor(np.log2(np.maximum(magnitude, 1.0)))
    extra = np.maximum(octave - 3.0, 0.0)
    bucket = np.where(magnitude < 16, magnitude, octave * 8.0 + np.floor(magnitude / np.exp2(extra)))
    counts = np.bincount(bucket.astype(np.int64)).astype(np.float64)
    counts = counts[counts > 0]
    entropy = counts.sum() * np.log2(counts.sum()) - (counts * np.log2(counts)).sum()
    return float(entropy + extra.sum() + np.count_nonzero(magnitude))
