"""Every kind of array comes back within the guarantee; every other kind is refused before it is touched."""

from __future__ import annotations

import math
from fractions import Fraction

import exact
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from round_trip import BOUNDS, DTYPES, round_trip, wave

import lossyzip as lz

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def from_bits(bits: list[int], dtype: str) -> np.ndarray:
    return np.array(bits, f"u{np.dtype(dtype).itemsize}").view(dtype)


# Special values


@pytest.mark.parametrize("bound", BOUNDS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values_come_back_bit_for_bit(bound, dtype, rng):
    array = wave((40, 50), dtype)
    width = np.dtype(dtype).itemsize
    quiet, infinity = (0x7FC00000, 0x7F800000) if width == 4 else (0x7FF8 << 48, 0x7FF0 << 48)
    negative = 1 << (8 * width - 1)
    patterns = [
        quiet,
        quiet + 1234,
        quiet + 5 + negative,
        infinity + 1,
        infinity,
        infinity + negative,
        negative,
    ]
    patterns += [1, 2, negative + 3]  # subnormals
    specials = from_bits(patterns, dtype[1:]).astype(dtype)
    unsigned = f"{dtype[0]}u{width}"
    where = rng.choice(array.size, 300, replace=False)
    array.reshape(-1).view(unsigned)[where] = np.resize(np.array(patterns, unsigned), 300)
    decoded = round_trip(array, bound)
    marked = ~np.isfinite(array) | ((array == 0) & np.signbit(array))
    assert marked.sum() > 150
    assert np.array_equal(array.view(unsigned)[marked], decoded.view(unsigned)[marked])
    assert specials.dtype == array.dtype


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, -0.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_but_one_special_value(special, dtype):
    round_trip(np.full((7, 9), special, dtype), lz.absolute(0.1))
    round_trip(np.full((7, 9), special, dtype), lz.relative(0.1))


def test_more_nan_payloads_than_the_header_lists(rng):
    array = wave((30, 40))
    array.view(np.uint32)[rng.random(array.shape) < 0.2] = 0x7FC00000
    array.view(np.uint32)[np.isnan(array)] += np.arange(np.isnan(array).sum(), dtype=np.uint32)
    round_trip(array, lz.relative(1e-3))


def test_a_fill_value_that_comes_after_many_nan_payloads():
    array = wave((30, 40))
    array.reshape(-1).view(np.uint32)[:40] = 0x7FC00000 + np.arange(40, dtype=np.uint32)
    array[20:] = -9999.0
    decoded = round_trip(array, lz.relative(1e-3), fill=(-9999.0,))
    assert (decoded[20:] == -9999.0).all()


@pytest.mark.parametrize("fill", [(1e20,), (-9999.0, 9.96921e36), (0.0,), (np.nan,), (1e300,)])
@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
def test_fill_values_come_back_and_do_not_count_for_the_range(fill, dtype, rng):
    array = wave((12, 20, 30), dtype)
    with np.errstate(over="ignore"):
        array[rng.random(array.shape) < 0.3] = np.array(fill[0]).astype(dtype)
        array[rng.random(array.shape) < 0.1] = np.array(fill[-1]).astype(dtype)
        round_trip(array, lz.relative(1e-3), fill=fill)


# Extreme values and bounds


@pytest.mark.parametrize("bound", [lz.absolute(1.0), lz.absolute(1e30), lz.relative(1e-3), lz.relative(10.0)])
@pytest.mark.parametrize(("dtype", "huge"), [("<f4", 1e38), ("<f8", 1e308), ("<f8", 1e200)])
def test_huge_values_beside_tiny_ones(dtype, huge, bound, rng):
    array = rng.standard_normal((30, 40)) * 1e-30
    array[::7, ::5] = rng.uniform(-1, 1, array[::7, ::5].shape) * huge
    array[0, :2] = np.finfo(dtype).max, -np.finfo(dtype).max
    round_trip(array.astype(dtype), bound)


@pytest.mark.parametrize(("dtype", "scale"), [("<f4", 3e38), ("<f4", 5e36), ("<f8", 1.7e308), ("<f8", 1e306)])
@pytest.mark.parametrize("rel", [1e-1, 1e-3, 1e-6])
def test_a_smooth_field_near_the_largest_number(dtype, scale, rel):
    array = (wave((30, 40), "<f8") / 2.1 * scale).astype(dtype)
    round_trip(array, lz.relative(rel))


@pytest.mark.parametrize(
    ("dtype", "scale"), [("<f4", 1e-38), ("<f4", 1e-43), ("<f8", 1e-308), ("<f8", 1e-322)]
)
@pytest.mark.parametrize("rel", [1e-1, 1e-3, 1e-6])
def test_a_smooth_field_of_subnormals(dtype, scale, rel):
    round_trip((wave((30, 40), "<f8") * scale).astype(dtype), lz.relative(rel))


@pytest.mark.parametrize("ulps", [0.01, 0.25, 0.4999, 0.5, 0.51, 1.0, 1.5, 2.0, 3.0, 8.0, 20.0])
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_eps_of_about_an_ulp(ulps, dtype):
    array = 1000.0 + wave((40, 50), dtype)
    round_trip(array, lz.absolute(ulps * float(np.spacing(array.max()))))


@pytest.mark.parametrize("eps", [0.0, 5e-324, 1e-300, 1e300, float(np.finfo(np.float64).max)])
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_absurd_eps(eps, dtype):
    round_trip(wave((40, 50), dtype), lz.absolute(eps))


def test_eps_zero_is_lossless():
    array = wave((40, 50), "<f8")
    for bound in (lz.absolute(0.0), lz.relative(0.0), lz.relative(-0.0), lz.lossless()):
        assert round_trip(array, bound).tobytes() == array.tobytes()


@pytest.mark.parametrize("eps", [0.25, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_integers_stored_as_floats_lie_exactly_on_the_bound(eps, dtype, rng):
    round_trip(rng.integers(-40, 40, (40, 50)).astype(dtype), lz.absolute(eps))
    round_trip((rng.integers(0, 4, (40, 50)) * 2 * eps).astype(dtype), lz.absolute(eps))


def test_values_half_way_between_steps_lie_exactly_on_the_bound(rng):
    steps = rng.integers(-5, 5, (50, 60)) + 0.5
    for eps in (0.1, 1 / 3, 1e-3, 7e-5):
        round_trip((steps * 2 * eps).astype(np.float32), lz.absolute(float(np.float32(eps))))
        round_trip(steps * 2 * eps, lz.absolute(eps))


@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
def test_random_bits(dtype, rng):
    bits = rng.integers(0, 2 ** (8 * np.dtype(dtype).itemsize) - 1, (40, 50), dtype, endpoint=True)
    for bound in BOUNDS:
        round_trip(bits.view(dtype.replace("u", "f")), bound)


# Bounds and reports


@pytest.mark.parametrize("value", [1e-3, 0.1, 1 / 3, 1.23456789012345e-7, 5e-324, 1e300, 2.0])
def test_a_bound_as_text_is_the_same_bound(value):
    from lossyzip.bound import parse

    for bound in (lz.absolute(value), lz.relative(value), lz.lossless()):
        assert parse(str(bound)) == bound


def test_the_largest_error_that_is_reported_is_the_largest_there_is():
    for dtype in DTYPES:
        array = wave((30, 40), dtype)
        blob = lz.compress(array, lz.relative(1e-3))
        largest = exact.largest_error(array, lz.decompress(blob))
        assert lz.inspect(blob).max_error == lz.verify(array, blob).max_error == float(largest) > 0


def test_psnr_is_20_log10_of_range_over_rmse():
    array = wave((30, 40), "<f8")
    blob = lz.compress(array, lz.relative(1e-3))
    rmse = math.sqrt(np.mean((array - lz.decompress(blob)) ** 2))
    expected = 20 * math.log10((array.max() - array.min()) / rmse)
    assert lz.verify(array, blob).psnr == pytest.approx(expected, rel=1e-9)
    assert lz.verify(array, lz.compress(array, lz.lossless())).psnr == math.inf


def test_verify_finds_each_violation():
    array = wave((30, 40), "<f8")
    blob = lz.compress(array, lz.absolute(1e-3))
    eps = Fraction(lz.inspect(blob).eps)
    other = array.copy()
    other[3, 4] += 1.0
    other[20, 5] = np.nan
    found = lz.verify(other, blob)
    assert found.violations == exact.violations(other, lz.decompress(blob), eps).size == 2
    assert found.first_violation == (3, 4)


# Anything at all


def contents(dtype: str) -> st.SearchStrategy:
    """Ways to fill ``count`` values, from a seed: smooth ones, and each kind of awkward ones."""
    info = np.finfo(dtype)
    tiny, huge = float(info.smallest_subnormal), float(info.max)
    specials = [np.nan, np.inf, -np.inf, -0.0, 0.0, tiny, -tiny, huge, -huge, 1.0, 1e-30, 0.5]

    def make(kind: str, seed: int, exponent: int, count: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        scale = 10.0**exponent
        if kind == "bits":
            bits = rng.integers(0, 2 ** (8 * info.dtype.itemsize) - 1, count, f"u{info.dtype.itemsize}")
            return bits.view(info.dtype)
        if kind == "specials":
            return rng.choice(specials, count).astype(info.dtype)
        plain = {
            "steps": rng.integers(-6, 6, count),
            "constant": np.ones(count),
            "noise": rng.standard_normal(count),
        }
        with np.errstate(over="ignore", under="ignore"):
            values = (plain.get(kind, np.sin(np.arange(count) * 0.05)) * scale).astype(info.dtype)
        if kind == "mixed":
            holes = rng.random(count) < 0.2
            values[holes] = rng.choice(specials, int(holes.sum()))
        return values

    kinds = st.sampled_from(["smooth", "mixed", "noise", "steps", "constant", "specials", "bits"])
    exponents = st.integers(-44, 38) if info.dtype.itemsize == 4 else st.integers(-323, 308)
    exponents = st.one_of(st.integers(-3, 3), exponents)
    return st.builds(lambda *how: lambda count: make(*how, count), kinds, st.integers(0, 2**32), exponents)


@st.composite
def cases(draw: st.DrawFn, most: int = 600) -> tuple[np.ndarray, lz.Bound]:
    shape = draw(st.lists(st.integers(0, 40), max_size=5).filter(lambda s: math.prod(s) <= most))
    dtype = draw(st.sampled_from(DTYPES))
    array = draw(contents(dtype[1:]))(math.prod(shape)).reshape(shape).astype(dtype)
    sizes = st.one_of(
        st.sampled_from([1e-1, 1e-3, 1e-6, 0.5, 0.25, 1.0, 0.0]),
        st.floats(0.0, allow_nan=False, allow_infinity=False),
    )
    bound = draw(
        st.one_of(st.builds(lz.absolute, sizes), st.builds(lz.relative, sizes), st.just(lz.lossless()))
    )
    return array, bound


@given(cases())
@settings(max_examples=500)
@example((np.array([0.0, np.finfo(np.float64).max]), lz.relative(1.0)))
@example((np.ones((60, 60)), lz.absolute(1e-206)))  # whose square is 0
@example((np.array([1e-30, -0.0, np.inf, -0.0, 0.0, 1.0], np.float32), lz.absolute(0.1)))
def test_any_array_within_any_bound(case):
    round_trip(*case, threads=1)


@pytest.mark.slow
@given(cases(most=20_000))
@settings(max_examples=5_000)
def test_any_array_within_any_bound_at_length(case):
    round_trip(*case)
