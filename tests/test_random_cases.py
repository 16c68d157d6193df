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
from random_fields import content_of, shape_of

import lossyzip as lz

FEW = 250
CASES = int(os.environ.get("LOSSYZIP_CASES", "2000"))
FIRST = int(os.environ.get("LOSSYZIP_FIRST_CASE", "0"))
FILL = -9999
DTYPES = ["f4", "f8", "f2", "c8", "c16", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "b1"]
SHARES = [0.3, 0.3, 0.08, 0.05, 0.03, *[0.24 / 9] * 9]


@dataclass
class Case:
    """What goes into `lossyzip.compress`, and what to make of it."""

    array: np.ndarray  # or a masked array
    content: str
    kind: str
    value: float | np.ndarray
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


def case_of(seed: int) -> Case:
    rng = np.random.default_rng([7, seed])
    dtype = np.dtype(str(rng.choice(DTYPES, p=SHARES)))
    array, content = content_of(rng, shape_of(rng), dtype)
    array = np.asarray(array)
    flat = array.reshape(-1)
    if flat.size and dtype.kind in "fc" and rng.random() < 0.25:
        special = rng.choice([np.nan, np.inf, -np.inf, -0.0], flat.size)
        flat[:] = np.where(rng.random(flat.size) < 0.2, special, flat)
    fills: tuple[float, ...] = ()
    if flat.size and dtype.str[1:] not in ("i1", "u1", "u2", "u4", "u8", "b1") and rng.random() < 0.2:
        fills = (FILL,)
        flat[: int(rng.integers(flat.size + 1))] = FILL
    if rng.random() < 0.3:
        array = array.astype(dtype.newbyteorder())
    if array.ndim > 1 and rng.random() < 0.3:
        array = array.transpose(rng.permutation(array.ndim))
    if array.ndim and rng.random() < 0.2:
        array = array[::-1]
    shares = [0.4, 0.3, 0.0 if dtype.kind in "biu" else 0.2, 0.1]
    kinds = ["absolute", "relative", "pointwise_relative", "lossless"]
    kind = str(rng.choice(kinds, p=np.array(shares) / sum(shares)))
    exponent = rng.uniform(-9, 1 if kind == "absolute" else -0.01)
    valid = array[np.isfinite(array) & (array != FILL)]
    valid = np.abs(valid.astype(np.complex128 if dtype.kind == "c" else np.float64))
    scale = float(rng.choice(valid)) if kind == "absolute" and valid.size and rng.random() < 0.8 else 1.0
    value: float | np.ndarray = min(10.0**exponent * (scale or 1.0), 1e300)
    if kind in ("absolute", "relative") and rng.random() < 0.1:
        value = value * 2.0 ** rng.integers(-8, 1, array.shape[int(rng.integers(array.ndim + 1)) :])
        value = np.where(rng.random(value.shape) < 0.1, 0.0, value)
    effort = str(rng.choice(["fast", "balanced", "max"], p=[0.5, 0.35, 0.15]))
    idempotent = dtype.kind in "fc" and dtype.itemsize > 2 and not np.ndim(value)
    idempotent = idempotent and kind in ("absolute", "relative") and rng.random() < 0.1
    if rng.random() < 0.1:
        array = np.ma.MaskedArray(array, rng.random(array.shape) < rng.choice([0.0, 0.1, 0.5, 1.0]))
    return Case(array, content, kind, value, fills, effort, idempotent)


def problem_of(case: Case) -> str:
    """What is wrong with what comes back; nothing, hopefully."""
    before = np.ma.getdata(case.array).copy()
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
    if before.tobytes() != np.ma.getdata(case.array).tobytes():
        return "the input was changed"
    if type(decoded) is not type(case.array):
        return f"{type(decoded)}"
    kept = ~np.ma.getmaskarray(case.array)
    if (np.ma.getmaskarray(decoded) == kept).any():
        return "another mask"
    a, b = before[kept], np.ma.getdata(decoded)[kept]
    if case.kind == "pointwise_relative":
        bad = exact.pointwise_violations(a, b, case.value, case.fills).size
    else:
        values = np.broadcast_to(case.value, kept.shape)[kept]
        bad = 0
        for value in np.unique(values):
            eps = exact.tolerance(a, case.kind, float(value), case.fills)
            bad += exact.violations(a[values == value], b[values == value], eps, case.fills).size
    return f"{bad} violations" if bad else ""


def run(seeds: range) -> Counter[str]:
    """How many cases of each content, kind of bound and effort there were; no case has a problem."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        case = case_of(seed)
        problem = problem_of(case)
        assert not problem, f"case {seed}: {problem}; {case}"
        how = ["masked"] if isinstance(case.array, np.ma.MaskedArray) else []
        how += ["regions"] if np.ndim(case.value) else []
        seen.update([case.content, case.kind, case.effort, case.array.dtype.str[1:], *how])
    return seen


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_some_random_cases():
    seen = run(range(FEW))
    assert len(seen) == 9 + 4 + 3 + len(DTYPES) + 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_many_random_cases():
    seen = run(range(FIRST, FIRST + CASES))
    print(f"\n{CASES} cases from {FIRST} on, 0 violations: {dict(seen)}")
