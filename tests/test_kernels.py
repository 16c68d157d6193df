"""Kernels and their plain twins: the same bits, whatever the values."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from plans import FAMILIES, random_plan
from reference import codes as reference_codes
from reference import readers
from reference.passes import fold as reference_fold
from reference.quantizer import Quantizer as ReferenceQuantizer

from lossyzip import bound, checker
from lossyzip._jit import kernel
from lossyzip.decompose import buffer, families, schedule, wavelet
from lossyzip.decompose.fold import Fold
from lossyzip.decompose.rows import CELLS, Lattice, within
from lossyzip.entropy import contexts, stream, tokens
from lossyzip.entropy.bits import BitReader, BitWriter, get_varint, put_varint
from lossyzip.entropy.tokens import OUTLIER, RADIUS, Symbols

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
ROOT = Path(__file__).parents[1]
DTYPES = st.sampled_from([np.dtype("f4"), np.dtype("f8")])
EPS = st.one_of(
    st.sampled_from([1e-300, 1e-45, 1e-38, 1e-3, 0.1, 0.5, 1.0, 1e30, 1e300]),
    st.floats(1e-300, 1e300),
)


def exceeds(original: np.floating, decoded: np.floating, eps: float) -> bool:
    """By definition."""
    if not (np.isfinite(original) and np.isfinite(decoded)):
        return True
    return abs(Fraction(float(original)) - Fraction(float(decoded))) > Fraction(eps)


@st.composite
def pairs(draw, dtype: np.dtype, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Values, and others that are anything, near, or eps away as exactly as the dtype can."""
    values = hnp.from_dtype(dtype, allow_nan=True, allow_infinity=True, allow_subnormal=True)
    a = draw(hnp.arrays(dtype, st.integers(1, 12), elements=values))
    b = draw(hnp.arrays(dtype, a.shape, elements=values))
    for k, how in enumerate(draw(st.lists(st.integers(0, 6), min_size=a.size, max_size=a.size))):
        if how:
            away = float(a[k]) + (0.0, eps, -eps)[how % 3]
            b[k] = np.nextafter(dtype.type(away), dtype.type((np.inf, -np.inf)[how % 2])) if how > 3 else away
    return a, b


@given(data=st.data(), dtype=DTYPES, eps=EPS)
@settings(max_examples=300)
def test_compare_is_exact(data, dtype, eps):
    a, b = data.draw(pairs(dtype, eps))
    a_bits, b_bits = a.view(f"u{dtype.itemsize}"), b.view(f"u{dtype.itemsize}")
    negative_zero = (a == 0) & np.signbit(a)
    bad = [
        a_bits[k] != b_bits[k] and bool(negative_zero[k] or exceeds(a[k], b[k], eps)) for k in range(a.size)
    ]
    result = np.zeros(5)
    checker.compare(a, b, a_bits, b_bits, eps, 1.0, np.zeros(0, np.uint64), result)
    assert result[1] == sum(bad)
    assert result[2] == (bad.index(True) if any(bad) else -1)
    assert result[4] == np.isfinite(a).sum()
    checker.compare(a, b, a_bits, b_bits, 0.0, 1.0, np.zeros(0, np.uint64), result)
    assert result[1] == (a_bits != b_bits).sum()


@given(data=st.data(), dtype=DTYPES, eps=EPS)
@settings(max_examples=300)
def test_within_never_says_a_false_yes(data, dtype, eps):
    eps = dtype.type(min(eps, np.finfo(dtype).max / 64))
    a, b = data.draw(pairs(dtype, float(eps)))
    said = np.zeros(a.size, bool)
    each_within(a, b, eps, said)
    for k in np.flatnonzero(said):
        assert not exceeds(a[k], b[k], float(eps))


@kernel
def each_within(values, recons, eps, said):
    for k in range(values.size):
        said[k] = within(values[k], recons[k], eps)


@given(
    low=st.floats(allow_nan=False, allow_infinity=False),
    high=st.floats(allow_nan=False, allow_infinity=False),
    r=st.floats(0.0, 1e300),
)
def test_a_relative_bound_never_rounds_up(low, high, r):
    low, high = min(low, high), max(low, high)
    eps = bound.relative(r).resolve(low, high)
    exact = Fraction(r) * (Fraction(high) - Fraction(low))
    assert Fraction(eps) <= exact
    above = math.nextafter(eps, math.inf)
    assert math.isinf(above) or Fraction(above) > exact


@given(dtype=DTYPES, eps=EPS, span=st.tuples(*[st.floats(-(2.0**100), 2.0**100, width=32)] * 2))
def test_quantizer_is_the_one_of_the_format(dtype, eps, span):
    low, high = min(span), max(span)
    ours, expected = families.quantizer(dtype, eps, low, high), ReferenceQuantizer(dtype, eps, low, high)
    if ours is None:
        assert expected.step <= np.finfo(dtype).tiny
    else:
        assert ours.step == expected.step
        assert ours.step.dtype == dtype


@given(shape=st.lists(st.integers(1, 6), max_size=6).map(tuple), how=st.sampled_from(Fold))
def test_fold_is_the_one_of_the_format(shape, how):
    from lossyzip.decompose.fold import fold

    assert tuple(fold(shape, how)) == reference_fold(shape, how)


@given(dtype=DTYPES, odd=st.lists(st.tuples(st.integers(0, 1599), st.integers(0, 6)), max_size=6))
def test_comparing_blocks_is_comparing_each(dtype, odd):
    """Blocks in which nothing is odd are compared as vectors."""
    rng = np.random.default_rng(len(odd))
    eps = 0.25
    a = rng.integers(-100, 100, 1600).astype(dtype) + dtype.type(0.5)
    b = a + (0.24 * rng.uniform(-1, 1, a.size)).astype(dtype)
    for place, kind in odd:
        a[place] = (1.0, np.nan, np.inf, -0.0, 2.0, 3.0, 1e30)[kind]
        b[place] = (1.25, 0.0, np.inf, 0.0, np.nextafter(dtype.type(2.25), dtype.type(9)), np.nan, 1e30)[kind]
    a_bits, b_bits = a.view(f"u{dtype.itemsize}"), b.view(f"u{dtype.itemsize}")
    result, each = np.zeros(5), np.array([0.0, 0.0, -1.0, 0.0, 0.0])
    patterns = np.zeros(0, np.uint64)
    checker.compare(a, b, a_bits, b_bits, eps, 1.0, patterns, result)
    checker._compare_each(a, b, a_bits, b_bits, 0, a.size, eps, 1.0, patterns, each)
    assert result[[0, 1, 2, 4]].tolist() == each[[0, 1, 2, 4]].tolist()
    assert result[3] == pytest.approx(each[3], rel=1e-12)
    bad = {place for place, kind in odd if dict(odd)[place] in (1, 3, 4, 5)}
    assert each[1] == len(bad)


# Entropy coding

CODES = st.one_of(
    st.integers(-3, 3),
    st.integers(-int(RADIUS) + 1, int(RADIUS) - 1),
    st.integers(3, 28).map(lambda n: 2**n - 1),
    st.integers(3, 27).map(lambda n: -(2**n)),
    st.just(int(OUTLIER)),
)


@given(
    chosen=st.lists(CODES, min_size=1, max_size=30),
    count=st.integers(1, 400),
    groups=st.integers(1, 6),
    skew=st.sampled_from([1, 4]),
    seed=st.integers(0, 2**16),
)
def test_code_streams_are_read_alike(chosen, count, groups, skew, seed):
    """Tokens, extra bits, context model, tables and rANS at once."""
    rng = np.random.default_rng(seed)
    values = np.array(chosen, np.int32)[(len(chosen) * rng.random(count) ** skew).astype(int)]
    cells = (groups * CELLS * rng.random(count) ** skew).astype(np.uint8)
    assert_read_alike(values, cells, groups)


def assert_read_alike(values: np.ndarray, cells: np.ndarray, groups: int) -> reference_codes.Codes:
    reader = reference_codes.Codes(stream.encode_codes(Symbols.of(values, cells), groups, CELLS), groups)
    decoded = [reader.next(int(cell)) for cell in cells]
    assert decoded == [None if value == OUTLIER else value for value in values.tolist()]
    assert reader.used_up()
    return reader


def test_a_long_stream_with_escaped_tokens(rng):
    values = np.zeros(200_000, np.int32)
    values[::40_000] = [5, -70, 2**27, OUTLIER, -9]
    values[1::2] = rng.integers(-1, 2, 100_000)
    reader = assert_read_alike(values, np.zeros(values.size, np.uint8), 1)
    assert reader.frequencies[0][254]
    assert len(reader.states) == 8


@given(groups=st.integers(1, 6), density=st.sampled_from([0.001, 0.1, 1.0]), seed=st.integers(0, 2**16))
@settings(max_examples=25)
def test_context_models_are_read_alike(groups, density, seed):
    rng = np.random.default_rng(seed)
    histogram = rng.integers(0, 10 ** rng.integers(1, 7), (groups * CELLS, 256))
    histogram *= rng.random(histogram.shape) < density
    histogram[:, 254] = 0  # no code has this token
    model, data, _ = contexts.fit(histogram, CELLS)
    assert (model.frequency.sum(axis=1) == 4096).all()
    assert (model.frequency >= 0).all()
    for read in (contexts.read(data, groups * CELLS, CELLS), model):
        context_of_cell, frequencies = reference_codes.read_model(data, groups)
        assert read.context_of_cell.tolist() == context_of_cell
        assert read.frequency.tolist() == frequencies


NUMBERS = st.one_of(
    st.tuples(st.just("bits"), st.integers(0, 2**16 - 1), st.just(16)),
    st.tuples(st.just("rice"), st.integers(0, 300), st.integers(0, 9)),
    st.tuples(st.just("signed"), st.integers(-300, 300), st.integers(0, 9)),
)


@given(st.lists(NUMBERS))
def test_bits_are_read_alike(numbers):
    writer = BitWriter()
    for kind, value, width in numbers:
        getattr(writer, kind)(value, width)
    data = writer.finish()
    ours, theirs = BitReader(data), readers.Bits(data)
    for kind, value, width in numbers:
        assert getattr(ours, kind)(width) == value
        assert getattr(theirs, "take" if kind == "bits" else kind)(width) == value


@given(st.lists(st.integers(0, 2**63 - 1)))
def test_varints_are_read_alike(numbers):
    data = bytearray()
    for number in numbers:
        put_varint(data, number)
    reader, position = readers.Bytes(bytes(data)), 0
    for number in numbers:
        value, position = get_varint(bytes(data), position)
        assert value == number == reader.varint()


# Passes


@given(
    data=st.data(),
    family=st.sampled_from(FAMILIES),
    dtype=DTYPES,
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple),
    how=st.sampled_from(Fold),
    eps=EPS,
    seed=st.integers(0, 2**16),
    count=st.integers(0, 2),
)
@settings(max_examples=400)
def test_recompose_mirrors_decompose(data, family, dtype, shape, how, eps, seed, count):
    """Pass for pass both leave the same values and magnitudes; all that were not NaN are within eps."""
    largest = float(np.finfo(dtype).max / 64)
    near = st.floats(-20.0, 20.0, width=32)
    rare = st.one_of(st.just(math.nan), st.floats(-largest, largest, width=8 * dtype.itemsize))
    steps = data.draw(hnp.arrays(dtype, math.prod(shape), elements=near))
    special = data.draw(hnp.arrays(dtype, steps.shape, elements=rare, fill=st.just(0.0)))
    coded = np.where(special != 0, special, steps * dtype.type(min(eps, largest / 32)))
    coded += dtype.type(0)  # no -0.0
    valid = coded[~np.isnan(coded)]
    low, high = (float(valid.min()), float(valid.max())) if valid.size else (0.0, 0.0)
    rule = families.quantizer(dtype, eps, low, high)
    assume(rule is not None)
    count = 0 if family == "lattice" else count
    plan = families.read_plan(
        family, families.write_plan(random_plan(family, shape, how, seed, count)), count
    )
    guides = None
    if count:
        rows = hnp.arrays(dtype, (count, coded.size), elements=near, fill=st.just(1.0))
        guides = data.draw(rows) * dtype.type(min(eps, largest / 32))
    left: dict[str, list[bytes]] = {}

    def recording(name: str) -> Callable:
        coded_pass, left[name] = getattr(families, name), []

        def run(passes, room, *args):
            coded_pass(passes, room, *args)
            points = [_points(here.lattice) for here in passes]
            left[name] += [room.values[where].tobytes() for where in points]
            left[name] += [room.magnitudes[where].tobytes() for where in points]

        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "encode_passes", recording("encode_passes"))
        patch.setattr(families, "decode_passes", recording("decode_passes"))
        result = families.decompose(coded, shape, plan, rule, guides=guides)
        assume(result.outliers is not None)
        ways = [families.mix(result, shape, plan, rule, guides, flags) for flags in (False, True)]
        sides = shape, plan, rule, None, guides
        decoded = families.recompose(result.to_bytes(), result.outliers, *sides).reshape(-1)
        assert all((mixed is None) == (family == "lattice") for mixed in ways)
        for mixed in filter(None, ways):
            again = families.recompose(mixed.data, mixed.outliers, *sides)
            assert again.tobytes() == decoded.tobytes()
    assert left["encode_passes"] == left["decode_passes"]
    assert not any(exceeds(a, b, eps) for a, b in zip(coded, decoded, strict=True) if not np.isnan(a))


def _points(lattice: Lattice) -> np.ndarray:
    """Where the points of a pass lie in its buffer."""
    t, z, y, x = np.ogrid[tuple(slice(n) for n in lattice[:4])]
    return lattice.base + t * lattice.st + z * lattice.sz + y * lattice.sy + x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 9, 14, 11), (17, 30), (8, 8, 8), (2, 1, 5, 33)])
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "lattice"])
def test_what_was_in_kept_rooms_makes_no_difference(family, shape, dtype, monkeypatch) -> None:
    field = np.random.default_rng(3).normal(size=shape).cumsum(axis=-1).astype(dtype)
    rule = families.quantizer(field.dtype, 0.05, float(field.min()), float(field.max()))
    plan = random_plan(family, shape, Fold.MERGED, 5, 0)
    found = []
    for what in (0x00, 0xFF, 0x7F):  # 0, NaN, numbers that are far too large

        def room(name, size, kept, what=what):
            return np.full(size * kept.itemsize, what, np.uint8).view(kept)

        for module in (buffer, schedule, tokens, wavelet):
            monkeypatch.setattr(module, "kept_room", room)
        codes = families.decompose(field.reshape(-1), shape, plan, rule, kept=True)
        data, into = codes.to_bytes(), room("", field.size, field.dtype)
        found.append((data, families.recompose(data, codes.outliers, shape, plan, rule, into).tobytes()))
    assert found[0] == found[1] == found[2]


# The compiler

PROGRAM = """
import hashlib, sys
import numpy as np
import lossyzip as lz
from lossyzip import field
from lossyzip.container.guided import RawGuide
from lossyzip.decompose.fold import Fold
from lossyzip.guide import FieldGuide
from plans import FAMILIES, WAYS, frame_with, random_plan

shape = (2, 5, 6)
x = np.sin(np.arange(60.0).reshape(shape) / 7) + np.random.default_rng(1).normal(0, 0.01, shape)
x[0, 1] = 1e7
digest = hashlib.sha256()
for dtype in ("f4", "f8"):
    values = x.astype(dtype)
    plans = [random_plan(family, shape, Fold.MERGED, seed=2) for family in FAMILIES]
    blobs = [frame_with(values, 1e-3, plan, mixing) for plan in plans for mixing in WAYS]
    blobs.append(lz.compress(values, lz.pointwise_relative(1e-3), threads=1))
    values[1, 2, :3] = np.nan, -0.0, np.inf
    blobs.append(lz.compress(values, lz.absolute(1e-3), fill_value=1e7, threads=1))
    for blob in blobs:
        digest.update(blob + lz.decompress(blob).tobytes())
    other = (values + np.random.default_rng(2).normal(0, 0.001, shape)).astype(dtype)
    raw = (RawGuide(0, False, 0.5, 0, 9), RawGuide(0, True, 0.25, 3, 9, -2))
    guide = FieldGuide(b"", [other], shape, values.dtype, subtracted=False, taps=raw)
    values = np.nan_to_num(values, posinf=3)
    for family in FAMILIES[:3]:
        for mixing in WAYS:
            plan = random_plan(family, shape, Fold.MERGED, seed=3, guides=2)
            blob = frame_with(values, 1e-3, plan, mixing, guide)
            digest.update(blob + lz.decompress(blob, references=[other]).tobytes())
    blob = lz.compress(values, lz.absolute(1e-3), references=[other], train_seconds=0, threads=1)
    digest.update(blob + lz.decompress(blob, references=[other]).tobytes())
field.TILE_VALUES = 25
for values in (x, x.astype("f2"), (9 * x).astype("i4"), x + 1j * x, np.ma.masked_greater(x, 0.5)):
    one, two = (lz.compress(values, lz.absolute(0.6), threads=threads) for threads in (1, 2))
    assert one == two and lz.inspect(one).tile_count > 1
    decoded = [np.ma.getdata(lz.decompress(one, threads=threads)).tobytes() for threads in (1, 2)]
    assert decoded[0] == decoded[1]
    digest.update(one + decoded[0])
print(digest.hexdigest())
"""


def digest_with(**settings: str) -> str:
    """What PROGRAM prints under other settings of numba."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths, **settings}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_interpreted_kernels_write_the_same_bytes():
    assert digest_with(NUMBA_DISABLE_JIT="1") == digest_with()


@pytest.mark.slow
def test_kernels_stay_within_their_arrays(tmp_path):
    assert digest_with(NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path)) == digest_with()


@pytest.mark.slow
def test_another_instruction_set_writes_the_same_bytes(tmp_path):
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    assert digest_with(**generic) == digest_with()
