"""The wavelet family alone: its bands, its transform, frames by the reference. Plans are forced, not tuned.

What all families have in common is tested in test_format.py, test_kernels.py and test_guarantee.py.
"""

from __future__ import annotations

import math

import exact
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import frame_with
from reference import wavelet as reference_wavelet

import lossyzip as lz
from datasets import synthetic
from lossyzip.decompose import wavelet
from lossyzip.decompose.fold import Fold, Shape4, fold
from lossyzip.decompose.lifting import transform
from lossyzip.decompose.regression import Raster
from lossyzip.decompose.wavelet import Wavelet

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
DTYPES = ("<f4", "<f8")
STEPS = (16, 35, 64)  # sixteenths of eps
LOOSE, TIGHT = 0.5, 1e-4
FOLDED = st.tuples(st.integers(1, 3), *(st.integers(1, n) for n in (40, 23, 45))).map(lambda n: Shape4(*n))


def waves(shape: tuple[int, ...], dtype: str = "<f4") -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    return (synthetic.waves(shape, rng, 6) + 0.05 * rng.standard_normal(shape)).astype(dtype)


def assert_good_frame(array: np.ndarray, eps: float, plan: Wavelet) -> np.ndarray:
    """Decoded alike by lossyzip and the reference, and within the bound; coded with loss."""
    blob = frame_with(array, eps, plan)
    assert lz.inspect(blob).families == ("wavelet",)
    decoded, slowly = lz.decompress(blob), reference.decode_frame(blob)
    assert (slowly.shape, slowly.dtype) == (decoded.shape, decoded.dtype)
    assert slowly.tobytes() == decoded.tobytes()
    assert not exact.violations(array, decoded, eps).size
    return decoded


ONE_DIMENSION = [(2,), (3,), (4,), (5,), (9,), (203,)]
TWO = [(1, 1), (2, 5), (5, 2), (4, 31), (31, 4), (17, 33), (1, 40), (40, 1)]
THREE = [(2, 9, 11), (9, 4, 5), (8, 5, 5), (19, 7, 10), (9, 1, 30), (3, 1, 1), (2, 12, 13)]
FOUR = [(2, 3, 5, 7), (3, 9, 4, 6), (2, 10, 1, 9), (1, 9, 6, 7), (3, 1, 9, 9), (2, 17, 5, 6)]


@pytest.mark.parametrize("how", Fold, ids=lambda how: how.name)
@pytest.mark.parametrize("shape", [*ONE_DIMENSION, *TWO, *THREE, *FOUR, (2, 2, 2, 5, 6)], ids=str)
def test_every_shape_and_fold(shape, how):
    for dtype in DTYPES:
        assert_good_frame(waves(shape, dtype), 0.1, Wavelet(how, 35))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("eps", [LOOSE, TIGHT])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("shape", [(150,), (23, 37), (11, 9, 14), (2, 9, 7, 9)], ids=str)
def test_every_step_and_bound(shape, step, eps, dtype):
    for how in Fold:
        assert_good_frame(waves(shape, dtype), eps, Wavelet(how, step))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("start", [0, 8, 19])
def test_blank_bands_before_and_behind_others(start, dtype):
    """Planes of zeros, nothing of which is moved where they fill a band, around some with outliers."""
    array = np.zeros((48, 7, 12), dtype)
    array[start : start + 6] = waves((6, 7, 12), dtype)
    array[start + 2, 3, 5] = 1e30
    assert_good_frame(array, 0.05, Wavelet(Fold.MERGED, 35))
    blob = frame_with(array, 0.05, Raster(Fold.MERGED, still=True))
    assert lz.decompress(blob).tobytes() == reference.decode_frame(blob).tobytes()


@pytest.mark.parametrize("step", [1, 255])
def test_the_extreme_steps(step):
    assert_good_frame(waves((21, 30)), 0.05, Wavelet(Fold.MERGED, step))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [0.05, 0.6, 1.0])
@pytest.mark.parametrize("shape", [(150,), (23, 37), (2, 9, 7, 9)], ids=str)
def test_masks(shape, share, dtype):
    """NaN has no place in a transform; it comes back all the same, and its neighbours are no worse."""
    array = waves(shape, dtype)
    array[np.random.default_rng(0).random(shape) < share] = np.nan
    for how in Fold:
        decoded = assert_good_frame(array, 0.05, Wavelet(how, 35))
        assert (np.isnan(decoded) == np.isnan(array)).all()


def test_a_block_of_nan_and_infinities():
    array = waves((30, 40))
    array[5:20, :17] = np.nan
    array[25, ::3] = np.inf
    array[26, ::3] = -np.inf
    assert_good_frame(array, 0.05, Wavelet(Fold.MERGED, 35))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [1.0, 1e-4])
def test_the_largest_values(dtype, share):
    """The coarsest coefficients are larger than any value that is coded."""
    largest = float(np.finfo(dtype).max) / 64
    array = np.full((40, 50), 0.99 * largest, dtype)
    array[::9, ::7] *= -1
    assert_good_frame(array, share * largest, Wavelet(Fold.MERGED, 35))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(20, 24, 26), (90, 40)], ids=str)
def test_coefficients_that_overflow(shape, dtype):
    """A plateau next to noise: infinite coefficients beside others, whose prediction sum is 0 as ever."""
    largest = float(np.finfo(dtype).max) / 64
    for seed in range(6):
        rng = np.random.default_rng(seed)
        array = (0.3 * largest * rng.uniform(-1, 1, shape)).astype(dtype)
        array[tuple(slice(int(n * rng.uniform(0.4, 1))) for n in shape)] = 0.99 * largest
        assert_good_frame(array, 0.3 * largest, Wavelet(Fold.MERGED, 35))


@pytest.mark.parametrize("dtype", DTYPES)
def test_coefficients_that_no_code_can_represent(dtype):
    array = waves((20, 30), dtype)
    array[3, 4] = 1e6
    assert_good_frame(array, TIGHT, Wavelet(Fold.MERGED, 16))


@pytest.mark.parametrize("how", [Fold.VOLUMES, Fold.PLANES], ids=lambda how: how.name)
def test_before_the_first_volume_is_nothing(how):
    """Its magnitudes once were those of the last volume's parents, found at a negative index."""
    array = waves((3, 9, 12, 13))
    array[-1] += 50 * np.random.default_rng(0).standard_normal(array[-1].shape).astype("<f4")
    assert_good_frame(array, 0.05, Wavelet(how, 35))


@given(
    shape=st.lists(st.integers(1, 11), min_size=1, max_size=4).map(tuple),
    how=st.sampled_from(Fold),
    step=st.integers(1, 255),
    eps=st.floats(1e-5, 2.0),
    dtype=st.sampled_from(DTYPES),
    masked=st.booleans(),
)
@settings(max_examples=40)
def test_any_frame(shape, how, step, eps, dtype, masked):
    array = waves(shape, dtype)
    if masked:
        array.reshape(-1)[::3] = np.nan
    assert_good_frame(array, eps, Wavelet(how, step))


# Bands


@given(FOLDED)
def test_bands_tile_the_array(shape):
    times = np.zeros(shape[1:], int)
    for band in wavelet.bands(shape):
        assert times[band.box].size > 0
        times[band.box] += 1
    assert (times == 1).all()


@given(FOLDED)
def test_a_parent_is_decoded_before_its_children(shape):
    known = []
    for band in wavelet.bands(shape):
        assert 0 < band.group < wavelet.GROUPS
        assert band.parent is None or band.parent in known
        known.append(band.box)


@given(FOLDED)
def test_bands_are_those_of_the_reference(shape):
    expected = [
        (slices(band.box), band.group, slices(band.parent)) for band in reference_wavelet.bands(shape[1:])
    ]
    assert [(b.box, b.group, b.parent) for b in wavelet.bands(shape)] == expected


def slices(box: tuple[range, ...] | None) -> tuple[slice, ...] | None:
    return None if box is None else tuple(slice(r.start, r.stop) for r in box)


# Transform


@given(FOLDED, st.sampled_from(DTYPES), st.integers(0, 2**16))
def test_the_inverse_undoes_the_transform(shape, dtype, seed):
    values = np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)
    there = transformed(values)
    back = inverted(there)
    assert np.abs(back - values).max() < 1000 * np.finfo(dtype).eps
    assert np.abs(transformed(back) - there).max() < 1000 * np.finfo(dtype).eps * np.abs(there).max()


@given(FOLDED, st.sampled_from(DTYPES), st.integers(0, 2**16), st.sampled_from([1.0, 1e30, np.nan]))
def test_the_inverse_is_that_of_the_reference(shape, dtype, seed, scale):
    """Bit for bit; NaN, which only damaged frames have, spreads alike."""
    values = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    values.reshape(-1)[:: seed % 97 + 1] *= scale
    slowly = values.copy()
    reference_wavelet.transform(slowly, inverse=True)
    np.testing.assert_array_equal(inverted(values), slowly)


@given(FOLDED, st.sampled_from(DTYPES))
def test_a_constant_is_in_the_coarsest_band_alone(shape, dtype):
    """The high 9/7 filter sees no constant, and symmetric ends do not make one uneven."""
    coefficients = transformed(np.ones(shape, dtype))
    halved = [sum(step.axis == axis for step in wavelet.splits(shape)) for axis in range(3)]
    coarsest = tuple(slice(0, math.ceil(n / 2**k)) for n, k in zip(shape[1:], halved, strict=True))
    first = coefficients[0, 0, 0, 0]
    np.testing.assert_allclose(coefficients[:, *coarsest], first, rtol=1e-4)
    coefficients[:, *coarsest] = 0
    assert np.abs(coefficients).max() < 1e-4 * first


@pytest.mark.parametrize("how", Fold, ids=lambda how: how.name)
def test_volumes_are_transformed_apart(how):
    values = waves((3, 10, 12, 13)).reshape(fold((3, 10, 12, 13), how))
    together = transformed(values)
    for t in range(len(values)):
        np.testing.assert_array_equal(together[t : t + 1], transformed(values[t : t + 1]))


def transformed(values: np.ndarray) -> np.ndarray:
    out = values.copy()
    transform(out, wavelet.splits(Shape4(*values.shape)), inverse=False)
    return out


def inverted(coefficients: np.ndarray) -> np.ndarray:
    out = coefficients.copy()
    transform(out, wavelet.splits(Shape4(*coefficients.shape)), inverse=True)
    return out
