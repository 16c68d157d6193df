"""The inputs and situations of ``python -m bench robustness``: each a row with a few cases.

Knows no compressor. Arrays are small, seeded and made anew by every process, so that strides and byte
order reach a compressor as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import inf, nan, prod
from typing import Any

import numpy as np

from datasets.synthetic import waves

FLOATS = (np.float32, np.float64)
RELS = (1e-2, 1e-3, 1e-6)


@dataclass(frozen=True)
class Ask:
    """What is asked for an array. ``kind``: absolute, pointwise, psnr or lossless."""

    kind: str
    value: float = 0.0
    fills: tuple[float, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of `lossyzip.compress`, which nobody else has."""


@dataclass(frozen=True)
class Case:
    name: str
    array: np.ndarray
    ask: Ask


@dataclass(frozen=True)
class Situation:
    """A row. ``trial`` says what is done and judged, see robustness.py."""

    name: str
    cases: Callable[[], Iterator[Case]]
    trial: str = "return"
    route: str = "array"
    """ "array": each compressor's own interface; "hdf5": a dataset in a file."""
    fold: bool = True
    """Whether an array that a compressor does not take is also tried with axes merged."""


def wave(shape: tuple[int, ...] = (20, 24, 28), kind: Any = np.float32, seed: int = 1) -> np.ndarray:
    return waves(shape, np.random.default_rng(seed)).astype(kind)


def walk(shape: tuple[int, ...] = (40, 60), kind: Any = np.float32, step: float = 1.0) -> np.ndarray:
    steps = np.random.default_rng(2).standard_normal(shape).cumsum(0)
    return (step * (steps.cumsum(-1) if len(shape) > 1 else steps)).astype(kind)


def noise(shape: tuple[int, ...] = (30, 40), kind: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape).astype(kind)


def absolute(eps: float, *fills: float) -> Ask:
    return Ask("absolute", float(eps), fills)


def rel(array: np.ndarray, share: float, *fills: float) -> Ask:
    """``share`` of the range of valid values."""
    valid = array[np.isfinite(array) & ~np.isin(array, fills)].astype(np.float64)
    return absolute(share * float(valid.max() - valid.min()), *fills)


def name_of(kind: Any) -> str:
    return np.dtype(kind).name


def ordinary(kind: Any) -> Iterator[Case]:
    for share in RELS:
        for label, array in (
            ("wave", wave(kind=kind)),
            ("walk", walk(kind=kind)),
            ("noise", noise(kind=kind)),
        ):
            yield Case(f"{label} {share:g}", array, rel(array, share))


def big_endian() -> Iterator[Case]:
    for kind in (">f4", ">f8"):
        yield Case(kind, wave(kind=kind), absolute(1e-3))


def strided() -> Iterator[Case]:
    whole = wave((40, 48, 28))
    record = np.zeros((30, 40), [("a", "f4"), ("b", "f8")])
    record["a"] = wave((30, 40))
    views = {
        "every other value": whole[::2, ::3],
        "axes swapped": whole.transpose(2, 0, 1),
        "reversed": whole[::-1, :, ::-1],
        "Fortran order": np.asfortranarray(whole),
        "broadcast": np.broadcast_to(wave((24, 28)), (20, 24, 28)),
        "member of a record": record["a"],
    }
    for label, view in views.items():
        yield Case(label, view, absolute(1e-3))


def few_values() -> Iterator[Case]:
    for kind in FLOATS:
        yield Case(f"0-d {name_of(kind)}", np.array(3.14159, kind), absolute(1e-3))
        for length in (1, 2, 3, 5, 1000):
            yield Case(f"{length} {name_of(kind)}", walk((length,), kind), absolute(1e-3))


def flat_axes() -> Iterator[Case]:
    for shape in ((1, 1, 7), (1, 50, 1, 40), (60, 1), (1, 1, 1)):
        yield Case("x".join(map(str, shape)), walk((prod(shape),)).reshape(shape), absolute(1e-3))


def many_axes() -> Iterator[Case]:
    for shape in ((4, 5, 6, 7, 8), (3, 4, 3, 4, 5, 6), (3,) * 7, (2, 3, 2, 3, 2, 3, 2, 5)):
        yield Case(f"{len(shape)}-d", wave(shape), absolute(1e-3))


def empty() -> Iterator[Case]:
    for shape in ((0,), (0, 5), (3, 0, 4)):
        yield Case("x".join(map(str, shape)), np.empty(shape, np.float32), absolute(1e-3))


def halves() -> Iterator[Case]:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    yield Case("wave", wave(kind=np.float16), absolute(1e-2))
    yield Case("walk", walk(kind=np.float16), absolute(1.0))
    yield Case(
        "all bit patterns", np.random.default_rng(4).permutation(every).reshape(256, 256), absolute(0.1)
    )


def integers(kind: Any) -> Iterator[Case]:
    limits = np.iinfo(kind)
    middle, share = (limits.max + limits.min + 1) // 2, min(limits.max // 4, 10**6)
    rng = np.random.default_rng(5)
    smooth = (middle + np.rint(share * wave() / np.abs(wave()).max()).astype(np.int64)).astype(kind)
    high = (limits.max - np.rint(share / 8 * (1 + wave((30, 40)) / 9)).astype(np.int64)).astype(kind)
    wild = rng.integers(limits.min, limits.max, (30, 40), dtype=kind, endpoint=True)
    wild.flat[:4] = limits.min, limits.max, limits.max, limits.min
    for eps in (1.0, 10.0):
        yield Case(f"smooth {eps:g}", smooth, absolute(eps))
        yield Case(f"near the largest {eps:g}", high, absolute(eps))
        yield Case(f"random {eps:g}", wild, absolute(eps))


def booleans() -> Iterator[Case]:
    yield Case("mask", wave() > 0.2, absolute(0.5))


def complexes() -> Iterator[Case]:
    for kind in (np.complex64, np.complex128):
        array = (wave(seed=1) + 1j * wave(seed=2)).astype(kind)
        yield Case(name_of(kind), array, absolute(1e-3))


def with_values(*values: float, share: float = 0.02) -> Callable[[], Iterator[Case]]:
    """A wave, a walk, with ``values`` scattered over them."""

    def cases() -> Iterator[Case]:
        for kind in FLOATS:
            for label, clean in (("wave", wave(kind=kind)), ("walk", walk(kind=kind))):
                rng = np.random.default_rng(6)
                array = clean.copy()
                where = rng.random(array.shape) < share
                array[where] = rng.choice(np.array(values, kind), np.count_nonzero(where))
                yield Case(f"{label} {name_of(kind)}", array, rel(clean, 1e-3))

    return cases


def nan_payloads() -> Iterator[Case]:
    """Quiet and signalling NaN of both signs, whose other bits say something."""
    for kind, bits, quiet in ((np.float32, np.uint32, 0x7FC00000), (np.float64, np.uint64, 0x7FF8 << 48)):
        rng = np.random.default_rng(7)
        array = wave(kind=kind)
        ask = rel(array, 1e-3)
        half = np.dtype(bits).itemsize * 8 - (10 if kind is np.float32 else 13)  # the bit that says quiet
        patterns = [quiet | 1234, quiet - (1 << half) | 77, quiet | 1 << (8 * np.dtype(bits).itemsize - 1)]
        where = rng.random(array.shape) < 0.02
        array.view(bits)[where] = rng.choice(np.array(patterns, bits), np.count_nonzero(where))
        yield Case(name_of(kind), array, ask)


def all_nan() -> Iterator[Case]:
    for kind in FLOATS:
        yield Case(name_of(kind), np.full((20, 24, 28), nan, kind), absolute(1e-3))


def masked_half(fill: float) -> Iterator[Case]:
    """Land that holds ``fill``, the same at all times."""
    for kind in FLOATS:
        clean = 15 + 8 * wave((12, 36, 40), kind)
        array = np.where(wave((36, 40), seed=8) > 0.0, kind(fill), clean)
        for share in (1e-2, 1e-3):
            yield Case(f"{name_of(kind)} {share:g}", array, rel(array, share, float(kind(fill))))


def land_of_nan() -> Iterator[Case]:
    for case in list(masked_half(1e20))[1::2]:
        array = np.where(case.array > 1e19, case.array.dtype.type(nan), case.array)
        yield Case(case.name, array, absolute(case.ask.value))


def masked_arrays() -> Iterator[Case]:
    for kind in FLOATS:
        array = wave(kind=kind)
        yield Case(name_of(kind), np.ma.masked_greater(array, 0.5), absolute(1e-3))


def huge_beside_tiny() -> Iterator[Case]:
    for kind, power in ((np.float32, 38), (np.float64, 300)):
        rng = np.random.default_rng(9)
        array = (rng.choice([-1.0, 1.0], (30, 40)) * 10.0 ** rng.choice([power, -power], (30, 40))).astype(
            kind
        )
        for exponent in (power - 3, 0, -power - 3):
            yield Case(f"{name_of(kind)} 1e{exponent}", array, absolute(10.0**exponent))


def subnormal() -> Iterator[Case]:
    for kind, eps in ((np.float32, 1e-42), (np.float64, 1e-320)):
        array = np.random.default_rng(10).integers(0, 1 << 12, (30, 40)) * np.finfo(kind).smallest_subnormal
        array = array.astype(kind)
        for factor in (1.0, 0.1):
            yield Case(f"{name_of(kind)} {eps * factor:g}", array, absolute(eps * factor))


def random_bits() -> Iterator[Case]:
    for kind in FLOATS:
        raw = np.random.default_rng(11).bytes(60 * 70 * np.dtype(kind).itemsize)
        array = np.frombuffer(raw, kind).reshape(60, 70)
        for eps in (1e-3, 1e10):
            yield Case(f"{name_of(kind)} {eps:g}", array, absolute(eps))


def flat(*values: float) -> Iterator[Case]:
    for kind in FLOATS:
        for value in values:
            yield Case(f"{value:g} {name_of(kind)}", np.full((20, 24, 28), value, kind), absolute(1e-3))


def below_half_an_ulp() -> Iterator[Case]:
    for kind, eps in ((np.float32, 1e-3), (np.float64, 1e-12)):
        yield Case(name_of(kind), 1e6 + walk(kind=kind, step=100.0), absolute(eps))


def right_at_the_bound() -> Iterator[Case]:
    """Errors of exactly eps before rounding, or so near to it that rounding decides."""
    for kind in FLOATS:
        array = 1000 + walk(kind=kind)
        ulp = float(np.spacing(kind(1000)))
        for factor in (0.75, 1.3, 2.7, 6.1):
            yield Case(f"walk {name_of(kind)} {factor} ulp", array, absolute(factor * ulp))
    rng = np.random.default_rng(12)
    steps = rng.integers(-50, 50, (30, 40)).cumsum(-1)
    yield Case("integers 0.5", steps.astype(np.float32), absolute(0.5))
    yield Case("tenths 0.05", (steps / 10).astype(np.float32), absolute(0.05))
    yield Case("tenths 0.05 float64", steps / 10, absolute(0.05))


def with_eps(*values: float) -> Callable[[], Iterator[Case]]:
    def cases() -> Iterator[Case]:
        for kind in FLOATS:
            for eps in values:
                yield Case(f"{eps:g} {name_of(kind)}", wave(kind=kind), absolute(eps))

    return cases


def asking(kind: str, *values: float) -> Callable[[], Iterator[Case]]:
    def cases() -> Iterator[Case]:
        for dtype in FLOATS:
            for label, array in (
                ("wave", wave(kind=dtype)),
                ("walk", walk(kind=dtype)),
                ("noise", noise(kind=dtype)),
            ):
                for value in values:
                    yield Case(f"{label} {name_of(dtype)} {value:g}", array, Ask(kind, value))

    return cases


def again(**options: Any) -> Callable[[], Iterator[Case]]:
    def cases() -> Iterator[Case]:
        for kind in FLOATS:
            for case in ordinary(kind):
                yield Case(
                    f"{case.name} {name_of(kind)}",
                    case.array,
                    Ask("absolute", case.ask.value, options=options),
                )

    return cases


def to_damage() -> Iterator[Case]:
    for kind, array in ((np.float32, wave((24, 40, 40))), (np.float64, walk((100, 120), np.float64))):
        yield Case(name_of(kind), array, rel(array, 1e-3))


SITUATIONS = (
    Situation("float32", partial(ordinary, np.float32)),
    Situation("float64", partial(ordinary, np.float64)),
    Situation("big-endian", big_endian),
    Situation("strided, swapped, reversed, Fortran order", strided),
    Situation("0-d, 1-d, few values", few_values),
    Situation("axes of length 1", flat_axes),
    Situation("5-d to 8-d", many_axes),
    Situation("5-d to 8-d, axes not merged", many_axes, fold=False),
    Situation("empty", empty),
    Situation("float16", halves),
    Situation("int32", partial(integers, np.int32)),
    Situation("int64", partial(integers, np.int64)),
    Situation("uint8", partial(integers, np.uint8)),
    Situation("bool", booleans),
    Situation("complex", complexes),
    Situation("NaN here and there", with_values(nan)),
    Situation("NaN with payloads", nan_payloads),
    Situation("all NaN", all_nan),
    Situation("infinities", with_values(inf, -inf)),
    Situation("-0.0", with_values(-0.0, 0.0)),
    Situation("half is -9999", partial(masked_half, -9999.0)),
    Situation("half is 1e20", partial(masked_half, 1e20)),
    Situation("half is NaN", land_of_nan),
    Situation("masked array", masked_arrays),
    Situation("1e38 beside 1e-38", huge_beside_tiny),
    Situation("subnormal numbers", subnormal),
    Situation("random bits", random_bits),
    Situation("constant, all zero", partial(flat, 0.0, 1.0, 273.15, -1e30)),
    Situation("errors right at eps", right_at_the_bound),
    Situation("eps below half an ulp", below_half_an_ulp),
    Situation("eps 0", with_eps(0.0)),
    Situation("eps above the range, infinite", with_eps(100.0, 1e30, inf)),
    Situation("eps negative, NaN", with_eps(-1e-3, -inf, nan), "nonsense"),
    Situation("pointwise relative bound", asking("pointwise", 1e-2, 1e-4)),
    Situation("PSNR", asking("psnr", 40.0, 60.0, 80.0)),
    Situation("lossless", asking("lossless", 0.0)),
    Situation("compressed again: unchanged", again(), "again"),
    Situation('compressed again, `effort="fast"`', again(effort="fast"), "again"),
    Situation("compressed again, `idempotent=True`", again(idempotent=True), "again"),
    Situation("HDF5: float32", partial(ordinary, np.float32), route="hdf5"),
    Situation("HDF5: NaN here and there", with_values(nan), route="hdf5"),
    Situation("HDF5: half is NaN", land_of_nan, route="hdf5"),
    Situation("HDF5: half is -9999", partial(masked_half, -9999.0), route="hdf5"),
    Situation("HDF5: half is 1e20", partial(masked_half, 1e20), route="hdf5"),
    Situation("HDF5: infinities", with_values(inf, -inf), route="hdf5"),
    Situation("damage: cut short", to_damage, "cut"),
    Situation("damage: one bit flipped", to_damage, "flip"),
    Situation("damage: random bytes", to_damage, "random"),
    Situation("damage: no bytes", to_damage, "none"),
    Situation("damage: another's stream", to_damage, "foreign"),
)
