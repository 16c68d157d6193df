"""Random arrays of many kinds, for tests of what holds for any."""

from __future__ import annotations

import numpy as np

from datasets import synthetic


def shape_of(rng: np.random.Generator) -> tuple[int, ...]:
    """Up to five axes, mostly of few values; now and then none, or none at all."""
    axes = int(rng.integers(0, 6))
    most = int(rng.choice([30, 400, 4000]))
    shape: list[int] = []
    for _ in range(axes):
        left = max(most // max(int(np.prod(shape)), 1), 1)
        shape.append(int(rng.integers(1, max(int(left ** rng.random()) + 1, 2))))
    if axes and rng.random() < 0.02:
        shape[int(rng.integers(axes))] = 0
    return tuple(shape)


def content_of(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> tuple[np.ndarray, str]:
    """An array of ``dtype``, and what it is like."""
    if dtype.kind == "c":
        part = np.dtype(f"f{dtype.itemsize // 2}")
        array = np.empty(shape, dtype)
        (array.real, kind), (array.imag, _) = (content_of(rng, shape, part) for _ in range(2))
        return array, kind
    if dtype.kind in "biu" and rng.random() < 0.8:
        array, kind = content_of(rng, shape, np.dtype("f8"))
        numbers = np.nan_to_num(array * 10.0 ** rng.integers(0, 6), posinf=0, neginf=0)
        limits = np.iinfo(dtype) if dtype.kind != "b" else np.iinfo("u1")
        return np.clip(numbers, float(limits.min), float(limits.max) * (1 - 2**-50)).astype(dtype), kind
    size = int(np.prod(shape))
    kind = str(
        rng.choice(["waves", "noise", "bits", "constant", "steps", "walk", "decades", "spikes", "edges"])
    )
    if kind == "waves" and shape and size:
        array = synthetic.waves(shape, rng, 5).astype(np.float64)
    elif dtype.kind == "b":
        return rng.random(shape) < 0.5, "bits"
    elif kind == "bits" or dtype.kind != "f":
        unsigned = np.dtype(f"u{dtype.itemsize}")
        return rng.integers(0, np.iinfo(unsigned).max, shape, unsigned, endpoint=True).view(dtype), "bits"
    elif kind == "constant":
        array = np.full(shape, rng.choice([0.0, -0.0, 1.5, 1e-40, 3e30]))
    elif kind == "steps":
        array = np.round(3.0 * rng.standard_normal(shape)) / 4.0
    elif kind == "walk":
        array = np.cumsum(rng.standard_normal(size)).reshape(shape)
    elif kind == "decades":
        array = np.exp(10.0 * rng.standard_normal(shape)) * rng.choice([-1.0, 1.0], shape)
    elif kind == "spikes":
        array = np.where(rng.random(shape) < 0.05, 10.0 ** rng.integers(-30, 30, shape), 0.0)
    elif kind == "edges":
        limits = np.finfo(dtype)
        edges = [
            limits.max,
            -limits.max,
            limits.max / 64,
            limits.tiny,
            -limits.tiny,
            limits.tiny / 8,
            0.0,
            1.0,
        ]
        array = rng.choice([float(edge) for edge in edges], shape)
    else:
        array = rng.standard_normal(shape)
    if kind in ("noise", "walk"):
        array = array * 10.0 ** rng.integers(-20, 20)
    return np.asarray(array).astype(dtype), kind
