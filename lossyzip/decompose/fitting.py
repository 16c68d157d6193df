"""Finding the weights of stencils, on samples: for the encoder alone, never part of the format.

Weights pay their way or stay away: where the default ones code a sample in no more bits, they stay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from lossyzip._jit import kernel
from lossyzip.decompose.buffer import Buffer
from lossyzip.decompose.fold import Fold, Shape4, fold, walked
from lossyzip.decompose.guide_fitting import Around, Found, Samples, fit_alone, fit_beside
from lossyzip.decompose.guide_taps import GuideWeights, Table, added, pairs
from lossyzip.decompose.interpolation import PHASES, Groups, Multigrid, PhasePass, Taps
from lossyzip.decompose.least_squares import fitted, worth_fitting
from lossyzip.decompose.lifting import transform
from lossyzip.decompose.regression import (
    CLASSES,
    Raster,
    class_taps,
    guide_table,
    row_classes,
    rows_of_class,
)
from lossyzip.decompose.stencil import Weights
from lossyzip.decompose.wavelet import Wavelet, bands, splits, true_coefficients

T = TypeVar("T")
_COMMON = 1 / 8  # of the rows: a class that has as many is a common one
_CLEARLY = 0.985  # times the bits: samples flatter what has more weights, which take time, too
_MANY_SERVED = 1 << 20  # values, from which on it matters how long it takes to fit
_FEW_SERVED = 0.1  # of all values: so few are not worth many points
_LEVELS_OF_SPARSE = 3  # levels that are fitted where it matters how long that takes: beyond it are 0.2 %
_MOST_BESIDE = 10_000  # samples, where there are guides: enough for a hundred weights


class MultigridFitter:
    """Fits the phases of a multigrid while a sample is swept; then `plan` says what was kept.

    Regressors are what the decoder will see. ``points`` is how many times the sample's values the field has;
    ``most`` how many values are enough to fit one phase. ``brief``: no level but the finest is fitted.
    ``sparse``: taps off the axes at distance three get no weight, which makes coding faster, and coarse
    levels little time.
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
        self._sparse = sparse
        self.levels = 1 if brief else min(plan.levels, _LEVELS_OF_SPARSE) if sparse else plan.levels
        self._rng = np.random.default_rng(0)
        self._weights: list[list[Weights | None]] = [[None] * len(PHASES) for _ in range(plan.levels)]
        self._beside: list[list[GuideWeights | None]] = [[None] * len(PHASES) for _ in range(plan.levels)]

    def __call__(self, buffer: Buffer, here: PhasePass) -> tuple[Weights | None, GuideWeights | None]:
        lattice, taps, level, phase = here.lattice, here.taps, here.level, here.phase
        inherited = self._inherited(level, phase, taps)
        beside = next(
            (coarser[phase] for coarser in self._beside[level:] if coarser[phase] is not None), None
        )
        total = lattice.nt * lattice.nz * lattice.ny * lattice.nx
        most = self._most if level == 1 or not self._sparse else self._most // 2
        count = min(total, min(most, _MOST_BESIDE) if buffer.beside else most)
        points = np.sort(self._rng.integers(0, total, count)) if count < total else np.arange(total)
        groups = taps.near_groups if self._sparse else taps.all_groups
        known = groups.cubic
        if inherited is not None:
            known = inherited.of_groups(taps.sizes)[groups.numbers]
        served = total * self._points
        if buffer.beside:
            found, taken = self._fitted_beside(buffer, here, points, groups, known, beside, served)
            self._beside[level - 1][phase] = taken
            beside = beside if taken is None else taken
        else:
            found = self._fitted(buffer, here, points, groups, known, served)
        if found is not None and groups.numbers.size <= here.parameters:
            parameters = np.zeros(here.parameters + 1, int)
            parameters[groups.numbers[1:]] = found.parameters
            found = Weights(found.precision, tuple(parameters[1:].tolist()))
        self._weights[level - 1][phase] = found
        return inherited if found is None else found, beside

    def _fitted(
        self,
        buffer: Buffer,
        here: PhasePass,
        points: np.ndarray,
        groups: Groups,
        known: np.ndarray,
        served: float,
    ) -> Weights | None:
        if not worth_fitting(groups.sizes.size, points.size, served):
            return None
        parameters = np.empty(groups.sizes.size - 1, np.int64)
        precision, _ = _fit_groups(
            *(buffer.values, self._field, here.lattice, points, here.offsets[groups.used], groups.group),
            *(groups.sizes, groups.cubic, known, self._step, served, parameters),
        )
        return Weights(precision, tuple(parameters.tolist())) if precision >= 0 else None

    def _fitted_beside(
        self,
        buffer: Buffer,
        here: PhasePass,
        points: np.ndarray,
        groups: Groups,
        known: np.ndarray,
        beside: GuideWeights | None,
        served: float,
    ) -> tuple[Weights | None, GuideWeights | None]:
        width, guides = groups.sizes.size, len(buffer.beside)
        places, kinds = _places_of(here.guide_table)
        nearby = here.beside(places)
        offsets, columns = [here.offsets[groups.used]], [groups.group]
        for guide in range(guides):
            offsets.append(nearby + guide * here.guide_size)
            columns.append(width + guide * len(places) + np.arange(len(places)))
        sums, target = np.zeros((points.size, width + guides * len(places))), np.empty(points.size)
        together = np.concatenate(offsets)
        valid = _sum_groups(
            *(buffer.values, self._field, here.lattice, points),
            *(together, np.concatenate(columns), sums, target),
        )
        if valid == 0:
            return None, None
        near = sums[:valid, width:].reshape(valid, guides, len(places))
        around = Around(np.ascontiguousarray(near.transpose(1, 0, 2)), kinds, kinds[1 + groups.numbers])
        sums = np.ascontiguousarray(sums[:valid, :width])
        samples = Samples(sums, groups.sizes, target[:valid], groups.cubic, known)
        found = fit_beside(samples, around, beside, self._step, served)
        return found.weights, found.beside

    def plan(self) -> Multigrid:
        """The plan with what was found."""
        return replace(self._plan, weights=_without_end(self._weights), beside=_without_end(self._beside))

    def _inherited(self, level: int, phase: int, taps: Taps) -> Weights | None:
        for coarser in self._weights[level:]:
            weights = coarser[phase]
            if weights is not None:
                return weights if len(weights.parameters) == taps.groups.max() else None
        return None


def _without_end(levels: list[list[T | None]]) -> tuple[tuple[T | None, ...], ...]:
    """``levels`` up to the last that has anything."""
    last = max((k for k, level in enumerate(levels) if any(level)), default=-1)
    return tuple(map(tuple, levels[: last + 1]))


def fit_raster(
    blocks: Sequence[np.ndarray],
    how: Fold,
    step: float,
    scale: float,
    most: int,
    common_alone: bool = False,
    guides: Sequence[np.ndarray] = (),
) -> Raster:
    """Weights fitted on ``blocks`` of one shape; ``scale`` is how many times their values the field has.

    Regressors get uniform noise of one step: they will be reconstructed values. NaN is no value.
    ``common_alone``: only classes of many rows are fitted. ``guides`` (guides, values): of each block, if
    there are any; they are what a decoder has, and get no noise.
    """
    field = fold(blocks[0].shape, how)
    field_values = sum(block.size for block in blocks)
    rng = np.random.default_rng(0)
    weights: list[Weights | None] = [None] * CLASSES
    beside: list[GuideWeights | None] = [None] * CLASSES
    most = min(most, _MOST_BESIDE) if guides else most
    guides = [walked(own.reshape(-1), blocks[0].shape, how).reshape(own.shape) for own in guides]
    classes = row_classes(field)
    if common_alone:
        rows = {row_class: rows_of_class(field, row_class) for row_class in classes}
        classes = [row_class for row_class in classes if rows[row_class] >= _COMMON * sum(rows.values())]
    together = walked(np.stack(blocks).reshape(-1), blocks[0].shape, how).reshape(-1, *field)
    for row_class in classes:
        values_served = len(blocks) * rows_of_class(field, row_class) * field.x
        count = min(values_served, most if values_served > _FEW_SERVED * field_values else most // 4)
        places = np.stack(
            [_coordinates(rng, n, count, lack) for n, lack in zip(field, _lacking(row_class), strict=True)]
        )
        served = values_served * scale
        if guides:
            found = _fit_taps_beside(together, guides, places, row_class, step, served)
            weights[row_class], beside[row_class] = found.weights, found.beside
        else:
            weights[row_class] = _fit_class(together, places, row_class, step, served)
    return Raster(how, tuple(weights), False, len(guides[0]) if guides else 0, tuple(beside))


def _fit_class(
    blocks: np.ndarray, places: np.ndarray, row_class: int, step: float, served: float
) -> Weights | None:
    """Weights of a class of rows: of the usual taps, or of more where these are clearly better."""
    best, most = None, math.inf
    for taps in class_taps(row_class, Shape4(*blocks.shape[1:])):
        if not worth_fitting(len(taps.offsets), places.shape[1], served):
            break
        parameters = np.empty(len(taps.offsets) - 1, np.int64)
        precision, bits = _fit_taps(blocks, places, taps.offsets, taps.lorenzo, step, served, parameters)
        if bits < most:
            best = Weights(precision, tuple(parameters.tolist())) if precision >= 0 else best
            most = _CLEARLY * bits
        elif served >= _MANY_SERVED:
            break
    return best


def _fit_taps_beside(
    blocks: np.ndarray,
    guides: Sequence[np.ndarray],
    places: np.ndarray,
    row_class: int,
    step: float,
    served: float,
) -> Found:
    """Weights of a class of rows, and those of taps into ``guides``, fitted at ``places`` in ``blocks``."""
    field, count = Shape4(*blocks.shape[1:]), places.shape[1]
    taps, *_ = class_taps(row_class, field)
    regressors, target = np.empty((count, len(taps.offsets))), np.empty(count)
    nearby, kinds = _places_of(guide_table(row_class, field))
    near = np.empty((len(guides[0]), count, len(nearby)))
    valid = _gather(blocks, places, taps.offsets, step, regressors, target)
    for guide, values in enumerate(near):
        of_guide = np.stack([own[guide] for own in guides]).reshape(blocks.shape)
        _gather_beside(blocks, of_guide, places, nearby, taps.offsets, values)
    if not valid:
        return Found(0.0, None, None)
    each = np.ones(len(taps.offsets))
    samples = Samples(regressors[:valid], each, target[:valid], taps.lorenzo, taps.lorenzo)
    around = Around(np.ascontiguousarray(near[:, :valid]), kinds, kinds[1 : 1 + each.size])
    return fit_beside(samples, around, None, step, served)


def _places_of(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """(all places (P, 4) of the kinds of a table, the sign (kinds, P) of each in each kind)"""
    places = sorted({place for kind in table for place, _ in kind})
    signs = np.zeros((len(table), len(places)))
    for row, kind in zip(signs, table, strict=True):
        for place, sign in kind:
            row[places.index(place)] = sign
    return np.array(places, np.int64).reshape(-1, 4), signs


def fit_wavelet(
    coded: np.ndarray, field: Shape4, guides: np.ndarray, plan: Wavelet, eps: float, scale: float
) -> Wavelet:
    """``plan`` with taps into ``guides`` (guides, values) that predict coefficients of ``coded``, both as
    they are `walked`; ``scale`` is how many times its values the field has."""
    step, folded = eps * plan.step / 16.0, guides.reshape(-1, *field)
    wanted = true_coefficients(coded, field).reshape(field).astype(np.float64)
    columns = []
    for guide in folded:
        for kind in pairs((field.z == 1, field.y == 1, field.x == 1)):
            taps = [(0, place) for place, _ in kind], np.array([float(sign) for _, sign in kind])
            columns.append(added(guide[None], [taps]))
            transform(columns[-1], splits(field), inverse=False)
    rng = np.random.default_rng(0)
    entries: list[GuideWeights | None] = []
    for group in range(1, len(plan.beside) + 1):
        boxes = [band.box for band in bands(field) if band.group == group]
        if not boxes:
            entries.append(None)
            continue
        own = np.concatenate([wanted[:, *box].reshape(-1) for box in boxes])
        taken = rng.integers(0, own.size, _MOST_BESIDE) if own.size > _MOST_BESIDE else np.arange(own.size)
        beside = np.stack(
            [np.concatenate([column[:, *box].reshape(-1) for box in boxes])[taken] for column in columns],
            axis=1,
        ).astype(np.float64)
        entries.append(fit_alone(own[taken], beside, len(guides), step, own.size * scale))
    return replace(plan, guides=len(guides), beside=tuple(entries))


@kernel
def _gather_beside(blocks, guides, places, near, offsets, out):
    """Fill ``out`` (n, K) with the values of ``guides``, shaped as ``blocks``, at ``near`` (K, 4) of each of
    those ``places`` that `_gather` keeps."""
    nt, nz, ny, nx = blocks.shape[1:]
    found = 0
    for i in range(places.shape[1]):
        block = i * blocks.shape[0] // places.shape[1]
        values, guide = blocks[block], guides[block]
        t, z, y, x = places[0, i], places[1, i], places[2, i], places[3, i]
        total = np.float64(values[t, z, y, x])
        for k in range(offsets.shape[0]):
            at_t = min(max(t + offsets[k, 0], 0), nt - 1)
            at_z = min(max(z + offsets[k, 1], 0), nz - 1)
            at_y = min(max(y + offsets[k, 2], 0), ny - 1)
            at_x = min(max(x + offsets[k, 3], 0), nx - 1)
            total += np.float64(values[at_t, at_z, at_y, at_x])
        if np.isfinite(total):
            for k in range(near.shape[0]):
                at_t = min(max(t + near[k, 0], 0), nt - 1)
                at_z = min(max(z + near[k, 1], 0), nz - 1)
                at_y = min(max(y + near[k, 2], 0), ny - 1)
                at_x = min(max(x + near[k, 3], 0), nx - 1)
                out[found, k] = np.float64(guide[at_t, at_z, at_y, at_x])
            found += 1


@kernel
def _fit_taps(blocks, places, offsets, prior, step, served, parameters):
    """As `least_squares.fitted`, of what `_gather` gives; -1 and infinity where that is too little."""
    regressors = np.empty((places.shape[1], offsets.shape[0]), np.float64)
    target = np.empty(places.shape[1], np.float64)
    valid = _gather(blocks, places, offsets, step, regressors, target)
    if valid < 3 * offsets.shape[0]:
        return -1, np.inf
    each = np.ones(offsets.shape[0], np.float64)
    return fitted(regressors[:valid], each, target[:valid], prior, prior, step, served, parameters)


@kernel
def _gather(blocks, places, offsets, step, regressors, target):
    """The value at each of ``places`` (4, n), and those at ``offsets`` (K, 4) from it, or nearest to that,
    with the noise that quantization will add; an equal share of the places is in each of ``blocks`` (B, t, z,
    y, x). Those with a NaN are left out. Returns how many there are."""
    nt, nz, ny, nx = blocks.shape[1:]
    found = 0
    noise = np.uint64(0)
    for i in range(places.shape[1]):
        values = blocks[i * blocks.shape[0] // places.shape[1]]
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


@kernel
def _fit_groups(
    values, field, lattice, points, offsets, groups, sizes, prior, known, step, served, parameters
):
    """As `least_squares.fitted`, of the sums that `_sum_groups` gives."""
    sums, target = np.zeros((points.size, sizes.size), np.float64), np.empty(points.size, np.float64)
    valid = _sum_groups(values, field, lattice, points, offsets, groups, sums, target)
    if valid < 3 * sizes.size:
        return -1, np.inf
    return fitted(sums[:valid], sizes, target[:valid], prior, known, step, served, parameters)


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
