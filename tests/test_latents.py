"""Latents: the same integers as by the document, within the bound, harmless where bytes are hostile."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import exact
import h5py
import numpy as np
import pytest
import reference
from click.testing import CliRunner
from forgery import Parts
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import networks as twin

import lossyzip as lz
from datasets import synthetic
from lossyzip import dataset, field, latent_trial, second_pass, trial
from lossyzip.cli import lossyzip as group
from lossyzip.compressor import compress_field
from lossyzip.container.frame import pack_sections, unpack_sections
from lossyzip.enhancing import Enhancing
from lossyzip.errors import CorruptError, DecodeError, InvalidArgumentError
from lossyzip.guide import FieldGuide
from lossyzip.learned import training
from lossyzip.learned.latents import Latents, corners_of, grid_of
from lossyzip.learned.neighbourhood import FIRST_LATENT, Input, folded
from lossyzip.learned.network import Feature, Layer, Network

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
HAS_TORCH = importlib.util.find_spec("torch") is not None
if HAS_TORCH:
    from lossyzip.learned import autoencoder
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="latents are trained by torch, which is not installed")
SHAPES = st.lists(st.integers(1, 6), max_size=4).map(tuple)
STRIDES = st.tuples(*[st.sampled_from((1, 2, 3, 4, 8))] * 3)
NONE = np.zeros(1, np.int64)


def latents(shape, strides=(2, 4, 3), channels=2, seed=0, most=32767):
    rng = np.random.default_rng(seed)
    values = rng.integers(-most, most + 1, (channels, *grid_of(shape, strides))).astype(np.int16)
    return Latents(values, strides, shape)


def network(references=1, channels=2, seed=0):
    """Random; it sees points, shells and pairs of all its inputs."""
    rng = np.random.default_rng(seed)
    inputs = [Input(k, False, 0.5, 1.5, 900.0) for k in range(references)]
    inputs += [Input(FIRST_LATENT + k, bool(k), 3.0, 1 / 24, 16.0) for k in range(channels)]
    features = [Feature(k, kind, kind % 3) for k in range(len(inputs)) for kind in (0, 1, 2, 5, 26)]
    hidden = Layer(rng.integers(-90, 90, (5, len(features))), rng.integers(-9000, 9000, 5), np.full(5, 7))
    output = Layer(rng.integers(-90, 90, (1, 5 + len(features))), NONE, NONE)
    return Network(tuple(inputs), tuple(features), (hidden,), output, 12, 0.25, 2.0**-22)


@given(SHAPES, STRIDES, st.integers(0, 99))
@settings(max_examples=40)
def test_what_lies_between_places_equals_its_plain_twin(shape, strides, seed):
    made = latents(shape, strides, seed=seed)
    full = folded(shape)
    expected = twin.channels(made._values, bytes(strides), shape)
    index = [np.arange(n) for n in full[1:]]
    points = np.indices(full).reshape(4, -1).T
    for k in range(made.channels):
        parts = [made.between(k, t, index) for t in range(full[0])]
        assert np.array_equal(np.stack(parts).reshape(shape), expected[k])
        assert np.array_equal(made.at(k, points).reshape(shape), expected[k])
    numbers, weights = corners_of(points, grid_of(shape, strides), strides)
    assert (weights.sum(axis=1) == np.prod(strides)).all()
    assert numbers.min() >= 0
    assert numbers.max() < np.prod(grid_of(shape, strides))


@given(SHAPES, STRIDES, st.data())
@settings(max_examples=40)
def test_a_part_sees_what_the_whole_does(shape, strides, data):
    made = latents(shape, strides)
    seen = [axis for axis, n in enumerate(shape) if n > 1][-3:]
    where = []
    for axis, n in enumerate(shape):
        start = data.draw(st.integers(0, n - 1 - (axis in seen)))
        where.append(slice(start, data.draw(st.integers(start + 1 + (axis in seen), n))))
    part = made.part(tuple(where))
    full = folded(part.shape)
    expected = twin.channels(made._values, bytes(strides), shape)
    for k in range(made.channels):
        found = [part.between(k, t, [np.arange(n) for n in full[1:]]) for t in range(full[0])]
        assert np.array_equal(np.stack(found).reshape(part.shape), expected[k][tuple(where)])


@given(SHAPES, STRIDES, st.integers(0, 1), st.integers(0, 99))
@settings(max_examples=40)
def test_networks_of_latents_equal_their_plain_twin(shape, strides, references, seed):
    made, net = latents(shape, strides, seed=seed), network(references, seed=seed)
    known = [np.random.default_rng(seed).standard_normal(shape)] * references
    guide = net.guide(known, latents=made)
    channels = twin.channels(made._values, bytes(strides), shape)
    assert np.array_equal(guide.view("u8"), twin.guide(net, known, channels, shape).view("u8"))
    where = tuple(slice(n // 3, n) for n in shape)
    assert np.array_equal(net.guide(known, where, made), guide[where])


@given(SHAPES, STRIDES, st.integers(1, 3), st.integers(0, 99), st.sampled_from((0, 1, 30, 32767)))
@settings(max_examples=15)
def test_bytes_come_back(shape, strides, channels, seed, most):
    made = latents(shape, strides, channels, seed, most)
    back = Latents.from_bytes(made.to_bytes(), shape)
    assert back.strides == strides
    assert np.array_equal(back._values, made._values)


def waves(shape=(9, 20, 24), dtype="<f4", seed=3):
    rng = np.random.default_rng(seed)
    return (synthetic.waves(shape, rng, 6) + 0.05 * rng.standard_normal(shape)).astype(dtype)


def framed(array, bound, known=(), channels=2, **options):
    """A frame with a random network and random latents; ``channels``: those that are there."""
    parts = []
    made = latents(array.shape, (2, 8, 4), channels, most=30)
    guide = FieldGuide(
        network(len(known)).to_bytes(), known, array.shape, array.dtype, latents=made.to_bytes()
    )
    compress_field(array, bound, parts.append, guide=guide, **options)
    return b"".join(parts)


@pytest.mark.parametrize("shape", [(9, 20, 24), (2, 3, 11, 13), (40, 50), (300,)])
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_the_bound_holds_with_any_latents(shape, dtype, monkeypatch):
    monkeypatch.setattr(field, "TILE_VALUES", 4000)
    array, known = waves(shape, dtype), [waves(shape, dtype, seed=4)]
    array.reshape(-1)[5:9] = np.nan, np.inf, -0.0, -9999.0
    for others in (known, []):
        blob = framed(array, lz.relative(0.02), others, fill_values=(-9999.0,))
        assert lz.inspect(blob).sections["latents"] > 0
        decoded = lz.decompress(blob, references=others, threads=1)
        assert lz.decompress(blob, references=others, threads=2).tobytes() == decoded.tobytes()
        eps = exact.tolerance(array, "relative", 0.02, (-9999.0,))
        assert not exact.violations(array, decoded, eps, (-9999.0,)).size
        where = tuple(slice(1, n - 1, 2) for n in shape)
        part = lz.decompress(blob, references=others, region=where)
        assert part.tobytes() == decoded[where].tobytes()
    assert reference.decode_frame(blob).tobytes() == decoded.tobytes()


def test_enhanced_fields_with_latents(monkeypatch):
    monkeypatch.setattr(second_pass, "_cheaper", lambda *_: True)
    array = waves((12, 40, 45))
    blob = framed(array, lz.absolute(0.1), enhancing=Enhancing(("offsets",), 2.0))
    found = lz.inspect(blob)
    assert found.enhancer == "offsets"
    assert found.sections["latents"] > 0
    assert sum(found.sections.values()) == len(blob)
    assert lz.verify(array, blob).passed
    plain = lz.decompress(blob, enhance=False)
    assert np.abs(plain.astype("f8") - array).max() <= 0.1


def test_references_beside_latents_are_needed():
    with pytest.raises(lz.MissingReferenceError):
        lz.decompress(framed(waves(), lz.absolute(0.1), [waves(seed=4)]))


def test_a_forged_network_that_needs_more_references_than_there_are():
    shape = (9, 20, 24)
    made = latents(shape, (2, 8, 4), 2, most=30).to_bytes()
    guide = FieldGuide(network(1).to_bytes(), [], shape, np.dtype("<f4"), latents=made)
    with pytest.raises(lz.MissingReferenceError):
        guide(tuple(slice(0, n) for n in shape))


def test_bytes_of_latents_are_whole_or_refused():
    shape = (9, 20, 24)
    data = latents(shape, most=30).to_bytes()
    for size in range(len(data)):
        with pytest.raises(DecodeError):
            Latents.from_bytes(data[:size], shape)
    for strides in (b"\0\4\3", b"\2\4\x41", b"\2\4\4"):
        with pytest.raises(CorruptError):
            Latents.from_bytes(strides + data[3:], shape)
    with pytest.raises(CorruptError):
        Latents.from_bytes(data, (9, 20, 36))
    values = latents(shape, channels=17, most=3)._values
    wrong = [values, values[:2].astype(np.int32), np.ma.masked_less(values[:2], 0), values[0]]
    wrong += [values[:2].astype(">i2"), values[:2].astype(np.float32)]
    for array in wrong:
        with pytest.raises(CorruptError):
            Latents.from_bytes(bytes((2, 4, 3)) + lz.compress(array, lz.lossless()), shape)


def test_latents_that_would_not_fit_into_memory_are_refused():
    """Before they are decoded, whatever the field's shape makes room for."""
    shape = (1 << 20, 1 << 12, 1 << 12)
    few = Parts.of(lz.compress(np.zeros((1, 1, 1, 1, 1), np.int16), lz.lossless()))
    sections = unpack_sections(few.header, "ABRSMLGNZEKP")
    grid = (1, *grid_of(shape, (1, 1, 1)))
    lengths = b"".join(_varint(n) for n in (*grid, 1, 1, 1, 1, 1))
    header = pack_sections({**sections, "A": sections["A"][:2] + lengths})
    with pytest.raises(DecodeError):
        Latents.from_bytes(b"\1\1\1" + Parts(header, few.tiles, few.index, 0).forge(), shape)


def _varint(number):
    from lossyzip.entropy.bits import put_varint

    out = bytearray()
    put_varint(out, number)
    return bytes(out)


def test_forged_frames():
    array = waves()
    blob = framed(array, lz.absolute(0.1))
    parts = Parts.of(blob)
    sections = unpack_sections(parts.header, "ABRSMLGNZEKP")
    own, made = sections["G"], latents(array.shape, (2, 8, 4), 1, most=30).to_bytes()
    plain = {tag: payload for tag, payload in sections.items() if tag != "Z"}
    forged = [
        plain,  # no reference and no latents
        {**sections, "Z": b""},
        {**sections, "Z": made},  # too few channels
        {**sections, "Z": sections["Z"][:30]},
        {**sections, "Z": sections["Z"][:3] + blob},  # a frame with latents of its own
        {**sections, "G": bytes([own[0] & ~1]) + own[1:9] + b"\0\0"},  # no network
        {tag: payload for tag, payload in sections.items() if tag != "G"},
    ]
    for some in forged:
        with pytest.raises(DecodeError):
            lz.decompress(Parts(pack_sections(some), parts.tiles, parts.index, 0).forge())


def fronts(shape=(20, 48, 48)):
    """A field that a reference tells, but for which of two it is, that changes at fronts; the reference."""
    rng = np.random.default_rng(5)
    hidden = synthetic.waves(shape, rng, 4)
    known = synthetic.waves(shape, np.random.default_rng(6), 3) + 0.2 * rng.standard_normal(shape)
    target = np.where(hidden > 0, 1.0, -1.0) * known
    return target.astype(np.float32), known.astype(np.float32)


@pytest.fixture
def always(monkeypatch):
    """However small the field is."""
    monkeypatch.setattr(latent_trial, "_LEAST_BYTES", 0)
    monkeypatch.setattr(latent_trial, "_WAYS", ((8, 2),))


@needs_torch
def test_latents_pay_where_references_do_not_say_it_all(always):
    array, known = fronts()
    bound, options = lz.absolute(0.1), {"references": [known], "train_seconds": 2}
    without = lz.compress(array, bound, **options)
    blob = lz.compress(array, bound, autoencoder=True, **options)
    assert lz.inspect(blob).sections["latents"] > 0
    assert len(blob) < 0.95 * len(without)
    assert np.abs(lz.decompress(blob, references=[known]).astype("f8") - array).max() <= 0.1


@needs_torch
def test_the_same_seed_gives_the_same_latents():
    array, known = fronts((16, 40, 40))
    made = []
    for seed in (0, 0, 1):
        rng = np.random.default_rng(seed)
        lesson = training.lesson_of(array, [known], 0.1, rng=rng, patches=2000)
        found = autoencoder.train(lesson, (8, 8, 8), 2, seconds=1, rng=rng)
        made.append(found.network.to_bytes() + found.latents.to_bytes())
    assert made[0] == made[1] != made[2]


@needs_torch
def test_decoding_needs_no_torch(always, tmp_path):
    array, known = fronts((8, 24, 24))
    made = latents(array.shape, (8, 8, 8), 2, most=30)
    parts = []
    guide = FieldGuide(network(1).to_bytes(), [known], array.shape, array.dtype, latents=made.to_bytes())
    compress_field(array, lz.absolute(0.05), parts.append, guide=guide)
    np.save(tmp_path / "known.npy", known)
    (tmp_path / "blob.lz").write_bytes(b"".join(parts))
    program = (
        "import sys; sys.modules['torch'] = None; import numpy as np, lossyzip as lz;"
        f"known = np.load(r'{tmp_path / 'known.npy'}');"
        f"blob = open(r'{tmp_path / 'blob.lz'}', 'rb').read();"
        "sys.stdout.buffer.write(lz.decompress(blob, references=[known]).tobytes())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == lz.decompress(b"".join(parts), references=[known]).tobytes()


@needs_torch
def test_latents_stay_away_where_they_do_not_pay(always):
    noise = np.random.default_rng(1).standard_normal((20, 30, 40)).astype(np.float32)
    plain = lz.compress(noise, lz.absolute(0.01))
    assert len(lz.compress(noise, lz.absolute(0.01), autoencoder=True, train_seconds=0.5)) <= len(plain)


@needs_torch
@pytest.mark.parametrize(
    ("array", "bound"),
    [
        (np.arange(60).reshape(5, 12), lz.absolute(1)),
        (waves((9, 10)).astype("<f2"), lz.absolute(0.1)),
        (waves((9, 10)).astype("<c8"), lz.absolute(0.1)),
        (np.full((9, 10), np.nan, "<f4"), lz.absolute(0.1)),
        (np.zeros((0, 4), "<f4"), lz.absolute(0.1)),
        (np.float32(3.5), lz.absolute(0.1)),
        (np.full((9, 10), 2.0), lz.relative(0.1)),
        (waves((9, 10)), lz.pointwise_relative(0.1)),
        (waves((9, 10)), lz.psnr(50)),
        (waves((9, 10)), lz.lossless()),
        (waves((9, 10)), lz.absolute(np.full(10, 0.1))),
        (np.ma.masked_less(waves((9, 10)), 0), lz.absolute(0.1)),
    ],
)
def test_fields_of_all_kinds(array, bound, always):
    blob = lz.compress(array, bound, autoencoder=True, train_seconds=0.1)
    assert lz.verify(array, blob).passed


@needs_torch
def test_fields_of_a_file_and_what_info_says(tmp_path, monkeypatch):
    """With latents that were not trained, whatever they take."""

    def with_latents(best, field, bound, known, *_):
        made = latents(field.shape, (2, 8, 4), most=30).to_bytes()
        guide = FieldGuide(network(0).to_bytes(), [], field.shape, field.dtype, latents=made)
        return trial.compressed(field, bound, guide, {})

    monkeypatch.setattr(dataset, "_with_latents", with_latents)
    array, (source, target) = waves(), (str(tmp_path / name) for name in ("in.h5", "out.h5"))
    with h5py.File(source, "w") as file:
        file["array"] = array
    run = CliRunner().invoke
    command = ["compress", source, "-o", target, "-b", "*=abs:0.05"]
    done = run(group, [*command, "--learned", "--autoencoder", "--train-seconds", "0.1"])
    assert done.exit_code == 0, done.output
    assert "of latents" in done.output
    assert "of latents" in run(group, ["info", target]).output
    assert run(group, ["verify", source, target]).exit_code == 0
    assert run(group, ["decompress", target, "-o", str(tmp_path / "back.h5")]).exit_code == 0
    assert isinstance(run(group, [*command, "--force", "--autoencoder"]).exception, InvalidArgumentError)
    fields, bounds = {"a": array}, {"*": lz.absolute(0.05)}
    archive = lz.compress_fields(fields, bounds, learned=True, autoencoder=True, train_seconds=0.1)
    assert np.abs(lz.decompress_fields(archive)["a"].astype("f8") - array).max() <= 0.05


def test_what_cannot_be_asked():
    array = waves()
    with pytest.raises(InvalidArgumentError):
        lz.compress_fields({"a": array}, {"*": lz.absolute(0.1)}, autoencoder=True)
    with pytest.raises(InvalidArgumentError):
        lz.compress(array, lz.absolute(0.1), autoencoder=True, train_seconds=0)
    with pytest.raises(InvalidArgumentError):
        lz.compress(array, lz.absolute(0.1), autoencoder=True, idempotent=True)
