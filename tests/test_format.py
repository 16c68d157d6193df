"""Frames decode to the same bits by docs/FORMAT.md, read slowly in reference/, as by lossyzip."""

from __future__ import annotations

import hashlib
import json
import struct
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import FAMILIES, MIXED, STATIC, WAYS, WITH_FLAGS, frame_with, random_plan
from reference.codes import Codes
from reference.readers import Bytes, sections

import lossyzip as lz
from datasets import synthetic
from lossyzip import field
from lossyzip.container.archive import unpack_archive
from lossyzip.container.frame import FrameReader
from lossyzip.container.guided import FROM_NETWORK
from lossyzip.container.header import Header
from lossyzip.decompose.families import read_plan
from lossyzip.decompose.fold import Fold
from lossyzip.decompose.interpolation import Multigrid
from lossyzip.decompose.lattice import Lattice
from lossyzip.decompose.regression import Raster
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.effort import EFFORTS
from lossyzip.entropy import contexts
from lossyzip.learned.enhancer import Enhancer

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
GOLDEN = Path(__file__).parent / "golden"
FILL = -9999.0


def assert_decodes_alike(blob: bytes) -> np.ndarray:
    """What lossyzip decodes, which is what the reference decodes."""
    expected, decoded = lz.decompress(blob), reference.decode_frame(blob)
    assert (decoded.shape, decoded.dtype) == (expected.shape, expected.dtype)
    assert decoded.tobytes() == expected.tobytes()
    return expected


def waves(*shape: int, dtype: str = "<f4", noise: float = 0.02) -> np.ndarray:
    rng = np.random.default_rng(len(shape))
    return (synthetic.waves(shape, rng, 6) + noise * rng.standard_normal(shape)).astype(dtype)


def with_specials(array: np.ndarray, payloads: int) -> np.ndarray:
    """Some values become a fill value, infinities, -0.0 and NaN of as many ``payloads``."""
    rng = np.random.default_rng(payloads)
    array = array.copy()
    array.reshape(-1)[:40] = FILL
    for special in (np.inf, -np.inf, -0.0):
        array[rng.random(array.shape) < 0.01] = special
    patterns = array.reshape(-1).view(f"u{array.itemsize}")
    places = rng.choice(np.arange(40, array.size), 3 * payloads, replace=False)
    patterns[places] = np.array(np.nan, array.dtype).view(patterns.dtype) + places % payloads
    return array


def with_spikes(array: np.ndarray, height: float) -> np.ndarray:
    array[::7, ::5] += height
    return array


def make_fields() -> dict[str, np.ndarray]:
    masked = synthetic.masked(np.random.default_rng(2))[:3, :30, :30]
    return {
        "1d": waves(1500),
        "2d": waves(40, 50),
        "3d": waves(9, 14, 17),
        "4d": waves(3, 4, 13, 15),
        "5d": waves(2, 3, 4, 7, 9),
        "long waves": synthetic.waves((240, 320), np.random.default_rng(0))[:70, :90],
        "smooth 3d": waves(12, 16, 18, noise=0.0),
        "f64": waves(8, 14, 15, dtype="<f8"),
        "big-endian f32": waves(20, 30, dtype=">f4"),
        "big-endian f64": waves(20, 30, dtype=">f8"),
        "axes of length one": waves(1, 25, 1, 30, 1),
        "walk": np.cumsum(np.random.default_rng(1).standard_normal(1500)).astype("<f4"),
        "sparse": synthetic.sparse(np.random.default_rng(0))[:3, 20:45, 20:50],
        "masked": np.where(masked == synthetic.FILL, FILL, masked).astype("<f4"),
        "specials": with_specials(waves(30, 40), 3),
        "many NaN payloads": with_specials(waves(30, 40), 40),
        "many NaN payloads f64": with_specials(waves(30, 40, dtype="<f8"), 40),
        "outliers": with_spikes(waves(30, 40), 1e9),
        "constant": np.full((6, 7), 3.5, "<f4"),
        "all special": np.full((6, 7), np.nan, "<f4"),
        "no axes": np.array(3.5, "<f4"),
        "one value": np.full((1, 1), 3.5, "<f8"),
        "empty": np.zeros((3, 0, 2), "<f4"),
    }


FIELDS = make_fields()
BOUNDS = (lz.relative(0.1), lz.relative(1e-2), lz.relative(1e-7), lz.lossless())


@cache
def compressed(name: str, bound: lz.Bound) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EFFORTS, "balanced", STATIC)
        return lz.compress(FIELDS[name], bound, fill_value=FILL, threads=1)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("bound", BOUNDS, ids=str)
def test_compressed_fields(name, bound):
    assert_decodes_alike(compressed(name, bound))
    assert_decodes_alike(lz.compress(FIELDS[name], bound, fill_value=FILL, idempotent=True, threads=1))


def test_the_fields_above_take_most_ways_through_the_format():
    blobs = [compressed(name, bound) for name in FIELDS for bound in BOUNDS]
    headers = [Header.from_bytes(reader_of(blob).header) for blob in blobs]
    plans = [read_plan(header.family, header.plan) for header in headers if header.family != "lossless"]
    assert {type(plan) for plan in plans} >= {Multigrid, Raster}
    assert {plan.still for plan in plans if isinstance(plan, Raster)} == {False, True}
    assert any(plan.weights for plan in plans if isinstance(plan, Multigrid))
    assert any(any(plan.weights) for plan in plans if isinstance(plan, Raster))
    assert {len(header.specials) for header in headers} >= {0, 1, 16}
    assert {flags for blob in blobs for flags, *_ in payloads(blob)} == {0, 1, 2, 4, 6}


def reader_of(blob: bytes) -> FrameReader:
    return FrameReader(
        lambda offset, length: blob[offset : offset + length],
        len(blob),
        lambda header: Header.from_bytes(header).tile_count(),
    )


def payloads(blob: bytes) -> list[bytes]:
    reader = reader_of(blob)
    return [reader.tile(number).payload for number in range(len(reader.records))]


SHAPES = [(), (2,), (5,), (70,), (2, 2), (2, 30), (30, 2), (9, 11), (2, 12, 13), (12, 2, 13), (12, 13, 2)]
SHAPES += [(5, 6, 7), (4, 3, 2, 2), (3, 2, 8, 9), (2, 3, 2, 3, 4), (1, 3, 1, 9), (20, 12, 9)]


@pytest.mark.parametrize("how", Fold, ids=lambda how: how.name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_shape_and_fold(shape, how):
    """Axes of two and three points are where neighbours are missing on both sides."""
    array = waves(*shape)
    plans = [Multigrid(how, levels) for levels in (1, 2, 3, 7)]
    plans += [Raster(how, still=still) for still in (False, True)]
    plans += [Wavelet(how, step) for step in (20, 48, 255)]
    for plan in plans:
        assert_decodes_alike(frame_with(array, 1e-2, plan))
    for plan in plans[1::3]:
        assert_decodes_alike(frame_with(array, 1e-2, plan, MIXED))
        assert_decodes_alike(frame_with(array, 0.3, plan, WITH_FLAGS))
    if how not in (Fold.VOLUMES, Fold.COMPONENTS):
        return
    for axes in range(16):
        assert_decodes_alike(frame_with(array, 1e-2, Lattice(axes, fold=how)))
        assert_decodes_alike(frame_with(np.maximum(array, 0.5), 0.1, Lattice(axes, fold=how)))
    for centre in (-70_000, -1, 0, 25, 2**27):
        for levels in (False, True):
            assert_decodes_alike(frame_with(array, 1e-2, Lattice(0, centre, levels, how)))


def test_levels_around_outliers(rng):
    """An outlier counts as code 0, which is far from the lowest level here."""
    array = rng.random((120, 120))
    array[:, np.repeat(rng.random(40) < 0.5, 3)] **= 0.02
    array *= 8e6
    array[rng.random(array.shape) < 0.02] = -3e7  # too many steps from 0
    blob = frame_with(array.astype(np.float32), 1.0, Lattice(0, 1 << 20, levels=True))
    assert_decodes_alike(blob)


@given(
    family=st.sampled_from(FAMILIES),
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple),
    how=st.sampled_from(Fold),
    dtype=st.sampled_from(["<f4", "<f8"]),
    eps=st.sampled_from([1e-1, 1e-3, 1e-6]),
    mixing=st.sampled_from(WAYS),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=100)
def test_any_weights(family, shape, how, dtype, eps, mixing, seed):
    """Sums of huge weights overflow, and are alike all the same."""
    array = waves(*shape, dtype=dtype)
    assert_decodes_alike(frame_with(array, eps, random_plan(family, shape, how, seed), mixing))


@pytest.mark.parametrize(
    "name", ["2d", "4d", "f64", "sparse", "masked", "many NaN payloads", "outliers", "one value"]
)
@pytest.mark.parametrize("bound", [lz.relative(0.1), lz.relative(1e-7)], ids=str)
def test_mixed_codes(name, bound):
    blob = lz.compress(FIELDS[name], bound, effort="max", fill_value=FILL, threads=1)
    assert len(blob) <= 1.02 * len(compressed(name, bound)) + 20
    assert_decodes_alike(blob)


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
@pytest.mark.parametrize("shape", [(3, 75), (2, 5, 64), (2, 3, 4, 33)], ids=str)
def test_stretches_behind_flags(shape, dtype):
    """Rows of several stretches, the last one short; next to nothing, here and there, is not 0."""
    array = waves(*shape, dtype=dtype)
    array[..., -9:] += np.random.default_rng(1).normal(0, 0.2, (*shape[:-1], 9))
    for eps, how, family in product((0.05, 0.5), Fold, ("multigrid", "raster", "wavelet")):
        plan = random_plan(family, shape, how, seed=int(10 * eps))
        assert_decodes_alike(frame_with(array, eps, plan, WITH_FLAGS))


@given(
    data=st.data(),
    width=st.sampled_from([4, 8]),
    shape=st.lists(st.integers(0, 6), max_size=3).map(tuple),
    bound=st.sampled_from(
        [lz.absolute(1e-3), lz.absolute(1e30), lz.relative(0.1), lz.relative(1e-5), lz.lossless()]
    ),
)
@settings(max_examples=100)
def test_any_bits(data, width, shape, bound):
    size = width * int(np.prod(shape))
    bits = data.draw(st.binary(min_size=size, max_size=size))
    assert_decodes_alike(lz.compress(np.frombuffer(bits, f"<f{width}").reshape(shape), bound, threads=1))


@pytest.mark.parametrize("name", ["2d", "4d", "many NaN payloads", "big-endian f64"])
@pytest.mark.parametrize("bound", BOUNDS, ids=str)
def test_tiles(name, bound, monkeypatch):
    monkeypatch.setattr(field, "TILE_VALUES", 100)
    blob = lz.compress(FIELDS[name], bound, fill_value=FILL, threads=1)
    assert lz.inspect(blob).tile_count > 5
    assert_decodes_alike(blob)


def test_long_streams_have_eight_states(rng):
    array = rng.standard_normal(9000, np.float32)
    for size, states in ((9000, 8), (900, 1)):
        blob = frame_with(array[:size], 0.01, Raster(Fold.MERGED))
        stream = Bytes(payloads(blob)[0][1:])
        assert [stream.varint() for _ in range(3)][2] == states
        assert_decodes_alike(blob)


@pytest.mark.parametrize(
    "plan", [Multigrid(Fold.MERGED, 3), Raster(Fold.MERGED), Lattice(3)], ids=lambda plan: plan.name
)
def test_escaped_tokens(plan, monkeypatch):
    """Otherwise they need more values than the reference can decode in time."""
    monkeypatch.setattr(contexts, "_ESCAPED_BITS", 0.0)  # worth it for all tokens but the most frequent one
    blob = frame_with(with_spikes(waves(20, 30), 100.0), 1e-2, plan)
    frequencies = Codes(payloads(blob)[0][1:], groups=6 if plan.name == "multigrid" else 1).frequencies
    assert all(table[254] for table in frequencies if max(table) < 4096)  # flags may all be alike
    assert_decodes_alike(blob)


def test_archives():
    fields = {name: FIELDS[name] for name in ("2d", "specials", "empty", "no axes")}
    fields["Druck (hPa) \N{SNOWMAN}"] = FIELDS["big-endian f32"]
    archive = lz.compress_fields(fields, {"2*": lz.relative(1e-3), "*": lz.relative(1e-2)})
    expected, decoded = lz.decompress_fields(archive), reference.decode_archive(archive)
    assert list(decoded) == list(expected) == list(fields)
    for name, array in expected.items():
        assert decoded[name].dtype == array.dtype
        assert decoded[name].tobytes() == array.tobytes()


GOLDEN_FILES = json.loads((GOLDEN / "expected.json").read_text())


@pytest.mark.parametrize("name", GOLDEN_FILES)
def test_golden_files(name):
    data, model = (GOLDEN / name).read_bytes(), (GOLDEN / name).with_suffix(".lzm")
    if model.exists():
        known = model.read_bytes()
        decoded = [lz.decompress_fields(data, model=lz.Model.from_bytes(known))]
        decoded.append(reference.decode_archive(data, known))
    elif name.endswith(".lza"):
        decoded = [lz.decompress_fields(data), reference.decode_archive(data)]
    else:
        decoded = [{"": lz.decompress(data)}, {"": reference.decode_frame(data)}]
    for fields in decoded:
        assert {key: described(array) for key, array in fields.items()} == GOLDEN_FILES[name]


@pytest.mark.parametrize("name", ["enhanced.lz", "objective.lz"])
def test_plain_values_of_golden_files(name):
    """Their checksums are in the frames."""
    data = (GOLDEN / name).read_bytes()
    plain = reference.decode_frame(data, plain=True)
    assert lz.decompress(data, enhance=False).tobytes() == plain.tobytes()
    assert described(plain) != GOLDEN_FILES[name][""]


def test_the_objective_of_a_golden_file():
    data = (GOLDEN / "objective.lz").read_bytes()
    size = int.from_bytes(data[-12:-8], "little")
    number, *errors = struct.unpack("<Bdd", sections(data[-12 - size : -12])["o"])
    assert (number, lz.inspect(data).objective) == (1, "spectrum")
    assert lz.inspect(data).objective_errors == tuple(errors) == (0.00808793367377907, 0.00665498740763022)
    assert lz.inspect((GOLDEN / "enhanced.lz").read_bytes()).objective == "psnr"


def test_golden_files_have_what_they_are_for():
    """Versions of enhancers, what is in models: tests/golden/README.md."""
    archive = unpack_archive((GOLDEN / "guided-enhanced.lza").read_bytes())
    found = {name: sections(reader_of(bytes(frame)).header)["E"] for name, frame in archive.items()}
    found["spectrum"] = sections(reader_of((GOLDEN / "objective.lz").read_bytes()).header)["E"]
    assert {name: data[0] & 15 for name, data in found.items()} == {"second": 1, "first": 1, "spectrum": 0}
    enhancer = Enhancer.from_bytes(found["second"])
    assert enhancer.guides == (FROM_NETWORK,)
    assert {feature.plane for feature in enhancer.features} == {0, 1, 2}
    assert enhancer.hidden
    assert enhancer.filter is not None
    archive = unpack_archive((GOLDEN / "in-model.lza").read_bytes())
    tags = {name: sections(reader_of(bytes(frame)).header).keys() for name, frame in archive.items()}
    assert tags["second"] >= {"G", "N"}
    assert tags["first"] >= {"K"}


def described(array: np.ndarray) -> dict[str, object]:
    digest = hashlib.sha256(np.ma.getdata(array).tobytes())
    if isinstance(array, np.ma.MaskedArray):
        digest.update(np.ma.getmaskarray(array).tobytes())
    return {"shape": list(array.shape), "dtype": array.dtype.str, "sha256": digest.hexdigest()}
