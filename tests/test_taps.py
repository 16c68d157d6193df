"""Taps into guides: they help, cost next to nothing where they do not, and decode by the format alone."""

from __future__ import annotations

import exact
import numpy as np
import pytest
import reference
from forgery import Parts
from plans import WAYS, frame_with, random_plan

import lossyzip as lz
from datasets import synthetic
from lossyzip import field
from lossyzip.compressor import compress_field
from lossyzip.container.frame import pack_sections, unpack_sections
from lossyzip.container.guided import FROM_NETWORK, RawGuide
from lossyzip.decompose.fold import Fold
from lossyzip.decompose.guide_fitting import in_turn
from lossyzip.decompressor import Frame
from lossyzip.grid import onto
from lossyzip.guide import FieldGuide
from lossyzip.learned.network import Network
from lossyzip.linear_relations import mask_of, promising
from lossyzip.parts import rows_of
from lossyzip.raw_guides import proposed, values_of

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
SHAPES = [(40,), (9, 11), (5, 12, 13), (3, 4, 7, 9), (2, 1, 6, 5)]


def waves(shape: tuple[int, ...], seed: int = 3, noise: float = 0.05, dtype: str = "<f4") -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (synthetic.waves(shape, rng, 6) + noise * rng.standard_normal(shape)).astype(dtype)


def related(shape: tuple[int, ...], dtype: str = "<f4") -> tuple[np.ndarray, np.ndarray]:
    """A field, rough, and one that shares what is rough of it."""
    rough = 0.3 * np.random.default_rng(7).standard_normal(shape)
    return (waves(shape, 1, 0.02) + rough).astype(dtype), (waves(shape, 2, 0.02) + rough).astype(dtype)


def some_guides(array: np.ndarray, seed: int) -> tuple[FieldGuide, list[np.ndarray]]:
    """Three: one linear, one curved of hostile values, one staggered where that is possible."""
    rng = np.random.default_rng(seed)
    hostile = waves(array.shape, seed)
    hostile[rng.random(array.shape) < 0.1] = np.inf
    hostile[rng.random(array.shape) < 0.1] = np.nan
    last = array.shape[-1]
    staggered = waves((*array.shape[:-1], last + (1 if last > 4 else 0)), seed + 1)
    raw = (
        RawGuide(0, False, 0.5, -1, 3),
        RawGuide(1, True, -0.25, 2, 4, -1),
        RawGuide(2, False, 0.0, 0, 0),
    )
    references = [waves(array.shape, seed + 2), hostile, staggered]
    return FieldGuide(b"", references, array.shape, array.dtype, subtracted=False, taps=raw), references


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mixing", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", ["multigrid", "raster", "wavelet"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_plan_decodes_by_the_format(family, shape, mixing, seed):
    array = waves(shape, seed, 0.3, "<f4" if seed % 2 else "<f8")
    guide, references = some_guides(array, seed)
    plan = random_plan(family, shape, Fold(seed % 4), 100 + seed, guides=3)
    blob = frame_with(array, 0.02, plan, mixing, guide)
    decoded = lz.decompress(blob, references=references)
    assert np.abs(decoded.astype("f8") - array).max() <= 0.02
    assert decoded.tobytes() == reference.decode_frame(blob, references).tobytes()


def guided(array: np.ndarray, bound: lz.Bound, references: list[np.ndarray], **options: object) -> bytes:
    parts: list[bytes] = []
    taps = proposed(rows_of(array), {k: rows_of(other) for k, other in enumerate(references)}, ())
    guide = FieldGuide(
        b"", references, array.shape, array.dtype.newbyteorder("="), subtracted=False, taps=taps
    )
    compress_field(array, bound, parts.append, guide=guide, **options)
    return b"".join(parts)


@pytest.mark.parametrize("effort", ["balanced", "max"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
def test_what_references_tell_is_not_coded_again(dtype, effort):
    array, other = related((8, 20, 30), dtype)
    bound = lz.absolute(0.02)
    blob = guided(array, bound, [other], effort=effort)
    decoded = lz.decompress(blob, references=[other])
    assert not exact.violations(array, decoded, 0.02).size
    assert len(blob) < 0.75 * len(lz.compress(array, bound, effort=effort))
    assert decoded.tobytes() == reference.decode_frame(blob, [other]).astype(dtype).tobytes()


def test_tiles_and_threads(monkeypatch):
    monkeypatch.setattr(field, "TILE_VALUES", 1500)
    array, other = related((8, 24, 30))
    blobs = [guided(array, lz.absolute(0.02), [other], threads=threads) for threads in (1, 2)]
    assert blobs[0] == blobs[1]
    whole = lz.decompress(blobs[0], references=[other], threads=2)
    part = lz.decompress(blobs[0], references=[other], region=np.s_[2:5, 30:3:-2])
    assert part.tobytes() == whole[2:5, 30:3:-2].tobytes()
    assert whole.tobytes() == reference.decode_frame(blobs[0], [other]).tobytes()


HOSTILE = {
    "zero": np.zeros_like,
    "noise": lambda array: np.random.default_rng(1).standard_normal(array.shape).astype(array.dtype),
    "NaN": lambda array: np.full_like(array, np.nan),
    "half NaN": lambda array: np.where(np.arange(array.shape[-1]) % 2, np.nan, array).astype(array.dtype),
    "infinite": lambda array: np.where(array > 0, np.inf, -np.inf).astype(array.dtype),
    "huge": lambda array: np.where(array > 0, 3e38, -3e38).astype(array.dtype),
    "spikes": lambda array: np.where(array > 1.2, 1e30, array).astype(array.dtype),
    "negated": np.negative,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_references_cost_nothing(name):
    array = waves((8, 30, 40))
    array[2, 3, 4:8] = np.nan, np.inf, -0.0, -9999.0
    with np.errstate(all="ignore"):
        other = HOSTILE[name](array)
    bound, options = lz.absolute(0.01), {"fill_value": -9999.0, "effort": "balanced"}
    blob = lz.compress(array, bound, references=[other], train_seconds=0, **options)
    assert len(blob) <= len(lz.compress(array, bound, **options))
    decoded = lz.decompress(blob, references=[other])
    assert not exact.violations(array, decoded, 0.01, (-9999.0,)).size


def test_a_time_step_before_helps():
    rough = np.random.default_rng(5).standard_normal((2, 40, 60)).cumsum(0).astype("<f4")
    before, now = rough[0], (rough[0] + 0.2 * rough[1]).astype("<f4")
    known = lz.decompress(lz.compress(before, lz.absolute(0.02)))
    blob = lz.compress(now, lz.absolute(0.02), references=[known], train_seconds=0)
    assert len(blob) < 0.8 * len(lz.compress(now, lz.absolute(0.02)))
    assert np.abs(lz.decompress(blob, references=[known]).astype("f8") - now).max() <= 0.02


def test_staggered_references():
    rough = np.random.default_rng(1).standard_normal((9, 20, 31)).astype("<f4")
    fields = {"u": rough, "p": (onto(rough, (9, 20, 30)) + 0.01).astype("<f4")}
    archive = lz.compress_fields(fields, {"*": lz.absolute(0.02)}, learned=True, train_seconds=0)
    alone = lz.compress_fields(fields, {"*": lz.absolute(0.02)})
    assert len(archive) < 0.8 * len(alone)
    for name, values in lz.decompress_fields(archive).items():
        assert np.abs(values.astype("f8") - fields[name]).max() <= 0.02


def test_a_mask_reference():
    rng = np.random.default_rng(2)
    land = rng.random((9, 30, 40)) < 0.3
    first, second = waves((9, 30, 40), 1), waves((9, 30, 40), 2)
    first[land], second[land] = -999.0, -999.0
    second[0, 0, :3], second[1, 1, :2] = -999.0, np.nan
    bound, options = lz.absolute(0.02), {"fill_value": -999.0}
    known = lz.decompress(lz.compress(first, bound, **options))
    blob = lz.compress(second, bound, references=[known], train_seconds=0, **options)
    assert len(blob) < len(lz.compress(second, bound, **options)) - 900
    decoded = lz.decompress(blob, references=[known])
    assert not exact.violations(second, decoded, 0.02, (-999.0,)).size
    assert decoded.tobytes() == reference.decode_frame(blob, [known]).tobytes()


def test_a_network_subtracted_and_tapped():
    """What it makes is a guide as any other; the second decoder makes it, too."""
    array, other = related((7, 12, 13))
    network = Network.constant(0.25).to_bytes()
    raw = RawGuide(FROM_NETWORK, False, 0.0, 0, 4)
    for subtracted in (True, False):
        parts: list[bytes] = []
        taps = (raw, *proposed(rows_of(array), {0: rows_of(other)}, ()))
        guide = FieldGuide(network, [other], array.shape, array.dtype, subtracted=subtracted, taps=taps)
        compress_field(array, lz.absolute(0.02), parts.append, guide=guide)
        blob = b"".join(parts)
        decoded = lz.decompress(blob, references=[other])
        assert not exact.violations(array, decoded, 0.02).size
        assert decoded.tobytes() == reference.decode_frame(blob, [other]).tobytes()


def test_guides_are_finite():
    values = np.array([np.nan, np.inf, -np.inf, 3e38, -5.0, 0.0, 1.5, 1e-40], "<f4")
    for raw in (
        RawGuide(0, False, 0.0, 0, 2),
        RawGuide(0, True, 1.0, 2000, 2200, 2200),
        RawGuide(0, True, -1e300, -2200, 2200, -2200),
        RawGuide(0, False, 1e308, 1000, 2200),
    ):
        assert np.isfinite(values_of(raw, values, np.dtype("<f4"))).all()
    assert values_of(RawGuide(0, False, 0.0, 1, 2), values, np.dtype("<f4")).tolist()[3:7] == [0, 0, 0, 3]


def test_other_bounds_do_without_taps():
    array, other = related((7, 20, 30))
    for bound in (lz.psnr(40), lz.absolute(np.where(np.arange(30) < 9, 0.1, 0.01)), lz.lossless()):
        blob = guided(array, bound, [other])
        assert not Frame.of_bytes(blob).references
        assert lz.verify(array, blob).passed


def test_forged_raw_guides():
    array, other = related((7, 20, 30))
    blob = guided(array, lz.absolute(0.02), [other])
    parts = Parts.of(blob)
    sections = unpack_sections(parts.header, "ABRSMLGP")
    own = sections["G"]
    forged = [own[:size] for size in range(len(own))]
    forged += [own + b"\0", b"\x02" + own[1:], b"\x08" + own[1:], own[:10] + b"\x11" + own[11:]]
    forged += [own[:11] + bytes([reference]) + own[12:] for reference in (1, 127)]
    for section in forged:
        header = pack_sections({**sections, "G": section})
        with pytest.raises(lz.DecodeError):
            lz.decompress(Parts(header, parts.tiles, parts.index, 0).forge(), references=[other])


def test_taps_are_taken_in_turn():
    """Forward selection gives what least squares of the chosen columns give, the best first."""
    rng = np.random.default_rng(4)
    columns = rng.standard_normal((500, 6))
    wanted = columns @ np.array([0.5, 0.0, 2.0, 0.0, -1.0, 0.0]) + 0.01 * rng.standard_normal(500)
    order, solutions = in_turn(columns.T @ columns, columns.T @ wanted, 1, 3)
    assert order[:2].tolist() == [2, 4]
    for taken in range(4):
        used = [0, *order[:taken]]
        expected = np.linalg.lstsq(columns[:, used], wanted, rcond=None)[0]
        assert np.allclose(solutions[taken][used], expected)
        assert not np.delete(solutions[taken], used).any()
    same = np.hstack([columns, columns[:, :2]])  # nothing is taken twice
    order, _ = in_turn(same.T @ same, same.T @ wanted, 0, 8)
    assert len(order) == 6


def test_promising_references():
    array, other = related((6, 40, 50))
    others = [waves(array.shape, seed, 0.1) for seed in (11, 12, 13)]
    nothing = np.full_like(array, np.nan)
    assert promising(array, 0.02, [others[0], nothing, other, *others[1:]], ())[0] == 2
    assert promising(nothing, 0.02, others, ()) == []
    holes = np.where(others[0] > 1, np.nan, array)
    elsewhere = np.where(others[1] > 1, np.nan, other)
    assert mask_of(holes, [elsewhere, np.where(others[0] > 1, np.nan, other)], ()) == 1
    assert mask_of(array, [elsewhere], ()) is None
    assert mask_of(holes, [array], ()) is None


def test_thin_fields_have_no_guides():
    array, other = related((4000, 2, 3))
    blob = lz.compress(array, lz.absolute(0.02), references=[other], train_seconds=0)
    assert not exact.violations(array, lz.decompress(blob, references=[other]), 0.02).size
