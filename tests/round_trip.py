"""There and back, with all that is asked of it."""

from __future__ import annotations

import exact
import numpy as np

import lossyzip as lz

BOUNDS = [lz.absolute(1e-3), lz.relative(1e-2), lz.relative(1e-5), lz.lossless()]
DTYPES = ["<f4", "<f8", ">f4", ">f8"]


def round_trip(
    array: np.ndarray, bound: lz.Bound, fill: tuple[float, ...] = (), **options: object
) -> np.ndarray:
    """Compress, decompress, and check all that the guarantee says."""
    blob = lz.compress(array, bound, fill_value=fill or None, **options)
    decoded = lz.decompress(blob)
    eps = exact.tolerance(array, bound.kind, bound.value, fill)
    broken = exact.violations(array, decoded, eps, fill)
    assert not broken.size, (broken.size, array.flat[broken[0]], decoded.flat[broken[0]], float(eps))
    valid, finite = array[np.isfinite(array)], decoded[np.isfinite(decoded)]
    if finite.size:
        assert valid.min() <= finite.min()
        assert finite.max() <= valid.max()
    said = lz.inspect(blob)
    assert (said.shape, said.dtype, said.bound) == (array.shape, array.dtype.str, str(bound))
    assert said.eps <= eps
    assert said.compressed_bytes == len(blob) == sum(said.sections.values())
    verified = lz.verify(array, blob, fill_value=fill or None)
    assert (verified.violations, verified.first_violation) == (0, None)
    assert verified.max_error == said.max_error <= said.eps
    return decoded


def wave(shape: tuple[int, ...], dtype: str = "<f4") -> np.ndarray:
    """Smooth, of any shape, and not the same along any axis."""
    total = np.zeros(shape)
    for axis, length in enumerate(shape):
        line = np.sin((1 + axis) * np.linspace(0.0, 5.0, length) + axis)
        total = total + line.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return total.astype(dtype)
