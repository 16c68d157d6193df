"""float16, integers, bool, complex numbers, masked arrays, tolerances of each value: both decoders agree."""

from __future__ import annotations

import exact
import numpy as np
import pytest
import reference
from round_trip import wave

import lossyzip as lz
from lossyzip import field

INTEGERS = ["|i1", "|u1", "<i2", ">u2", "<i4", ">i8", "<u8"]
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def round_trip(array: np.ndarray, bound: lz.Bound, **options: object) -> np.ndarray:
    """Compress and decompress; both decoders agree, and `verify` finds nothing."""
    blob = lz.compress(array, bound, **options)
    decoded = lz.decompress(blob)
    assert (decoded.shape, decoded.dtype, type(decoded)) == (array.shape, array.dtype, type(array))
    slowly = reference.decode_frame(blob)
    assert np.ma.getdata(slowly).tobytes() == np.ma.getdata(decoded).tobytes()
    assert np.array_equal(np.ma.getmaskarray(slowly), np.ma.getmaskarray(decoded))
    report = lz.verify(array, blob, fill_value=options.get("fill_value"))
    assert report.passed
    assert report.max_error == lz.inspect(blob).max_error
    return decoded


def assert_within(array: np.ndarray, decoded: np.ndarray, bound: lz.Bound, fills: tuple = ()) -> None:
    eps = exact.tolerance(array, bound.kind, bound.value, fills)
    assert not exact.violations(array, decoded, eps, fills).size


def counts(dtype: str, shape: tuple[int, ...] = (21, 23)) -> np.ndarray:
    limits = np.iinfo(dtype)
    middle, half = (int(limits.max) + int(limits.min)) // 2, min(int(limits.max) // 3, 20_000)
    return (middle + half * wave(shape, "f8") / 2).astype(dtype)


# float16


@pytest.mark.parametrize(
    "bound", [lz.absolute(1e-2), lz.relative(1e-2), lz.relative(1e-6), lz.lossless()], ids=str
)
@pytest.mark.parametrize("dtype", ["<f2", ">f2"])
def test_halves(dtype, bound):
    array = wave((21, 23), dtype)
    array[3, 4:8] = np.nan, np.inf, -0.0, 65504.0
    assert_within(array, round_trip(array, bound), bound)


@pytest.mark.parametrize("scale", [1e-7, 1e-4, 1.0, 20_000.0])
def test_halves_of_all_sizes(scale):
    """From subnormal ones to the largest, with tolerances around the distance of neighbours."""
    array = (wave((15, 17)) * scale).astype(np.float16)
    for gap in (0.3, 0.5, 0.9, 1.0, 1.7, 20.0):
        bound = lz.absolute(gap * float(np.spacing(np.abs(array).max())))
        assert_within(array, round_trip(array, bound), bound)


def test_halves_are_not_stored_without_loss_where_there_is_room():
    array = wave((60, 70), "<f2")
    assert len(lz.compress(array, lz.relative(1e-2))) < 0.5 * len(lz.compress(array, lz.lossless()))


def test_halves_relative_to_each():
    array = np.exp(2 * wave((21, 23))).astype(np.float16)
    array[2, 3] = 0.0
    decoded = round_trip(array, lz.pointwise_relative(0.01))
    assert not exact.pointwise_violations(array, decoded, 0.01).size


# Integers


@pytest.mark.parametrize(
    "bound", [lz.lossless(), lz.absolute(0), lz.absolute(0.9), lz.absolute(3), lz.relative(0.02)], ids=str
)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers(dtype, bound):
    array = counts(dtype)
    assert_within(array, round_trip(array, bound), bound)


@pytest.mark.parametrize("effort", ["fast", "balanced", "max"])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_limits_of_integers(dtype, effort, rng):
    """The ends of the type, next to one another: nothing wraps around."""
    limits = np.iinfo(dtype)
    ends = [limits.min, limits.min + 1, limits.max - 1, limits.max, (limits.min + limits.max) // 2]
    array = np.array([ends[k] for k in rng.integers(0, 5, 300)], dtype).reshape(15, 20)
    for bound in (lz.lossless(), lz.absolute(1), lz.absolute(100), lz.relative(0.3)):
        assert_within(array, round_trip(array, bound, effort=effort), bound)


def test_integers_that_no_float_holds():
    array = np.array([2**53 + 1, 2**53 + 3, 2**63 - 1, -(2**63), 5, 6, 7, 8], np.int64)
    for bound in (lz.absolute(1), lz.lossless()):
        assert_within(array, round_trip(array, bound), bound)
    assert lz.verify(array, lz.compress(array, lz.relative(1e-3))).passed


def test_the_checker_of_integers_is_exact():
    from lossyzip.checker import Checker

    for dtype in ("u8", "i8"):
        a = np.array([np.iinfo(dtype).max, 2**62 + 1, 10], dtype)
        b = np.array([np.iinfo(dtype).max - 3, 2**62 - 1, 12], dtype)
        for eps, expected in ((1.5, 3), (2, 1), (2.9, 1), (3, 0)):
            for pair in ((a, b), (b, a)):
                check = Checker(eps, 0, 2**63)
                check.update(*pair, (0,))
                assert check.report().violations == expected


@pytest.mark.parametrize("dtype", INTEGERS)
def test_declared_fills_among_integers(dtype):
    fill = int(np.iinfo(dtype).max)
    array = counts(dtype)
    array[:, 5:9] = fill
    bound = lz.relative(0.05)
    decoded = round_trip(array, bound, fill_value=fill)
    assert_within(array, decoded, bound, (fill,))
    assert (decoded[:, 5:9] == fill).all()
    lz.compress(array, bound, fill_value=[-1e30, 0.5, float("nan")])  # which none of them can be


def test_integers_without_loss_are_smaller_than_by_zstd():
    import zstandard

    array = counts("<i2", (80, 90))
    shuffled = np.ascontiguousarray(array.view(np.uint8).reshape(-1, 2).T).tobytes()
    assert len(lz.compress(array, lz.lossless())) < 0.7 * len(zstandard.ZstdCompressor(19).compress(shuffled))


def test_a_psnr_of_integers():
    array = counts("<i4", (40, 50))
    assert lz.verify(array, lz.compress(array, lz.psnr(45))).psnr >= 45


def test_bounds_that_integers_do_not_have():
    with pytest.raises(lz.UnsupportedDataError, match="pointwise"):
        lz.compress(np.arange(9), lz.pointwise_relative(0.1))
    for array in (np.arange(9), np.arange(9).astype(np.float16)):
        with pytest.raises(lz.UnsupportedDataError, match="idempotent"):
            lz.compress(array, lz.absolute(1), idempotent=True)
        assert lz.verify(array, lz.compress(array, lz.lossless(), idempotent=True)).max_error == 0


@pytest.mark.parametrize("bound", [lz.lossless(), lz.absolute(5), lz.relative(0.5)], ids=str)
def test_true_stays_true(bound):
    array = wave((21, 23)) > 0.3
    assert np.array_equal(round_trip(array, bound), array)


# Complex numbers


@pytest.mark.parametrize("bound", [lz.absolute(1e-2), lz.relative(1e-4), lz.lossless()], ids=str)
@pytest.mark.parametrize("dtype", ["<c8", ">c16"])
def test_complex_numbers(dtype, bound):
    array = (wave((21, 23), "f8") + 1j * wave((23, 21), "f8").T).astype(dtype)
    array[2, 3:6] = complex(np.nan, 1.0), complex(2.0, -np.inf), complex(-0.0, 0.0)
    decoded = round_trip(array, bound)
    eps = lz.inspect(lz.compress(array, bound)).eps
    assert not exact.violations(array, decoded, eps).size
    blob = lz.compress(array, bound)
    assert lz.decompress(blob, region=np.s_[3:9, ::-2]).tobytes() == decoded[3:9, ::-2].tobytes()


def test_a_range_of_complex_numbers_is_that_of_both_parts():
    array = np.linspace(0, 1, 50) + 1j * np.linspace(0, 10, 50)
    assert lz.inspect(lz.compress(array, lz.relative(0.01))).eps == pytest.approx(0.1)


@pytest.mark.parametrize("dtype", ["<f2", "<i2", "<c8", "|b1", "<f4"])
def test_many_tiles_of_all_types(dtype, monkeypatch):
    monkeypatch.setattr(field, "TILE_VALUES", 500)
    array = (3 * wave((12, 13, 14))).astype(dtype)
    blobs = {lz.compress(array, lz.absolute(0.5), threads=threads) for threads in (1, 2)}
    assert len(blobs) == 1
    (blob,) = blobs
    assert lz.inspect(blob).tile_count >= 4
    decoded = lz.decompress(blob)
    assert decoded.tobytes() == reference.decode_frame(blob).tobytes()
    assert np.array_equal(lz.decompress(blob, region=np.s_[2:9, 4]), decoded[2:9, 4])


@pytest.mark.parametrize("dtype", ["<f2", "<i4", "<c16", "|b1"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (1, 1, 5, 1), (2, 1, 3, 1, 2, 1, 2, 2)])
def test_odd_shapes_of_all_types(dtype, shape):
    array = np.asarray(4 * wave(shape, "f8")).astype(dtype)
    round_trip(array, lz.absolute(0.5))


# Masked arrays


@pytest.mark.parametrize("bound", [lz.absolute(0.05), lz.relative(1e-3), lz.lossless()], ids=str)
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "<i4", "|u1", "<c8"])
def test_masks_come_back(dtype, bound, rng):
    values = (50 + 10 * wave((31, 33))).astype(dtype)
    masked = np.ma.MaskedArray(values, rng.random(values.shape) < 0.3, fill_value=7)
    decoded = round_trip(masked, bound)
    assert decoded.fill_value == 7
    assert (np.ma.getdata(decoded)[masked.mask] == 7).all()
    eps = lz.inspect(lz.compress(masked, bound)).eps
    assert not exact.violations(masked.compressed(), decoded.compressed(), eps).size


def test_what_is_under_a_mask_does_not_matter(rng):
    values, mask = wave((31, 33)), rng.random((31, 33)) < 0.3
    other = values.copy()
    other[mask] = np.resize([np.nan, 1e38, -np.inf, 5.0], mask.sum())
    for bound in (lz.relative(1e-3), lz.lossless()):
        a, b = (lz.compress(np.ma.MaskedArray(v, mask), bound) for v in (values, other))
        assert a == b


def test_masks_cost_little_and_leave_no_steps(rng):
    values = wave((128, 160))
    mask = np.zeros(values.shape, bool)
    mask[20:60, 30:90] = True
    values += 0.01 * rng.standard_normal(values.shape).astype("<f4")
    whole = len(lz.compress(values, lz.relative(1e-3)))
    values[mask] = 1e20
    assert len(lz.compress(np.ma.MaskedArray(values, mask), lz.relative(1e-3))) < 1.05 * whole


@pytest.mark.parametrize("mask", [np.ma.nomask, False, True], ids=str)
def test_masks_of_all_or_nothing(mask):
    array = np.ma.MaskedArray(wave((9, 10)), mask)
    decoded = round_trip(array, lz.absolute(0.1))
    assert np.array_equal(np.ma.getmaskarray(decoded), np.ma.getmaskarray(array))


def test_parts_of_masked_arrays(rng, monkeypatch):
    monkeypatch.setattr(field, "TILE_VALUES", 300)
    array = np.ma.MaskedArray(wave((20, 30)), rng.random((20, 30)) < 0.1)
    blob = lz.compress(array, lz.absolute(0.1))
    part, whole = lz.decompress(blob, region=np.s_[5:15, 20:3:-2]), lz.decompress(blob)[5:15, 20:3:-2]
    assert np.array_equal(part.mask, whole.mask)
    assert np.array_equal(part.filled(), whole.filled())


def test_a_mask_that_differs_is_a_violation(rng):
    mask = rng.random((20, 30)) < 0.1
    blob = lz.compress(np.ma.MaskedArray(wave((20, 30)), mask), lz.absolute(0.1))
    mask = mask.copy()
    mask[7, 8] ^= True
    report = lz.verify(np.ma.MaskedArray(wave((20, 30)), mask), blob)
    assert (report.violations, report.first_violation, report.passed) == (1, (7, 8), False)
    assert not lz.verify(wave((20, 30)), blob).passed


# Tolerances of their own


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "<i4", "<c8"])
def test_regions_of_interest(dtype):
    array = 100 * wave((40, 50), "f8") + np.random.default_rng(0).standard_normal((40, 50))
    array = array.astype(dtype)
    eps = np.full(array.shape, 2.0)
    eps[10:20, 5:30], eps[30:] = 0.25, 0.0
    for effort in ("fast", "balanced", "max"):
        decoded = round_trip(array, lz.absolute(eps), effort=effort)
        for value in np.unique(eps):
            assert not exact.violations(array[eps == value], decoded[eps == value], value).size
    assert lz.inspect(lz.compress(array, lz.absolute(eps))).bound == "abs:2.0 and less"
    loose, tight = (len(lz.compress(array, lz.absolute(value))) for value in (2.0, 0.25))
    eps[30:] = 2.0
    assert loose < len(lz.compress(array, lz.absolute(eps))) < 1.3 * tight


def test_a_level_that_is_too_loose_does_not_pass_the_door(monkeypatch):
    """The checker compares with the level; that the level is what was asked is checked, too."""
    from lossyzip.levels import Levels

    eps = np.where(np.arange(40) < 20, 0.1, 0.001)
    for lie in (np.ones_like, lambda honest: honest[::-1] * 0 + 1, lambda honest: honest[:, ::-1]):
        with monkeypatch.context() as patch:
            honest = Levels.of
            patch.setattr(Levels, "of", lambda self, where, lie=lie, honest=honest: lie(honest(self, where)))
            with pytest.raises(lz.BoundViolationError, match="looser"):
                lz.compress(wave((30, 40)), lz.absolute(eps))


def test_tolerances_broadcast_and_may_be_many():
    array = wave((30, 40), "f8")
    eps = np.geomspace(1e-5, 1e-2, 40)
    decoded = round_trip(array, lz.absolute(eps))
    assert (np.abs(array - decoded) <= eps).all()
    r = np.geomspace(1e-5, 1e-2, 30)[:, None]
    decoded = round_trip(array, lz.relative(r))
    assert (np.abs(array - decoded) <= r * np.ptp(array)).all()
    assert lz.compress(array, lz.absolute(np.full(40, 0.1))) == lz.compress(array, lz.absolute(0.1))


def test_tolerances_of_masked_arrays():
    array = np.ma.masked_greater(wave((30, 40)), 1.0)
    eps = np.where(np.arange(40) < 20, 0.1, 0.001)
    decoded = round_trip(array, lz.absolute(eps))
    assert (np.abs(array - decoded) <= eps).all()


def test_tolerances_that_are_none():
    for eps in (
        np.array([0.1, -0.1]),
        np.array([0.1, np.nan]),
        np.array([0.1, np.inf]),
        np.array(["a", "b"]),
    ):
        with pytest.raises(lz.InvalidArgumentError):
            lz.absolute(eps)
    with pytest.raises(lz.InvalidArgumentError, match="broadcast"):
        lz.compress(wave((30, 40)), lz.absolute(np.linspace(0.1, 0.2, 30)))
    with pytest.raises(lz.InvalidArgumentError, match="idempotent"):
        lz.compress(wave((30, 40)), lz.absolute(np.linspace(0.1, 0.2, 40)), idempotent=True)
