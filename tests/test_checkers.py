"""What judges values: exact, of blocks and of single ones, by the right tolerance."""

from __future__ import annotations

from fractions import Fraction

import exact
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossyzip.checker import Checker
from lossyzip.enhancement import _within

FILL = -9999.0


@given(
    pairs=st.lists(st.tuples(st.floats(), st.floats()), min_size=1, max_size=30),
    eps=st.one_of(st.floats(0.0, allow_nan=False, allow_infinity=False), st.sampled_from([0.5, 1e-3, 0.1])),
    on_bound=st.booleans(),
    width=st.sampled_from([32, 64]),
)
@settings(max_examples=300)
def test_all_checkers_agree_with_fractions(pairs, eps, on_bound, width):
    dtype = np.dtype(f"f{width // 8}")
    with np.errstate(all="ignore"):
        a, b = (np.array(column).astype(dtype) for column in zip(*pairs, strict=True))
        if on_bound:  # about eps away, in exact and in rounded steps
            b = np.where(np.isfinite(a), a + np.array([eps, -eps] * a.size)[: a.size], b).astype(dtype)
    expected = [k for k in range(a.size) if not plainly_good(a[k], b[k], eps)]
    assert exact.violations(a, b, eps).tolist() == expected
    checker = Checker(eps, 0.0, 1.0)
    checker.update(a, b, (0,))
    report = checker.report()
    assert report.violations == len(expected)
    assert report.first_violation == ((expected[0],) if expected else None)
    if eps > 0.0:  # what it is for is never without loss
        within = _within(a, b, eps, np.zeros(0, np.uint64))
        assert np.flatnonzero(~within).tolist() == expected


def test_values_beside_a_fill_value_are_no_fill_values():
    a = np.array([FILL, FILL, 1.0, 1.0], "<f4")
    b = np.array([FILL, np.nextafter(np.float32(FILL), np.float32(0)), FILL, 1.5], "<f4")
    patterns = np.array([FILL], "<f4").view("<u4").astype(np.uint64)
    assert _within(a, b, 0.5, patterns).tolist() == [True, False, False, True]


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<c8", "<i4"])
@pytest.mark.parametrize("masked", [False, True])
def test_each_value_is_judged_by_its_own_level(dtype, masked):
    """Errors of 2, at tolerances of 3 and 1 and none."""
    a = np.arange(12).reshape(3, 4).astype(dtype)
    b, levels = a.copy(), np.array([[0] * 4, [1] * 4, [2] * 4], np.uint8)
    b[:, 1] += 2
    mask = np.zeros(a.shape, bool)
    if masked:
        mask[1, 1] = True
        a, b = np.ma.MaskedArray(a, mask), np.ma.MaskedArray(b, mask)
    checker = Checker(3.0, 0.0, 12.0, levels=(3.0, 1.0, 0.0))
    checker.update(a, b, (0, 0), levels)
    report = checker.report()
    assert (report.violations, report.first_violation) == ((1, (2, 1)) if masked else (2, (1, 1)))


def test_what_tiles_have_found_is_added_up():
    a = np.ones((2, 6), "<f4")
    b = a.copy()
    b[0, 4], b[1, 0], b[1, 5] = 1.5, 1.75, 3.0
    tiles = []
    for start in (0, 3):
        tiles.append(Checker(0.25, 0.0, 4.0))
        tiles[-1].update(a[:, start : start + 3], b[:, start : start + 3], (0, start))
    tiles[0].merge(tiles[1])
    whole = Checker(0.25, 0.0, 4.0)
    whole.update(a, b, (0, 0))
    assert tiles[0].report() == whole.report()
    assert (whole.report().violations, whole.report().first_violation) == (3, (0, 4))
    assert whole.report().max_error == 2.0


@pytest.mark.parametrize("dtype", ["<i2", ">u4", "<f2", "<f8"])
def test_a_fill_value_is_judged_bit_for_bit(dtype):
    a = np.array([5, 99, 7], dtype)
    for place, good in ((0, True), (1, False)):
        b = a.copy()
        b[place] += 1
        checker = Checker(3.0, 0.0, 9.0, fill_values=(99,))
        checker.update(a, b, (0,))
        assert checker.report().first_violation == (None if good else (1,))
        assert checker.report().max_error == (1.0 if good else 0.0)


def plainly_good(a: np.floating, b: np.floating, eps: float) -> bool:
    if a.tobytes() == b.tobytes():
        return True
    if eps == 0 or not np.isfinite(a) or not np.isfinite(b) or (a == 0 and np.signbit(a)):
        return False
    return abs(Fraction(float(a)) - Fraction(float(b))) <= Fraction(eps)


@given(
    place=st.integers(0, 3 * 512 + 16),
    value=st.sampled_from([0.0, -0.0, 1.0, -2.5, 0.3, 1e30, np.nan, np.inf]),
    times=st.sampled_from([0.0, 0.5, 1.0, 1.0 + 2.0**-20, 1.5, -1.0, -1.5, 3.0]),
    nudge=st.sampled_from([-1, 0, 1]),
    eps=st.sampled_from([0.25, 0.1, 1e-3]),
    width=st.sampled_from([32, 64]),
)
@settings(max_examples=300)
def test_one_bad_value_in_many_is_found(place, value, times, nudge, eps, width):
    """Blocks of many values are compared in another way than single ones: all but one are well within."""
    dtype = np.dtype(f"f{width // 8}")
    a = np.linspace(1.0, 2.0, 3 * 512 + 17).astype(dtype)
    b = a + dtype.type(0.5 * eps)
    a[place] = value
    with np.errstate(all="ignore"):
        b[place] = a[place] + dtype.type(times * eps)
        if nudge:
            b[place] = np.nextafter(b[place], dtype.type(nudge * np.inf))
    checker = Checker(eps, 1.0, 2.0)
    checker.update(a, b, (0,))
    report = checker.report()
    good = plainly_good(a[place], b[place], eps)
    assert report.violations == (0 if good else 1)
    assert report.first_violation == (None if good else (place,))
    if good:
        assert report.max_error == float(exact.largest_error(a, b))


def test_a_rounded_difference_does_not_decide():
    a, b, eps = 0.3, 0.1, 0.2  # 0.3 - 0.1 is below 0.2 as written, not as stored
    for x, y in ((a, b), (b, a), (1.0, 1.0 - 2**-53), (1.0, 1.0 + 2**-52)):
        for tolerance in (eps, abs(x - y), np.nextafter(abs(x - y), 0)):
            pair = np.array([x]), np.array([y])
            expected = abs(Fraction(x) - Fraction(y)) > Fraction(float(tolerance))
            assert bool(exact.violations(*pair, float(tolerance)).size) == expected
