"""What enhanced values are judged by: mean squares of errors, or of errors of gradients, or power spectra.

Of each tile sums are taken that add up over tiles, and of these a value, of which less is better. Gradients
and spectra do not look across the edges of tiles.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from lossyzip.learned.neighbourhood import folded


class Objective(Protocol):
    def sums(
        self, original: np.ndarray, decoded: np.ndarray, left_out: np.ndarray, unit: float
    ) -> np.ndarray:
        """Float64, of a tile's values; those ``left_out`` (bool) do not count. ``unit``: the field's, that
        values are divided by."""

    def value(self, sums: np.ndarray) -> float:
        """NaN where they tell nothing."""


class MeanSquare:
    """That of errors."""

    def sums(
        self, original: np.ndarray, decoded: np.ndarray, left_out: np.ndarray, unit: float
    ) -> np.ndarray:
        errors = _errors(original, decoded, left_out, unit)
        return np.array([np.square(errors).sum(), errors.size - np.count_nonzero(left_out)])

    def value(self, sums: np.ndarray) -> float:
        return float(sums[0] / sums[1]) if sums[1] else np.nan


class Gradient(MeanSquare):
    """That of errors of the gradient: central differences, half of v[i + 1] - v[i - 1], along each axis."""

    def sums(
        self, original: np.ndarray, decoded: np.ndarray, left_out: np.ndarray, unit: float
    ) -> np.ndarray:
        errors, total = _errors(original, decoded, left_out, unit), np.zeros(2)
        for axis in range(errors.ndim):
            e, void = np.moveaxis(errors, axis, 0), np.moveaxis(left_out, axis, 0)
            known = ~(void[2:] | void[:-2])
            with np.errstate(over="ignore", invalid="ignore"):
                total += np.square(0.5 * (e[2:] - e[:-2])[known]).sum(), np.count_nonzero(known)
        return total


class Spectrum:
    """How far the power of waves is off: |decoded / original - 1|, the mean over shells of wavenumbers up to
    half of Nyquist's. Waves are along the last three axes of length > 1 of a tile, the ``longest`` of which
    has so many values."""

    def __init__(self, longest: int) -> None:
        self._longest = longest

    def sums(
        self, original: np.ndarray, decoded: np.ndarray, left_out: np.ndarray, unit: float
    ) -> np.ndarray:
        shape = folded(original.shape)
        kept = ~left_out.reshape(shape)
        axes = [-(k + 1) for k in range(3) if shape[-(k + 1)] > 1]
        found = np.zeros((2, self._longest // 4 + 1))
        if not axes or not kept.any():
            return found
        frequencies = [np.fft.fftfreq(n) for n in shape[1:]]
        frequencies[2] = np.fft.rfftfreq(shape[3])
        squares = sum(
            f.reshape([-1 if k == j else 1 for j in range(3)]) ** 2 for k, f in enumerate(frequencies)
        )
        shells = np.rint(np.sqrt(squares) * self._longest).astype(np.int64)
        both = np.where((frequencies[2] > 0.0) & (frequencies[2] < 0.5), 2.0, 1.0)
        inside = shells < found.shape[1]
        middle = float(original.reshape(shape)[kept].astype(np.float64).mean())
        for k, values in enumerate((original, decoded)):
            with np.errstate(over="ignore", invalid="ignore"):
                waves = np.where(kept, (values.reshape(shape).astype(np.float64) - middle) / unit, 0.0)
                power = (np.abs(np.fft.rfftn(waves, axes=(1, 2, 3))) ** 2).sum(axis=0) * both
                found[k] = np.bincount(shells[inside], power[inside], found.shape[1])
        return found

    def value(self, sums: np.ndarray) -> float:
        original, decoded = sums[:, 1:]  # waves of length 0 are the mean
        known = original > 0.0
        return float(np.abs(decoded[known] / original[known] - 1.0).mean()) if known.any() else np.nan


def objective_of(name: str, tile_shape: tuple[int, ...]) -> Objective:
    """That of container/enhanced.py with this ``name``."""
    if name == "spectrum":
        return Spectrum(max(folded(tile_shape)[1:]))
    return Gradient() if name == "gradient" else MeanSquare()


def _errors(original: np.ndarray, decoded: np.ndarray, left_out: np.ndarray, unit: float) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        errors: np.ndarray = (original.astype(np.float64) - decoded.astype(np.float64)) / unit
    errors[left_out] = 0.0
    return errors
