"""Every kind of array comes back within the guarantee; every other kind is refused before it is touched."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction

import exact
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plans import STATIC

import lossyzip as lz
from lossyzip import field
from lossyzip.container.header import MOST_TILE_VALUES
from lossyzip.decompressor import Frame
from lossyzip.effort import EFFORTS

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

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


def from_bits(bits: list[int], dtype: str) -> np.ndarray:
    return np.array(bits, f"u{np.dtype(dtype).itemsize}").view(dtype)


# Special values


@pytest.mark.parametrize("bound", BOUNDS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values_come_back_bit_for_bit(bound, dtype, rng):
    array = wave((40, 50), dtype)
    width = np.dtype(dtype).itemsize
    quiet, infinity = (0x7FC00000, 0x7F800000) if width == 4 else (0x7FF8 << 48, 0x7FF0 << 48)
    negative = 1 << (8 * width - 1)
    patterns = [
        quiet,
        quiet + 1234,
        quiet + 5 + negative,
        infinity + 1,
        infinity,
        infinity + negative,
        negative,
    ]
    patterns += [1, 2, negative + 3]  # subnormals
    specials = from_bits(patterns, dtype[1:]).astype(dtype)
    unsigned = f"{dtype[0]}u{width}"
    where = rng.choice(array.size, 300, replace=False)
    array.reshape(-1).view(unsigned)[where] = np.resize(np.array(patterns, unsigned), 300)
    decoded = round_trip(array, bound)
    marked = ~np.isfinite(array) | ((array == 0) & np.signbit(array))
    assert marked.sum() > 150
    assert np.array_equal(array.view(unsigned)[marked], decoded.view(unsigned)[marked])
    assert specials.dtype == array.dtype


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, -0.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_but_one_special_value(special, dtype):
    round_trip(np.full((7, 9), special, dtype), lz.absolute(0.1))
    round_trip(np.full((7, 9), special, dtype), lz.relative(0.1))


def test_more_nan_payloads_than_the_header_lists(rng):
    array = wave((30, 40))
    array.view(np.uint32)[rng.random(array.shape) < 0.2] = 0x7FC00000
    array.view(np.uint32)[np.isnan(array)] += np.arange(np.isnan(array).sum(), dtype=np.uint32)
    round_trip(array, lz.relative(1e-3))


def test_a_fill_value_that_comes_after_many_nan_payloads():
    array = wave((30, 40))
    array.reshape(-1).view(np.uint32)[:40] = 0x7FC00000 + np.arange(40, dtype=np.uint32)
    array[20:] = -9999.0
    decoded = round_trip(array, lz.relative(1e-3), fill=(-9999.0,))
    assert (decoded[20:] == -9999.0).all()


@pytest.mark.parametrize("fill", [(1e20,), (-9999.0, 9.96921e36), (0.0,), (np.nan,), (1e300,)])
@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
def test_fill_values_come_back_and_do_not_count_for_the_range(fill, dtype, rng):
    array = wave((12, 20, 30), dtype)
    with np.errstate(over="ignore"):
        array[rng.random(array.shape) < 0.3] = np.array(fill[0]).astype(dtype)
        array[rng.random(array.shape) < 0.1] = np.array(fill[-1]).astype(dtype)
        round_trip(array, lz.relative(1e-3), fill=fill)


# Extreme values and bounds


@pytest.mark.parametrize("bound", [lz.absolute(1.0), lz.absolute(1e30), lz.relative(1e-3), lz.relative(10.0)])
@pytest.mark.parametrize(("dtype", "huge"), [("<f4", 1e38), ("<f8", 1e308), ("<f8", 1e200)])
def test_huge_values_beside_tiny_ones(dtype, huge, bound, rng):
    array = rng.standard_normal((30, 40)) * 1e-30
    array[::7, ::5] = rng.uniform(-1, 1, array[::7, ::5].shape) * huge
    array[0, :2] = np.finfo(dtype).max, -np.finfo(dtype).max
    round_trip(array.astype(dtype), bound)


@pytest.mark.parametrize(("dtype", "scale"), [("<f4", 3e38), ("<f4", 5e36), ("<f8", 1.7e308), ("<f8", 1e306)])
@pytest.mark.parametrize("rel", [1e-1, 1e-3, 1e-6])
def test_a_smooth_field_near_the_largest_number(dtype, scale, rel):
    array = (wave((30, 40), "<f8") / 2.1 * scale).astype(dtype)
    round_trip(array, lz.relative(rel))


@pytest.mark.parametrize(
    ("dtype", "scale"), [("<f4", 1e-38), ("<f4", 1e-43), ("<f8", 1e-308), ("<f8", 1e-322)]
)
@pytest.mark.parametrize("rel", [1e-1, 1e-3, 1e-6])
def test_a_smooth_field_of_subnormals(dtype, scale, rel):
    round_trip((wave((30, 40), "<f8") * scale).astype(dtype), lz.relative(rel))


@pytest.mark.parametrize("ulps", [0.01, 0.25, 0.4999, 0.5, 0.51, 1.0, 1.5, 2.0, 3.0, 8.0, 20.0])
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_eps_of_about_an_ulp(ulps, dtype):
    array = 1000.0 + wave((40, 50), dtype)
    round_trip(array, lz.absolute(ulps * float(np.spacing(array.max()))))


@pytest.mark.parametrize("eps", [0.0, 5e-324, 1e-300, 1e300, float(np.finfo(np.float64).max)])
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_absurd_eps(eps, dtype):
    round_trip(wave((40, 50), dtype), lz.absolute(eps))


def test_eps_zero_is_lossless():
    array = wave((40, 50), "<f8")
    for bound in (lz.absolute(0.0), lz.relative(0.0), lz.relative(-0.0), lz.lossless()):
        assert round_trip(array, bound).tobytes() == array.tobytes()


@pytest.mark.parametrize("eps", [0.25, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_integers_stored_as_floats_lie_exactly_on_the_bound(eps, dtype, rng):
    round_trip(rng.integers(-40, 40, (40, 50)).astype(dtype), lz.absolute(eps))
    round_trip((rng.integers(0, 4, (40, 50)) * 2 * eps).astype(dtype), lz.absolute(eps))


def test_values_half_way_between_steps_lie_exactly_on_the_bound(rng):
    steps = rng.integers(-5, 5, (50, 60)) + 0.5
    for eps in (0.1, 1 / 3, 1e-3, 7e-5):
        round_trip((steps * 2 * eps).astype(np.float32), lz.absolute(float(np.float32(eps))))
        round_trip(steps * 2 * eps, lz.absolute(eps))


@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
def test_random_bits(dtype, rng):
    bits = rng.integers(0, 2 ** (8 * np.dtype(dtype).itemsize) - 1, (40, 50), dtype, endpoint=True)
    for bound in BOUNDS:
        round_trip(bits.view(dtype.replace("u", "f")), bound)


# Shapes and layouts


SHAPES = [(), (1,), (2,), (3,), (0,), (0, 5), (5, 0, 3), (1, 1, 1), (7, 1), (1, 7), (1, 9, 1, 8, 1), (3000,)]
SHAPES += [
    (60, 50),
    (9, 20, 30),
    (3, 5, 12, 11),
    (2, 3, 4, 5, 6),
    (2,) * 6,
    (3, 2, 3, 2, 3, 2, 4),
    (2, 3) * 4,
]
SHAPES += [(400, 2, 2), (50, 2, 2, 2), (2, 2, 2, 300), (1000, 1, 3), (2, 1000), (1000, 2)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
def test_every_shape(shape, dtype):
    for bound in BOUNDS:
        decoded = round_trip(wave(shape, dtype), bound)
        assert (decoded.shape, decoded.dtype) == (shape, np.dtype(dtype))


@pytest.mark.parametrize("value", [0.0, 1.0, -3.7e-12, 1e30])
def test_constant_fields_take_next_to_nothing(value):
    for dtype in ("<f4", "<f8"):
        array = np.full((64, 65), value, dtype)
        for bound in BOUNDS:
            assert np.array_equal(round_trip(array, bound), array)
        assert len(lz.compress(array, lz.absolute(0.1))) < 200


def test_views_of_any_strides():
    base = wave((12, 15, 18))
    fortran = np.asfortranarray(base)
    read_only = base.copy()
    read_only.flags.writeable = False
    views = [
        base[::2, 1::3, ::-1],
        base.transpose(2, 0, 1),
        fortran,
        base[:, 5],
        base[::-1, ::-1, ::-1],
        read_only,
    ]
    views += [np.broadcast_to(base[0], (4, 15, 18)), base.astype([("a", "f4"), ("b", "f4")])["a"]]
    for view in views:
        before = view.tobytes()
        decoded = round_trip(view, lz.relative(1e-3))
        assert decoded.flags.c_contiguous
        assert lz.compress(view, lz.relative(1e-3)) == lz.compress(view.copy("C"), lz.relative(1e-3))
        assert view.tobytes() == before


def test_byte_order_costs_nothing():
    array = wave((20, 30, 40))
    little, big = (lz.compress(array.astype(dtype), lz.relative(1e-4)) for dtype in ("<f4", ">f4"))
    assert len(little) == len(big)
    assert np.array_equal(lz.decompress(little), lz.decompress(big))


def test_decoded_arrays_are_the_callers_own():
    decoded = lz.decompress(lz.compress(wave((10, 10)), lz.lossless()))
    decoded[...] = 0.0


# Efforts, threads, regions


@pytest.mark.parametrize("effort", ["fast", "balanced", "max"])
def test_every_effort(effort):
    round_trip(wave((20, 30, 40)), lz.relative(1e-3), effort=effort)
    for shape in [(), (0,), (1,), (2,), (1, 1, 1), (2, 3), (1, 500), (300, 1, 2)]:
        round_trip(wave(shape), lz.absolute(1e-3), effort=effort)


def test_threads_do_not_change_mixed_bytes(monkeypatch):
    monkeypatch.setattr(field, "TILE_VALUES", 3000)
    array = wave((20, 30, 40)) + 1e-3 * np.random.default_rng(1).standard_normal((20, 30, 40), np.float32)
    blobs = [lz.compress(array, lz.relative(1e-3), effort="max", threads=threads) for threads in (1, 2)]
    assert blobs[0] == blobs[1]
    monkeypatch.setitem(EFFORTS, "balanced", STATIC)
    assert len(blobs[0]) < len(lz.compress(array, lz.relative(1e-3)))


@pytest.fixture(scope="module")
def tiled() -> Iterator[tuple[np.ndarray, bytes]]:
    """A field of many tiles, and its frame."""
    array = wave((5, 4, 70, 71))
    array[2, 1, 10:20, 50] = np.nan
    array += 1e-3 * np.random.default_rng(1).standard_normal(array.shape, np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(field, "TILE_VALUES", 5000)
        yield array, lz.compress(array, lz.relative(1e-2), threads=2)


def test_many_tiles_keep_the_bound_and_threads_do_not_change_the_bytes(tiled):
    array, blob = tiled
    assert lz.inspect(blob).tile_count > 20
    assert not exact.violations(array, lz.decompress(blob), exact.tolerance(array, "relative", 1e-2)).size
    assert all(lz.compress(array, lz.relative(1e-2), threads=threads) == blob for threads in (1, 3))
    assert lz.decompress(blob, threads=1).tobytes() == lz.decompress(blob, threads=3).tobytes()


@pytest.mark.parametrize("shape", [(1 << 14, 2, 2), (1 << 13, 2, 2, 2), (2500, 3, 3, 3)], ids=str)
def test_small_tensors_at_many_points_are_not_outweighed_by_their_halos(shape):
    array = np.cumsum(wave((math.prod(shape),), "<f8")).reshape(shape)
    tracemalloc.start(1)
    blob = lz.compress(array, lz.relative(1e-2), threads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert lz.verify(array, blob).violations == 0
    assert peak < 100 * array.nbytes


def test_the_tiles_of_a_large_field_are_no_larger_than_they_may_be():
    for shape in ((1 << 30,), (3, 1 << 20, 5), (40, 50, 60, 700, 801), (1 << 40, 1), (9,) * 12):
        tile = field.tile_shape(shape)
        assert math.prod(tile) <= field.TILE_VALUES <= MOST_TILE_VALUES
        assert math.prod(tile) > field.TILE_VALUES // 4


@pytest.mark.parametrize(
    "region",
    [
        np.s_[...],
        np.s_[2],
        np.s_[-1, ..., 0],
        np.s_[1:3, :, 10:20, ::7],
        np.s_[::-1, 1, 5::-2, -3:],
        np.s_[..., 70],
        np.s_[:, 2:2],
        np.s_[4, 3, 69, 70],
        np.s_[10:20],
        np.s_[-100:100, ::3, 60:10:-15, -1:-500:-33],
        np.s_[np.int64(1), :, np.int32(5)],
    ],
    ids=str,
)
def test_a_region_is_what_indexing_the_whole_gives(tiled, region):
    _, blob = tiled
    whole, part = lz.decompress(blob)[region], lz.decompress(blob, region=region)
    assert np.shape(part) == np.shape(whole)
    assert part.dtype == whole.dtype
    assert np.array_equal(part, whole, equal_nan=True)


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (6, 7)], ids=str)
@pytest.mark.parametrize("region", [(), ..., np.s_[...,]], ids=str)
def test_regions_of_small_arrays(shape, region):
    array = wave(shape)
    blob = lz.compress(array, lz.lossless())
    assert np.array_equal(lz.decompress(blob, region=region), array[region])


@pytest.mark.parametrize(
    "region",
    [5, -6, (0, 0, 0, 0, 0), np.s_[..., 0, ...], 1.5, "x", [0, 1], None, np.s_[::0], np.s_["a":], True],
)
def test_a_region_that_does_not_fit_is_refused(tiled, region):
    if region is None:
        region = (None,)
    with pytest.raises(lz.InvalidArgumentError):
        lz.decompress(tiled[1], region=region)


def test_a_region_reads_and_decodes_only_the_tiles_it_touches(tiled):
    _, blob = tiled
    reads: list[tuple[int, int]] = []

    def read(offset: int, length: int) -> bytes:
        reads.append((offset, length))
        return blob[offset : offset + length]

    frame = Frame.open(read, len(blob))
    assert sum(length for _, length in reads) < 2000  # header and index
    reads.clear()
    lengths = frame.tile_shape
    corner = tuple(slice(0, length) for length in lengths)
    found = list(frame.tiles(region=corner, threads=1))
    assert len(found) == len(reads) == 1
    assert found[0][0] == corner
    across = tuple(slice(n - 1, min(n + 1, whole)) for n, whole in zip(lengths, frame.shape, strict=True))
    reads.clear()
    split = sum(n < whole for n, whole in zip(lengths, frame.shape, strict=True))
    assert len(list(frame.tiles(region=across))) == len(reads) == 2**split > 1


# What is refused


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(5, np.longdouble),
        np.zeros(5, np.clongdouble),
        np.array([1.0, None], object),
        np.array(["a"]),
        np.array([b"a"]),
        np.zeros(2, "M8[s]"),
        np.zeros(2, [("a", "f4")]),
        None,
        "text",
    ],
    ids=lambda array: str(getattr(array, "dtype", array)),
)
def test_other_data_types_are_refused(array):
    with pytest.raises(lz.UnsupportedDataError, match="is not supported"):
        lz.compress(array, lz.lossless())


def test_more_axes_than_the_format_has_are_refused():
    round_trip(np.zeros((1,) * 32, np.float32), lz.absolute(1.0))
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":  # before, arrays had no more than 32
        with pytest.raises(lz.UnsupportedDataError):
            lz.compress(np.zeros((1,) * 33, np.float32), lz.lossless())


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf, -np.inf, "a", None, [1.0, 2.0], 1j])
@pytest.mark.parametrize("bound", [lz.absolute, lz.relative])
def test_bounds_without_meaning_are_refused(bound, value):
    with pytest.raises(lz.InvalidArgumentError):
        bound(value)


@pytest.mark.parametrize(
    "options",
    [
        {"effort": "extreme"},
        {"effort": None},
        {"threads": 0},
        {"threads": -3},
        {"threads": "two"},
        {"threads": 1.5},
        {"fill_value": "land"},
        {"fill_value": list(range(17))},
    ],
    ids=str,
)
def test_options_without_meaning_are_refused(options):
    with pytest.raises(lz.InvalidArgumentError):
        lz.compress(wave((5, 5)), lz.lossless(), **options)


@pytest.mark.parametrize("bound", [1e-3, "rel:1e-3", None])
def test_a_bound_must_be_a_bound(bound):
    with pytest.raises(lz.InvalidArgumentError, match="absolute"):
        lz.compress(wave((5, 5)), bound)


@pytest.mark.parametrize("blob", [None, "text", 5, [1, 2]])
def test_what_is_not_bytes_is_refused(blob):
    with pytest.raises(lz.InvalidArgumentError):
        lz.decompress(blob)
    with pytest.raises(lz.InvalidArgumentError):
        lz.decompress_fields(blob)


def test_any_buffer_of_bytes_is_read():
    array = wave((5, 5))
    blob = lz.compress(array, lz.lossless())
    archive = lz.compress_fields({"a": array}, {"*": lz.lossless()})
    for kind in (bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)):
        assert np.array_equal(lz.decompress(kind(blob)), array)
        assert np.array_equal(lz.decompress_fields(kind(archive))["a"], array)


def test_verify_refuses_another_array():
    array = wave((5, 5))
    blob = lz.compress(array, lz.lossless())
    for other in (array[:4], array.astype(">f4"), array.astype(np.float64)):
        with pytest.raises(lz.InvalidArgumentError):
            lz.verify(other, blob)


# Bounds and reports


@pytest.mark.parametrize("value", [1e-3, 0.1, 1 / 3, 1.23456789012345e-7, 5e-324, 1e300, 2.0])
def test_a_bound_as_text_is_the_same_bound(value):
    from lossyzip.bound import parse

    for bound in (lz.absolute(value), lz.relative(value), lz.lossless()):
        assert parse(str(bound)) == bound


def test_the_largest_error_that_is_reported_is_the_largest_there_is():
    for dtype in DTYPES:
        array = wave((30, 40), dtype)
        blob = lz.compress(array, lz.relative(1e-3))
        largest = exact.largest_error(array, lz.decompress(blob))
        assert lz.inspect(blob).max_error == lz.verify(array, blob).max_error == float(largest) > 0


def test_psnr_is_20_log10_of_range_over_rmse():
    array = wave((30, 40), "<f8")
    blob = lz.compress(array, lz.relative(1e-3))
    rmse = math.sqrt(np.mean((array - lz.decompress(blob)) ** 2))
    expected = 20 * math.log10((array.max() - array.min()) / rmse)
    assert lz.verify(array, blob).psnr == pytest.approx(expected, rel=1e-9)
    assert lz.verify(array, lz.compress(array, lz.lossless())).psnr == math.inf


def test_verify_finds_each_violation():
    array = wave((30, 40), "<f8")
    blob = lz.compress(array, lz.absolute(1e-3))
    eps = Fraction(lz.inspect(blob).eps)
    other = array.copy()
    other[3, 4] += 1.0
    other[20, 5] = np.nan
    found = lz.verify(other, blob)
    assert found.violations == exact.violations(other, lz.decompress(blob), eps).size == 2
    assert found.first_violation == (3, 4)


# Anything at all


def contents(dtype: str) -> st.SearchStrategy:
    """Ways to fill ``count`` values, from a seed: smooth ones, and each kind of awkward ones."""
    info = np.finfo(dtype)
    tiny, huge = float(info.smallest_subnormal), float(info.max)
    specials = [np.nan, np.inf, -np.inf, -0.0, 0.0, tiny, -tiny, huge, -huge, 1.0, 1e-30, 0.5]

    def make(kind: str, seed: int, exponent: int, count: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        scale = 10.0**exponent
        if kind == "bits":
            bits = rng.integers(0, 2 ** (8 * info.dtype.itemsize) - 1, count, f"u{info.dtype.itemsize}")
            return bits.view(info.dtype)
        if kind == "specials":
            return rng.choice(specials, count).astype(info.dtype)
        plain = {
            "steps": rng.integers(-6, 6, count),
            "constant": np.ones(count),
            "noise": rng.standard_normal(count),
        }
        with np.errstate(over="ignore", under="ignore"):
            values = (plain.get(kind, np.sin(np.arange(count) * 0.05)) * scale).astype(info.dtype)
        if kind == "mixed":
            holes = rng.random(count) < 0.2
            values[holes] = rng.choice(specials, int(holes.sum()))
        return values

    kinds = st.sampled_from(["smooth", "mixed", "noise", "steps", "constant", "specials", "bits"])
    exponents = st.integers(-44, 38) if info.dtype.itemsize == 4 else st.integers(-323, 308)
    exponents = st.one_of(st.integers(-3, 3), exponents)
    return st.builds(lambda *how: lambda count: make(*how, count), kinds, st.integers(0, 2**32), exponents)


@st.composite
def cases(draw: st.DrawFn, most: int = 600) -> tuple[np.ndarray, lz.Bound]:
    shape = draw(st.lists(st.integers(0, 40), max_size=5).filter(lambda s: math.prod(s) <= most))
    dtype = draw(st.sampled_from(DTYPES))
    array = draw(contents(dtype[1:]))(math.prod(shape)).reshape(shape).astype(dtype)
    sizes = st.one_of(
        st.sampled_from([1e-1, 1e-3, 1e-6, 0.5, 0.25, 1.0, 0.0]),
        st.floats(0.0, allow_nan=False, allow_infinity=False),
    )
    bound = draw(
        st.one_of(st.builds(lz.absolute, sizes), st.builds(lz.relative, sizes), st.just(lz.lossless()))
    )
    return array, bound


@given(cases())
@settings(max_examples=500)
@example((np.array([0.0, np.finfo(np.float64).max]), lz.relative(1.0)))
@example((np.ones((60, 60)), lz.absolute(1e-206)))  # whose square is 0
@example((np.array([1e-30, -0.0, np.inf, -0.0, 0.0, 1.0], np.float32), lz.absolute(0.1)))
def test_any_array_within_any_bound(case):
    round_trip(*case, threads=1)


@pytest.mark.slow
@given(cases(most=20_000))
@settings(max_examples=5_000)
def test_any_array_within_any_bound_at_length(case):
    round_trip(*case)
