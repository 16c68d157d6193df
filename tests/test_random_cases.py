"""Random fields, bounds and options, and an exact checker that shares no code with lossyzip.

LOSSYZIP_CASES=20000 LOSSYZIP_FIRST_CASE=0 python -m pytest -m slow tests/test_random_cases.py
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

import exact
import numpy as np
import pytest

import lossyzip as lz
from datasets import synthetic

FEW = 250
CASES = int(os.environ.get("LOSSYZIP_CASES", "2000"))
FIRST = int(os.environ.get("LOSSYZIP_FIRST_CASE", "0"))
FILL = -9999.0


@dataclass
class Case:
    """What goes into `lossyzip.compress`, and what to make of it."""

    array: np.ndarray
    content: str
    kind: str
    value: float
    fills: tuple[float, ...]
    effort: str
    idempotent: bool

    def bound(self) -> lz.Bound:
        makers = {
            "absolute": lz.absolute,
            "relative": lz.relative,
            "pointwise_relative": lz.pointwise_relative,
        }
        return makers[self.kind](self.value) if self.kind in makers else lz.lossless()


def shape_of(rng: np.random.Generator) -> tuple[int, ...]:
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
    size = int(np.prod(shape))
    kind = str(
        rng.choice(["waves", "noise", "bits", "constant", "steps", "walk", "decades", "spikes", "edges"])
    )
    if kind == "waves" and shape and size:
        array = synthetic.waves(shape, rng, 5).astype(np.float64)
    elif kind == "bits":
        unsigned = np.dtype(f"u{dtype.itemsize}")
        return rng.integers(0, np.iinfo(unsigned).max, shape, unsigned, endpoint=True).view(dtype), kind
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


def case_of(seed: int) -> Case:
    rng = np.random.default_rng([7, seed])
    dtype = np.dtype(str(rng.choice(["f4", "f8"])))
    array, content = content_of(rng, shape_of(rng), dtype)
    flat = array.reshape(-1)
    if flat.size and rng.random() < 0.25:
        special = rng.choice([np.nan, np.inf, -np.inf, -0.0], flat.size)
        flat[:] = np.where(rng.random(flat.size) < 0.2, special, flat)
    fills: tuple[float, ...] = ()
    if flat.size and rng.random() < 0.2:
        fills = (FILL,)
        flat[: int(rng.integers(flat.size + 1))] = FILL
    if rng.random() < 0.3:
        array = array.astype(dtype.newbyteorder())
    if array.ndim > 1 and rng.random() < 0.3:
        array = array.transpose(rng.permutation(array.ndim))
    if array.ndim and rng.random() < 0.2:
        array = array[::-1]
    kind = str(rng.choice(["absolute", "relative", "pointwise_relative", "lossless"], p=[0.4, 0.3, 0.2, 0.1]))
    exponent = rng.uniform(-9, 1 if kind == "absolute" else -0.01)
    valid = np.abs(array[np.isfinite(array) & (array != FILL)].astype(np.float64))
    scale = float(rng.choice(valid)) if kind == "absolute" and valid.size and rng.random() < 0.8 else 1.0
    value = min(10.0**exponent * (scale or 1.0), 1e300)
    effort = str(rng.choice(["fast", "balanced", "max"], p=[0.5, 0.35, 0.15]))
    idempotent = kind in ("absolute", "relative") and rng.random() < 0.1
    return Case(array, content, kind, value, fills, effort, idempotent)


def problem_of(case: Case) -> str:
    """What is wrong with what comes back; nothing, hopefully."""
    before = case.array.copy()
    blob = lz.compress(
        *(case.array, case.bound()),
        effort=case.effort,
        idempotent=case.idempotent,
        threads=1,
        fill_value=case.fills or None,
    )
    decoded = lz.decompress(blob, threads=1)
    if (decoded.shape, decoded.dtype) != (case.array.shape, case.array.dtype):
        return f"{decoded.dtype.str} {decoded.shape}"
    if before.tobytes() != case.array.tobytes():
        return "the input was changed"
    if case.kind == "pointwise_relative":
        bad = exact.pointwise_violations(case.array, decoded, case.value, case.fills)
    else:
        eps = exact.tolerance(case.array, case.kind, case.value, case.fills)
        bad = exact.violations(case.array, decoded, eps, case.fills)
    return f"{bad.size} violations, the first at {bad[0]}" if bad.size else ""


def run(seeds: range) -> Counter[str]:
    """How many cases of each content, kind of bound and effort there were; no case has a problem."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        case = case_of(seed)
        problem = problem_of(case)
        assert not problem, f"case {seed}: {problem}; {case}"
        seen.update([case.content, case.kind, case.effort])
    return seen


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_some_random_cases():
    seen = run(range(FEW))
    assert len(seen) == 9 + 4 + 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_many_random_cases():
    seen = run(range(FIRST, FIRST + CASES))
    print(f"\n{CASES} cases from {FIRST} on, 0 violations: {dict(seen)}")
