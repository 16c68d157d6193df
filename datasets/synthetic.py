"""Small fields for the tests, one for each habit of real data. Seeded; knows nothing of compression."""

from __future__ import annotations

import numpy as np

FILL = 1e20  # the fill value of the field "masked"


def fields(seed: int = 0) -> dict[str, np.ndarray]:
    """Name -> array, float32 unless the name ends in _f64, each under 200,000 values."""
    rng = np.random.default_rng(seed)
    return {
        "wave_2d": waves((240, 320), rng),
        "wave_3d": waves((40, 56, 64), rng),
        "wave_4d": waves((6, 12, 40, 48), rng),
        "wave_3d_f64": waves((32, 48, 64), rng).astype(np.float64) + 1e-9 * rng.standard_normal((32, 48, 64)),
        "walk_1d": np.cumsum(rng.standard_normal(100_000)).astype(np.float32),
        "masked": masked(rng),
        "sparse": sparse(rng),
        "rounded": np.round(10.0 + 5.0 * waves((24, 60, 90), rng), 1).astype(np.float32),
        "repeated": repeated(rng),
        "noise": rng.standard_normal((40, 50, 60)).astype(np.float32),
    }


def waves(shape: tuple[int, ...], rng: np.random.Generator, count: int = 24) -> np.ndarray:
    """A sum of plane waves whose amplitude falls with the wavenumber: smooth, without being periodic."""
    axes = np.meshgrid(*(np.linspace(0.0, 1.0, size) for size in shape), indexing="ij", sparse=True)
    total = np.zeros(shape)
    for number in range(1, count + 1):
        direction = rng.standard_normal(len(shape))
        direction *= 2.0 * number / np.linalg.norm(direction)
        phase = sum(k * axis for k, axis in zip(direction, axes, strict=True))
        total += np.sin(2 * np.pi * (phase + rng.random())) / number**1.5
    return total.astype(np.float32)


def masked(rng: np.random.Generator) -> np.ndarray:
    """Months of an ocean field: the same land everywhere in time, which holds FILL."""
    shape = (12, 72, 120)
    land = waves(shape[1:], rng) > 0.4
    values = 15.0 + 8.0 * waves(shape, rng) + 0.05 * rng.standard_normal(shape)
    return np.where(land, FILL, values).astype(np.float32)


def sparse(rng: np.random.Generator) -> np.ndarray:
    """Rain: mostly exact zeros, smooth inside its patches, over four decades."""
    rain = np.exp(3.0 * waves((16, 80, 96), rng)) - 12.0
    return (np.maximum(rain, 0.0) * 1e-5).astype(np.float32)


def repeated(rng: np.random.Generator) -> np.ndarray:
    """A base state that stays exactly the same along time, with a profile along height."""
    profile = np.linspace(9e4, 1e4, 14)[:, None, None]
    return np.tile(profile + 300.0 * waves((14, 40, 48), rng), (6, 1, 1, 1)).astype(np.float32)
