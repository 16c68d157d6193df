"""What is left of a field beside its values' errors: its power spectrum, and the structure of its slices.

Written apart from lossyzip, which knows neither.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

HALF_NYQUIST = 0.25  # cycles a sample
WINDOW = 11  # of the Gaussian of Wang et al. (2004), sigma 1.5; smaller slices have no SSIM


def spectrum_error(original: np.ndarray, decoded: np.ndarray) -> float:
    """Mean of abs(P_decoded / P_original - 1) over the wavenumbers up to half Nyquist.

    P is the radial mean of the squared amplitudes; a bin is as wide as the lowest wavenumber of the longest
    axis. Bins in which the original has no power are left out; NaN where there is no other.
    """
    shape = tuple(n for n in original.shape if n > 1) or (1,)
    mean = float(original.mean(dtype=np.float64))
    before, after = (_powers(array.reshape(shape).astype(np.float64) - mean) for array in (original, decoded))
    some = before > 0.0
    return float(np.abs(after[some] / before[some] - 1.0).mean()) if some.any() else float("nan")


def _powers(array: np.ndarray) -> np.ndarray:
    """Sums of squared amplitudes by wavenumber: from 1 to a quarter of the longest axis' values."""
    power = np.abs(np.fft.rfftn(array)) ** 2
    last = array.shape[-1]
    power[..., 1 : (last + 1) // 2] *= 2.0  # those that rfftn leaves out are their conjugates
    squares = np.zeros(power.shape)
    for axis, n in enumerate(array.shape):
        along = np.fft.rfftfreq(n) if axis == array.ndim - 1 else np.fft.fftfreq(n)
        squares += np.square(along).reshape([-1 if other == axis else 1 for other in range(array.ndim)])
    longest = max(array.shape)
    number = np.rint(np.sqrt(squares) * longest).astype(np.intp)
    sums = np.bincount(number.ravel(), power.ravel())
    return sums[1 : int(HALF_NYQUIST * longest) + 1]


def structural_similarity(original: np.ndarray, decoded: np.ndarray, span: float) -> float:
    """Mean SSIM of the 2-D slices through the middle, one for each pair of axes; ``span``: the field's range.

    Axes shorter than the window are left out; NaN where no pair is left.
    """
    from skimage.metrics import structural_similarity as ssim

    long = [axis for axis, n in enumerate(original.shape) if n >= WINDOW]
    found = []
    for pair in combinations(long, 2):
        where = tuple(slice(None) if axis in pair else n // 2 for axis, n in enumerate(original.shape))
        slices = original[where].astype(np.float64), decoded[where].astype(np.float64)
        how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        found.append(ssim(*slices, data_range=span, **how))
    return float(np.mean(found)) if found else float("nan")
