"""The lattice alone: where its points are, and that a value which is on it stays there.

What all families have in common is tested in test_format.py, test_kernels.py and test_damage.py.
"""

from __future__ import annotations

import math
from fractions import Fraction

import exact
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from plans import frame_with
from reference.lattice import step_of
from reference.quantizer import Quantizer as ReferenceQuantizer

import lossyzip as lz
from lossyzip import field
from lossyzip.blocks import Block
from lossyzip.candidates import best_lattice
from lossyzip.decompose import families, lattice, lattice_contexts, lorenzo, multiples
from lossyzip.decompose.fold import Fold, fold
from lossyzip.decompose.lattice import Lattice
from lossyzip.judge import Judge
from lossyzip.lattice_search import sizes_along_axes

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
DTYPES = st.sampled_from([np.dtype("<f4"), np.dtype("<f8")])
SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)
FILL = -9999.0


@st.composite
def fields(draw, exponents: tuple[int, int] = (-120, 110)) -> tuple[np.ndarray, float]:
    """(values, eps): near 0, ulps, the middle between two points; NaN, -0.0, subnormals, 1e38, fills."""
    dtype, shape = draw(DTYPES), draw(SHAPES)
    eps = math.ldexp(draw(st.sampled_from([0.5, 0.75, 0.51, 0.999])), draw(st.integers(*exponents)))
    eps = float(dtype.type(eps)) if draw(st.booleans()) else eps * (1 + 1e-9)
    largest = draw(st.sampled_from([3, 100, 2**14, 2**21, 2**25]))
    multiples = draw(hnp.arrays(np.int64, shape, elements=st.integers(-largest, largest)))
    offset = draw(hnp.arrays(np.float64, shape, elements=st.floats(-1.0, 1.0), fill=st.just(0.5)))
    with np.errstate(all="ignore"):
        values = ((2.0 * multiples + offset) * eps).astype(dtype)
    rare = [np.nan, np.inf, -0.0, 1e38, -3e36, 1e-42, FILL, float(np.finfo(dtype).max)]
    special = draw(hnp.arrays(np.int8, shape, elements=st.integers(-1, len(rare) - 1), fill=st.just(-1)))
    for k, value in enumerate(rare):
        values[special == k] = value
    return values, eps


def again(array: np.ndarray, eps: float, **options: object) -> np.ndarray:
    options = {"idempotent": True, "threads": 1, "fill_value": FILL} | options
    return lz.decompress(lz.compress(array, lz.absolute(eps), **options), threads=1)


def assert_same(a: np.ndarray, b: np.ndarray) -> None:
    """Bit for bit, whatever the byte order."""
    a, b = (np.ascontiguousarray(x, x.dtype.newbyteorder("=")) for x in (a, b))
    assert a.dtype == b.dtype
    assert a.tobytes() == b.tobytes()


@given(fields())
@settings(max_examples=300)
def test_what_came_back_once_comes_back_for_ever(case):
    values, eps = case
    first = again(values, eps)
    assert not exact.violations(values, first, eps, (FILL,)).size
    decoded = first
    for _ in range(3):
        decoded = again(decoded, eps)
        assert_same(decoded, first)
    assert_same(again(first, eps, effort="fast"), again(first, eps))


@given(fields(), st.data())
@settings(max_examples=200)
def test_a_part_comes_back_as_in_the_whole(case, data):
    """Wherever its tiles begin: also where the whole is stored lossless, and the part is not."""
    values, eps = case
    first = again(values, eps)
    where = tuple(
        slice(a, data.draw(st.integers(a + 1, n)))
        for n in first.shape
        for a in [data.draw(st.integers(0, n - 1))]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(field, "TILE_VALUES", data.draw(st.sampled_from([4, 30, 200])))
        assert_same(again(first[where], eps), first[where])


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4"])
@pytest.mark.parametrize("rel", [1e-1, 1e-3, 1e-6])
def test_sixteen_generations_in_shifting_tiles(dtype, rel, rng, monkeypatch):
    array = np.cumsum(rng.standard_normal((24, 30, 35)), axis=2).astype(dtype)
    array[3, 4, 5:9], array[7], array[8, 0, ::3] = np.nan, FILL, -0.0
    array[9, 9, 9] = 1e6
    eps = rel * 20.0
    first = decoded = again(array, eps)
    for generation in range(16):
        monkeypatch.setattr(field, "TILE_VALUES", 700 + 911 * (generation % 5))
        cut = generation % 3
        parts = [again(decoded[: 5 + cut], eps), again(decoded[5 + cut :], eps)]
        decoded = np.concatenate(parts).astype(dtype)
        assert_same(decoded, first)
    assert not exact.violations(array, decoded, eps, (FILL,)).size


def test_rewriting_a_part_never_adds_error(rng):
    """Also where the new part widens the span of the values, to which reconstructions are clamped."""
    array = rng.random((20, 30), np.float32)
    eps = 0.03
    decoded = again(array, eps)
    for k in range(8):
        array[k, k:] *= 1.5
        decoded[k, k:] = array[k, k:]
        decoded = again(decoded, eps)
        assert not exact.violations(array, decoded, eps, (FILL,)).size


def test_integers_and_half_a_unit():
    """A step of exactly 2 eps, where that has few digits: integers stay what they are."""
    array = np.arange(-500.0, 700.0, dtype=np.float32).reshape(30, 40)
    assert_same(again(array, 0.5), array)


def rule_of(dtype: np.dtype, eps: float, low: float, high: float) -> families.Quantizer:
    rule = families.quantizer(dtype, eps, low, high)
    assume(rule is not None)
    return rule


@given(fields((-100, 90)))
@settings(max_examples=300)
def test_points_are_the_nearest_multiples(case):
    """By fractions: at most a rounding beside the nearest, and themselves where no point is within eps."""
    values, eps = case
    flat = values.reshape(-1)
    flat = flat[np.abs(flat) <= field.largest_coded(values.dtype)] + values.dtype.type(0)
    assume(flat.size)
    rule = rule_of(values.dtype, eps, float(flat.min()), float(flat.max()))
    spacing = multiples.spacing(rule)
    assert spacing.step == step_of(ReferenceQuantizer(values.dtype, eps, flat.min(), flat.max()))
    assert (
        Fraction(float(rule.eps)) * 2 * Fraction(255, 256)
        < Fraction(float(spacing.step))
        <= 2 * Fraction(eps)
    )
    points = multiples.snapped(flat, flat, rule)
    q = np.empty(flat.size, np.int32)
    assert multiples.quantize(flat, spacing, q) == (q == -(2**31)).sum()
    for value, point, multiple in zip(flat.tolist(), points.tolist(), q.tolist(), strict=True):
        assert abs(Fraction(value) - Fraction(point)) <= Fraction(eps)
        nearest = Fraction(value) / Fraction(float(spacing.step))
        if multiple == -(2**31):
            assert point == value
            assert abs(nearest) > 2**14
        else:
            assert abs(nearest - multiple) <= Fraction(1, 2) + Fraction(1, 2**20)


@given(fields((-60, 60)), st.builds(Lattice, st.integers(0, 15)))
@settings(max_examples=200)
def test_every_plan(case, plan):
    """NaN, outliers, and what is left of them in the differences of their neighbours."""
    values, eps = case
    coded = np.where(np.abs(values) <= field.largest_coded(values.dtype), values, np.nan).astype(values.dtype)
    coded = coded.reshape(-1) + values.dtype.type(0)
    valid = coded[~np.isnan(coded)]
    assume(valid.size)
    rule = rule_of(values.dtype, eps, float(valid.min()), float(valid.max()))
    codes = families.decompose(coded, values.shape, plan, rule)
    assume(codes.outliers is not None)
    decoded = families.recompose(codes.to_bytes(), codes.outliers, values.shape, plan, rule)
    expected = multiples.snapped(coded, coded, rule)
    at = ~np.isnan(coded)
    assert_same(decoded.reshape(-1)[at], expected[at])


def test_values_too_large_for_the_steps_are_stored_exactly(rng):
    array = 1e6 + rng.random((40, 50), np.float32)
    assert_same(again(array, 1e-4), array)
    blob = lz.compress(array, lz.absolute(0.02), idempotent=True)
    assert lz.inspect(blob).families == ("lattice",)


def test_fast_is_the_lattice_where_it_reaches(rng):
    wave = np.cumsum(rng.standard_normal((20, 40, 50)), axis=2)
    assert lz.inspect(lz.compress(wave, lz.relative(1e-3), effort="fast")).families == ("lattice",)
    fine = lz.compress(wave, lz.relative(1e-9), effort="fast")
    assert lz.inspect(fine).families == ("raster",)
    assert len(fine) < wave.nbytes / 1.5


def test_eps_below_all_normal_numbers_is_lossless():
    array = np.array([1e-40, -1e-41, 3e-39, 0.0], np.float32)
    assert_same(again(array, 1e-41), array)


def test_threads_do_not_change_the_bytes(rng, monkeypatch):
    monkeypatch.setattr(field, "TILE_VALUES", 5000)
    array = np.cumsum(rng.standard_normal((20, 40, 50)), axis=2).astype(np.float32)
    array[:, 5, 5] = np.nan
    blobs = {lz.compress(array, lz.relative(1e-4), effort="fast", threads=threads) for threads in (1, 2)}
    assert len(blobs) == 1


@pytest.mark.parametrize("axes", [0, 1, 3, 15])
def test_streams_with_many_zeros_and_eight_states(axes, rng, monkeypatch):
    """Rounds of zeros are skipped as vectors."""
    array = np.zeros((16, 64, 300), np.float32)
    array[2:9, 10:12, 40:49] = rng.standard_normal((7, 2, 9))
    array[:, 40, ::7] = 5.0
    sizes = []
    for enough in (0.1, 2.0):
        monkeypatch.setattr(lattice, "_MANY_ZEROS", enough)
        blob = frame_with(array, 0.1, Lattice(axes))
        assert np.abs(lz.decompress(blob) - array).max() <= 0.1
        sizes.append(len(blob))
    assert sizes[0] != sizes[1]
    assert sizes[0] < 1.2 * sizes[1]


def test_values_without_order_are_coded_from_their_middle(rng):
    """Around it they need no extra bits."""
    array = rng.random((20, 30, 40), dtype=np.float32)
    from_zero, from_middle = (len(frame_with(array, 0.01, Lattice(0, centre))) for centre in (0, 25))
    assert from_middle < 0.99 * from_zero
    assert len(lz.compress(array, lz.absolute(0.01), effort="fast")) < 1.01 * from_middle


def two_phases(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Plateaus as far above as below the middle, and some disorder in each."""
    z, y, x = np.indices(shape)
    above = np.sin(x / 3 + z / 2) + np.sin(y / 4 - z / 3) > 0
    return np.where(above, 1.0, -1.0).astype(np.float32) + 0.2 * rng.random(shape, dtype=np.float32)


def test_levels_around_a_value_tell_what_magnitudes_do_not(rng):
    """Magnitudes are the same on both plateaus; a multiple from 0 has extra bits, and is no difference."""
    array = two_phases((30, 40, 50), rng)
    plans = Lattice(0, 0, levels=True), Lattice(0), Lattice(4), Lattice(1)
    levels, *others = (len(frame_with(array, 0.01, plan)) for plan in plans)
    assert levels < 0.95 * min(others)
    assert len(lz.compress(array, lz.absolute(0.01), effort="fast")) < 1.01 * levels


def test_levels_of_any_span(rng):
    """More levels than contexts tell apart, a single one, and spans that are far from 0."""
    array = two_phases((6, 17, 23), rng)
    for eps, scale, offset in ((1e-5, 1.0, 0.0), (3e-7, 1.0, 0.0), (4.0, 1.0, 0.0), (0.01, 1.0, 900.0)):
        moved = (scale * array + offset).astype(np.float64)
        for centre in (-3, 0, 40_000):
            back = lz.decompress(frame_with(moved, eps, Lattice(0, centre, levels=True)))
            assert np.abs(back - moved).max() <= eps


def test_contexts_of_levels_are_never_that_of_flags(rng):
    for low, high in ((0.0, 0.0), (0.0, 0.02), (-1.0, 1.0), (-1e6, 1e5), (-1e9, 1e9)):
        array = np.array([low, high], np.float64)
        rule = families.quantizer(array.dtype, 0.01, low, high)
        levels = lattice_contexts.levels_of(True, multiples.middle(rule), rule)
        sums = np.unique(np.append(np.linspace(0, 8 * levels.most, 5000).astype(np.int64), 8 * levels.most))
        rooms = np.empty(sums.size, np.float32)
        cells = np.empty(sums.size, np.uint8)
        twice = np.append(sums - sums // 2, sums // 2).astype(np.uint16)
        lattice_contexts.cells_of_row.py_func(
            *(twice, 0, sums.size, rooms, rooms.view(np.int32), cells, levels),
        )
        assert 1 not in cells
        assert cells.max() <= 31
        assert np.all(np.diff(cells.astype(int)) >= 0)
        assert np.unique(cells).size == min(31, 8 * levels.most + 1)


@pytest.mark.parametrize("shape", [(5, 12, 30, 40), (30, 40, 50), (50, 64), (4000,), (1, 1), (24, 40, 40, 3)])
def test_axes_are_tried_one_after_the_other(shape, rng):
    """As long as one more helps; in one room or in those of two threads, as each plan alone is judged."""
    array = sum(np.cumsum(rng.standard_normal(shape), axis) for axis in range(0, len(shape), 2))
    array = array.astype(np.float32)
    array.flat[7::1001] = np.nan
    rule = families.quantizer(array.dtype, 0.3, float(np.nanmin(array)), float(np.nanmax(array)))
    judge = Judge([Block(array), Block(array[::-1].copy())], [], rule, array.size, points=0)
    how = Fold.COMPONENTS if shape[-1] == 3 else Fold.VOLUMES
    sizes = sizes_along_axes(judge.together, shape, how, rule)
    assert sizes_along_axes(judge.together, shape, how, rule, threads=2) == sizes
    for axes, size in sizes.items():
        codes = families.decompose(judge.together, shape, Lattice(axes, fold=how), rule)
        assert size == families.estimated_size([codes]) + codes.outliers.nbytes
    long = [axis for axis, n in zip((8, 4, 2, 1), fold(shape, how), strict=True) if n > 1]
    assert {0, *long} <= set(sizes)
    best = min(long, key=sizes.get, default=0)
    while more := [best | axis for axis in long if not best & axis]:
        assert set(more) <= set(sizes)
        if sizes[min(more, key=sizes.get)] >= sizes[best]:
            break
        best = min(more, key=sizes.get)


def test_the_plan_suits_the_field():
    """Differences along the axis on which the values depend, and on no other."""
    sample = np.zeros((30, 40, 50), np.float32)
    sample += np.cumsum(np.random.default_rng(0).standard_normal(50)).astype(np.float32)
    rule = families.quantizer(sample.dtype, 0.01, float(sample.min()), float(sample.max()))
    judge = Judge([Block(sample)], [], rule, sample.size, points=0)
    _, plan = best_lattice(judge)
    assert plan.axes & lorenzo.Y
    assert not plan.axes & lorenzo.X
