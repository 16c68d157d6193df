"""Random fields with random references and enhancers, and an exact checker that shares no code with lossyzip.

LOSSYZIP_CASES=5000 LOSSYZIP_FIRST_CASE=0 python -m pytest -m slow tests/test_random_helped.py
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

import exact
import numpy as np
import pytest
from random_fields import content_of

import lossyzip as lz
from datasets import synthetic

FEW = 30
CASES = int(os.environ.get("LOSSYZIP_CASES", "300"))
FIRST = int(os.environ.get("LOSSYZIP_FIRST_CASE", "0"))
FILL = -9999.0
RELATIONS = ["noisy", "function", "negated", "product", "unrelated", "constant", "nothing"]
HAS_TORCH = importlib.util.find_spec("torch") is not None


@dataclass
class Case:
    """What goes into `lossyzip.compress`, and what to make of it."""

    array: np.ndarray
    content: str
    relations: list[str]
    references: list[np.ndarray]
    kind: str
    value: float
    fills: tuple[float, ...]
    options: dict[str, Any]


def field_of(rng: np.random.Generator, dtype: np.dtype) -> tuple[np.ndarray, str]:
    """Of one to four axes of four or more, and sometimes one of 1; one in six is worth an enhancer."""
    if rng.random() < 1 / 6:
        shape = tuple(int(n) for n in rng.integers(32, 40, 3))
        noise = 10.0 ** rng.uniform(-4, -1) * rng.standard_normal(shape)
        return (synthetic.waves(shape, rng, 5) + noise).astype(dtype), "waves"
    axes, most = int(rng.integers(1, 5)), int(rng.choice([300, 3000, 10000]))
    side = most ** (1 / axes)
    shape = tuple(int(rng.integers(4, max(int(side * rng.uniform(0.5, 2)), 5))) for _ in range(axes))
    shape = (*shape, 1) if rng.random() < 0.05 else shape
    return content_of(rng, shape, dtype)


def reference_for(rng: np.random.Generator, array: np.ndarray) -> tuple[np.ndarray, str]:
    """An array of floats at the field's points, or one more or fewer along an axis, and what it is."""
    relation = str(rng.choice(RELATIONS))
    with np.errstate(all="ignore"):
        known = array.astype(np.float64)
        scale = float(np.nanmedian(np.abs(known))) if np.isfinite(known).any() else 1.0
        scale = scale if 0.0 < scale < np.inf else 1.0
        if relation == "noisy":
            made = known + scale * 10.0 ** rng.integers(-6, 1) * rng.standard_normal(array.shape)
        elif relation == "function":
            made = np.arcsinh(known / scale) * 10.0 ** rng.integers(-3, 4)
        elif relation == "negated":
            made = -known
        elif relation == "product":
            made = known * content_of(rng, array.shape, np.dtype("f8"))[0]
        elif relation == "unrelated":
            made = content_of(rng, array.shape, np.dtype("f8"))[0]
        elif relation == "constant":
            made = np.full(array.shape, rng.choice([0.0, -3.0, 1e30]))
        else:
            made = np.full(array.shape, rng.choice([np.nan, np.inf]))
        if rng.random() < 0.3:
            made = np.where(rng.random(array.shape) < 0.1, rng.choice([np.nan, -np.inf, FILL]), made)
        if rng.random() < 0.3:
            axis = int(rng.integers(array.ndim))
            if array.shape[axis] > 4 and rng.random() < 0.5:
                made = np.delete(made, 0, axis)
            elif array.shape[axis] > 3:
                made = np.concatenate([made, made.take([-1], axis)], axis)
        return made.astype(str(rng.choice(["<f4", ">f4", "<f8"]))), relation


def case_of(seed: int) -> Case:
    rng = np.random.default_rng([11, seed])
    dtype = np.dtype(str(rng.choice(["f4", "f8"])))
    array, content = field_of(rng, dtype)
    flat = array.reshape(-1)
    if rng.random() < 0.3:
        special = rng.choice([np.nan, np.inf, -np.inf, -0.0], flat.size)
        flat[:] = np.where(rng.random(flat.size) < 0.1, special, flat)
    fills: tuple[float, ...] = ()
    if rng.random() < 0.3:
        fills = (FILL,)
        flat[: int(rng.integers(flat.size))] = FILL
    made = [reference_for(rng, array) for _ in range(int(rng.integers(0, 4)))]
    if rng.random() < 0.2:
        array = array.astype(dtype.newbyteorder())
    kind = str(rng.choice(["absolute", "relative", "psnr"], p=[0.4, 0.4, 0.2]))
    valid = array[np.isfinite(array) & (array != FILL)].astype(np.float64)
    spread = float(np.ptp(valid)) if valid.size and np.ptp(valid) < np.inf else 1.0
    value = 10.0 ** rng.uniform(-6, -0.5)
    value = {"absolute": value * (spread or 1.0), "relative": value, "psnr": rng.uniform(20, 90)}[kind]
    if kind == "absolute":
        value = min(value, 1e300)
    enhance = str(rng.choice(["", "offsets", "network"], p=[0.3, 0.6, 0.1]))
    options: dict[str, Any] = {
        "effort": str(rng.choice(["fast", "balanced", "max"], p=[0.3, 0.5, 0.2])),
        "enhance": enhance or False,
        "train_seconds": 0.1 if HAS_TORCH and rng.random() < 0.1 else 0.0,
    }
    relations, references = [relation for _, relation in made], [reference for reference, _ in made]
    return Case(array, content, relations, references, kind, value, fills, options)


def problem_of(case: Case, blob: bytes) -> str:
    """What is wrong with what comes back; nothing, hopefully."""
    for enhance in (True, False):
        for threads in (1, 2):
            decoded = lz.decompress(blob, references=case.references, enhance=enhance, threads=threads)
            if problem := wrong_with(decoded, case, promised=enhance or case.kind != "psnr"):
                return f"enhance={enhance}, {threads} threads: {problem}"
    return ""


def wrong_with(decoded: np.ndarray, case: Case, *, promised: bool) -> str:
    """``promised``: whether the bound holds for these; plain values have no PSNR of their own."""
    if (decoded.shape, decoded.dtype) != (case.array.shape, case.array.dtype):
        return f"{decoded.dtype.str} {decoded.shape}"
    if case.kind != "psnr":
        eps = exact.tolerance(case.array, case.kind, case.value, case.fills)
        bad = exact.violations(case.array, decoded, eps, case.fills).size
        return f"{bad} violations" if bad else ""
    bad = exact.violations(case.array, decoded, float(np.finfo(np.float64).max), case.fills).size
    if bad:
        return f"{bad} special values changed"
    return f"{psnr(case, decoded)} dB" if promised and psnr(case, decoded) < case.value else ""


def psnr(case: Case, decoded: np.ndarray) -> float:
    """Over valid values, in units of their range."""
    counts = np.isfinite(case.array) & (case.array != FILL if case.fills else True)
    valid, back = case.array[counts].astype(np.float64), decoded[counts].astype(np.float64)
    if (valid == back).all():
        return math.inf
    errors = (valid - back) / (valid.max() - valid.min())
    return -10.0 * math.log10(math.fsum(errors * errors) / errors.size) + 1e-9


def needs_references(blob: bytes) -> bool:
    try:
        lz.decompress(blob)
    except lz.MissingReferenceError:
        return True
    return False


def run(seeds: range) -> Counter[str]:
    """How many cases of each kind there were; no case has a problem."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        case = case_of(seed)
        makers = {"absolute": lz.absolute, "relative": lz.relative, "psnr": lz.psnr}
        blob = lz.compress(
            *(case.array, makers[case.kind](case.value)),
            references=case.references,
            threads=1,
            fill_value=case.fills or None,
            **case.options,
        )
        problem = problem_of(case, blob)
        assert not problem, f"case {seed}: {problem}; {case}"
        seen.update([case.content, case.kind, case.options["effort"], *case.relations])
        seen.update(["enhanced"] if lz.inspect(blob).enhancer else [])
        seen.update(["helped"] if needs_references(blob) else [])
    return seen


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_some_random_cases():
    seen = run(range(FEW))
    assert {"enhanced", "helped", *RELATIONS} <= seen.keys()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_many_random_cases():
    seen = run(range(FIRST, FIRST + CASES))
    print(f"\n{CASES} cases from {FIRST} on, 0 violations: {dict(seen)}")
