"""Models: trained once, used for further snapshots, and refused where they are other ones or no models."""

from __future__ import annotations

import contextlib
import importlib.util
import struct
import zlib
from pathlib import Path

import exact
import h5py
import numpy as np
import pytest
import reference
from forgery import Parts
from reference import networks
from test_network import network

import lossyzip as lz
from datasets import synthetic
from lossyzip.container.archive import pack_archive, unpack_related
from lossyzip.container.frame import pack_sections, unpack_sections
from lossyzip.entropy.bits import put_varint
from lossyzip.io.train import train_files
from lossyzip.io.verify import verify_file
from lossyzip.learned.model import Model, Target
from lossyzip.learned.neighbourhood import Input
from lossyzip.learned.network import Feature, Layer, Network

SHAPE = (16, 40, 40)
BOUNDS = {"*": lz.relative(1e-3)}
SECTIONS = "ABRSMLGNP"


def snapshot(seed: int, shape: tuple[int, ...] = SHAPE) -> dict[str, np.ndarray]:
    """A third field that follows from two others, and noise."""
    rng = np.random.default_rng(seed)
    a, b = (synthetic.waves(shape, rng, 8) + 0.05 * rng.standard_normal(shape) for _ in range(2))
    fields = {"c": a * a + np.abs(b), "a": a, "b": b, "noise": rng.standard_normal(shape)}
    return {name: field.astype(np.float32) for name, field in fields.items()}


def assert_within(fields: dict[str, np.ndarray], decoded: dict[str, np.ndarray], rel: float = 1e-3) -> None:
    assert fields.keys() == decoded.keys()
    for name, field in fields.items():
        eps = exact.tolerance(field, "relative", rel)
        assert not exact.violations(field, decoded[name], eps).size


def by_hand(*names: str) -> Model:
    """Networks with random weights: fields in turn, each from the two before it."""
    rng = np.random.default_rng(1)
    targets = []
    for k in range(2, len(names)):
        made = network(rng, references=2).to_bytes()
        targets.append(Target(names[k], (names[k - 2], names[k - 1]), 1e-3, made))
    return Model(tuple(targets))


def same_as_a() -> Model:
    """c is predicted as a."""
    none = np.zeros(1, np.int64)
    inputs = (Input(0, False, 0.0, 1.0, 4096.0),)
    net = Network(
        inputs, (Feature(0, 0, 0),), (), Layer(np.ones((1, 1), np.int64), none, none), 1, 0.0, 2.0**-12
    )
    return Model((Target("c", ("a",), 1e-3, net.to_bytes()),))


def shifted(seed: int) -> dict[str, np.ndarray]:
    """Fields of which the second is the first, but for a little noise."""
    rng = np.random.default_rng(seed)
    a = synthetic.waves(SHAPE, rng, 8) + 0.5 * rng.standard_normal(SHAPE)
    return {"c": (a + 0.01 * rng.standard_normal(SHAPE)).astype("f4"), "a": a.astype("f4")}


# Without training: what decoding is


def test_a_frame_names_its_model():
    model, fields = same_as_a(), shifted(1)
    archive = lz.compress_fields(fields, BOUNDS, model=model)
    embedded = lz.compress_fields(fields, BOUNDS, model=model, embed_model=True)
    alone = lz.compress_fields(fields, BOUNDS)
    size = len(model.targets[0].network)
    assert len(archive) < 0.9 * len(alone)
    assert len(archive) < len(embedded) <= len(archive) + size
    frames, graph = unpack_related(archive)
    assert graph == {"c": ("a",), "a": ()}
    assert lz.inspect(bytes(frames["c"])).model == f"{model.checksum:016x}"
    assert lz.inspect(bytes(frames["a"])).model == ""
    decoded = lz.decompress_fields(archive, model=model)
    assert_within(fields, decoded)
    again = lz.decompress_fields(embedded)
    assert all(again[name].tobytes() == decoded[name].tobytes() for name in fields)
    read = Model.from_bytes(model.to_bytes())
    assert (read, read.checksum) == (model, model.checksum)
    part = lz.decompress(bytes(frames["c"]), references=[decoded["a"]], model=read, region=np.s_[3, 5:9])
    assert part.tobytes() == decoded["c"][3, 5:9].tobytes()
    assert lz.verify(fields["c"], bytes(frames["c"]), references=[decoded["a"]], model=read).passed
    assert lz.compress_fields(fields, BOUNDS, model=read, threads=1) == archive


def test_no_model_and_other_models():
    model, fields = same_as_a(), shifted(1)
    archive = lz.compress_fields(fields, BOUNDS, model=model)
    other = Model((model.targets[0]._replace(relative_eps=1e-2),))
    for wrong in (None, other, Model(())):
        with pytest.raises(lz.MissingModelError, match=f"{model.checksum:016x}"):
            lz.decompress_fields(archive, model=wrong)
        assert lz.decompress_fields(archive, only=["a"], model=wrong).keys() == {"a"}
    plain = lz.compress_fields(fields, BOUNDS)
    assert_within(fields, lz.decompress_fields(plain, model=model))
    with pytest.raises(lz.InvalidArgumentError, match="leave one"):
        lz.compress_fields(fields, BOUNDS, model=model, learned=True)


def test_fields_that_a_model_does_not_fit():
    model, fields = same_as_a(), shifted(1)
    for odd in (
        {"c": fields["c"]},
        {**fields, "a": fields["a"][1:]},
        {**fields, "a": fields["a"].astype(np.int16)},
        {"x": fields["a"], "y": fields["c"]},
        {name: field[:2, :3, :4] for name, field in fields.items()},
        {**fields, "c": np.full(SHAPE, np.nan, "f4")},
        {**fields, "c": np.ma.masked_greater(fields["c"], 0.5)},
    ):
        archive = lz.compress_fields(odd, BOUNDS, model=model)
        decoded = lz.decompress_fields(archive, model=model)
        for name, field in odd.items():
            assert (decoded[name].shape, decoded[name].dtype) == (field.shape, field.dtype)
    for bound in (lz.lossless(), lz.pointwise_relative(0.1), lz.psnr(50), lz.absolute(0)):
        lz.decompress_fields(lz.compress_fields(fields, {"c": bound, **BOUNDS}, model=model), model=model)


@pytest.mark.parametrize("rel", [0.1, 1e-3, 1e-6])
def test_the_bound_holds_with_any_network(rel):
    """Random weights; a chain, in which each field is a reference of the next."""
    fields = snapshot(3)
    model = by_hand(*fields)
    archive = lz.compress_fields(fields, {"*": lz.relative(rel)}, model=model)
    assert_within(fields, lz.decompress_fields(archive, model=model), rel)
    assert len(archive) <= len(lz.compress_fields(fields, {"*": lz.relative(rel)}))


def test_all_cuts_and_flips_of_a_model(rng):
    data = by_hand("a", "b", "c", "d").to_bytes()
    for end in range(len(data)):
        with pytest.raises(lz.DecodeError):
            Model.from_bytes(data[:end])
    for bit in rng.choice(8 * len(data), 400, replace=False).tolist():
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(lz.DecodeError):
            Model.from_bytes(bytes(flipped))
    for other in (
        b"",
        b"LsyZ" + data[4:],
        data + b"\0",
        b"\x89HDF\r\n\x1a\n",
        lz.compress(np.ones(3), lz.lossless()),
    ):
        with pytest.raises(lz.DecodeError):
            Model.from_bytes(other)
    assert Model.from_bytes(Model(()).to_bytes()).targets == ()


def test_a_golden_model_and_its_plain_twin(rng):
    data = (Path(__file__).parent / "golden" / "model.lzm").read_bytes()
    model, (number, targets) = Model.from_bytes(data), reference.read_model(data)
    assert model.checksum == number == 0xB5E0D88D1D72C614
    assert model.to_bytes() == data
    references = [rng.standard_normal((4, 5, 6)), rng.standard_normal((4, 5, 6)).astype("f4")]
    for (name, said), target in zip(targets.items(), model.targets, strict=True):
        assert (name, tuple(said["references"]), said["relative_eps"]) == target[:3]
        guide = Network.from_bytes(target.network).guide(references)
        assert guide.tobytes() == networks.guide(said["network"], references).tobytes()


def sealed(sections: dict[str, bytes], version: int = 1) -> bytes:
    out = bytearray(b"LsyM")
    put_varint(out, version)
    packed = pack_sections(sections)
    put_varint(out, len(packed))
    out += packed
    return bytes(out) + struct.pack("<I", zlib.crc32(out))


def test_forged_models(rng):
    model = by_hand("a", "b", "c", "d")
    first, second = model.targets
    for forged in (
        (second, first),  # needs a later one
        (first, first),
        (first._replace(references=("b", "b")),),
        (first._replace(references=("a", "c")),),
        (first._replace(references=("a",)),),  # the network has two
        (first._replace(references=()),),
        (first._replace(relative_eps=float("nan")),),
        (first._replace(relative_eps=-1.0),),
        (first._replace(network=b""),),
        (first._replace(network=first.network + b"\0"),),
        (first._replace(network=b"\xff" * 40),),
    ):
        with pytest.raises(lz.DecodeError):
            Model.from_bytes(Model(forged).to_bytes())
    table = unpack_sections(model.to_bytes()[7:-4], "T")["T"]
    assert Model.from_bytes(sealed({"T": table})) == model
    assert Model.from_bytes(sealed({"T": table, "x": b"later"})).checksum == model.checksum
    with pytest.raises(lz.UnsupportedFormatError):
        Model.from_bytes(sealed({"T": table}, version=2))
    with pytest.raises(lz.UnsupportedFormatError):
        Model.from_bytes(sealed({"T": table, "U": b""}))
    longer = bytes([table[0] | 0x80, 0]) + table[1:]  # the same number in two bytes
    with pytest.raises(lz.CorruptError, match="longer"):
        Model.from_bytes(sealed({"T": longer}))
    for _ in range(300):
        changed = bytearray(table)
        for at in rng.integers(len(table), size=3):
            changed[at] = rng.integers(256)
        with contextlib.suppress(lz.DecodeError):
            read = Model.from_bytes(sealed({"T": bytes(changed[: rng.integers(1, len(table) + 1)])}))
            assert Model.from_bytes(read.to_bytes()) == read


def test_forged_names_of_networks():
    model, fields = same_as_a(), shifted(1)
    frames, graph = unpack_related(lz.compress_fields(fields, BOUNDS, model=model))
    parts = Parts.of(bytes(frames["c"]))
    sections = unpack_sections(parts.header, SECTIONS)
    own = sections["N"]
    lacking = {tag: data for tag, data in sections.items() if tag != "N"}
    guideless = {tag: data for tag, data in sections.items() if tag != "G"}
    for forged in (
        {**sections, "N": b""},
        {**sections, "N": own[:7]},
        {**sections, "N": own[:8]},
        {**sections, "N": own + b"\0"},
        {**sections, "N": own[:8] + b"\1"},
        {**sections, "N": bytes(8) + own[8:]},
        {**sections, "G": sections["G"] + model.targets[0].network},
        lacking,
        guideless,
    ):
        frame = Parts(pack_sections(forged), parts.tiles, parts.index, 0).forge()
        archive = pack_archive({"c": frame, "a": bytes(frames["a"])}, graph)
        with pytest.raises(lz.DecodeError):
            lz.decompress_fields(archive, model=model)


# With training

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed: nothing can be trained"
)


@pytest.fixture(scope="module")
def trained() -> Model:
    return lz.train([snapshot(1), snapshot(2)], BOUNDS, train_seconds=2.0)


@needs_torch
def test_a_model_serves_further_snapshots(trained):
    fields = snapshot(9)
    assert [target.name for target in trained.targets] == ["c"]
    assert set(trained.targets[0].references) == {"a", "b"}
    assert trained.targets[0].relative_eps == pytest.approx(1e-3)
    alone = lz.compress_fields(fields, BOUNDS)
    archive = lz.compress_fields(fields, BOUNDS, model=trained)
    assert len(archive) < 0.95 * len(alone)
    frames = unpack_related(archive)[0]
    assert len(frames["c"]) < 0.6 * len(lz.compress(fields["c"], BOUNDS["*"]))
    assert_within(fields, lz.decompress_fields(archive, model=trained))


@needs_torch
def test_the_same_seed_gives_the_same_model(trained):
    again = lz.train([snapshot(1), snapshot(2)], BOUNDS, train_seconds=2.0, threads=1)
    assert again.to_bytes() == trained.to_bytes()
    other = lz.train([snapshot(1), snapshot(2)], BOUNDS, train_seconds=2.0, seed=1)
    assert other.checksum != trained.checksum


@needs_torch
@pytest.mark.parametrize("change", ["scaled", "moved", "unrelated", "constant", "nan", "other shape"])
def test_the_bound_holds_where_a_model_does_not_fit(trained, change):
    fields = {
        "scaled": {name: 1e6 * field for name, field in snapshot(5).items()},
        "moved": {name: 1000 + field for name, field in snapshot(5).items()},
        "unrelated": {**snapshot(5), "c": snapshot(6)["noise"]},
        "constant": {**snapshot(5), "a": np.full(SHAPE, 7.0, "f4")},
        "nan": {**snapshot(5), "b": np.full(SHAPE, np.nan, "f4")},
        "other shape": snapshot(5, (70, 90)),
    }[change]
    archive = lz.compress_fields(fields, BOUNDS, model=trained)
    decoded = lz.decompress_fields(archive, model=trained)
    assert len(archive) <= len(lz.compress_fields(fields, BOUNDS)) + 8
    for name, field in fields.items():
        if np.isfinite(field).all():
            eps = exact.tolerance(field, "relative", 1e-3)
            assert not exact.violations(field, decoded[name], eps).size
        else:
            assert decoded[name].tobytes() == field.tobytes()


@needs_torch
def test_snapshots_in_a_plane_and_with_fills():
    """Two axes: neighbours are never those of another snapshot. Fill values, and boxes of large snapshots."""
    several = []
    for seed in range(4):
        fields = snapshot(seed, (120, 130))
        for field in fields.values():
            field[:20] = -999.0
        several.append(fields)
    model = lz.train(several[:3], BOUNDS, train_seconds=1.0, fill_value=-999.0)
    archive = lz.compress_fields(several[3], BOUNDS, model=model, fill_value=-999.0)
    alone = lz.compress_fields(several[3], BOUNDS, fill_value=-999.0)
    assert len(archive) < 0.95 * len(alone)
    decoded = lz.decompress_fields(archive, model=model)
    for name, field in several[3].items():
        assert (decoded[name][:20] == -999.0).all()
        eps = 1e-3 * np.ptp(field[20:].astype("f8"))
        assert np.abs(decoded[name].astype("f8") - field).max() <= eps


@needs_torch
def test_snapshots_that_do_not_belong_together():
    one = snapshot(1)
    fewer = {name: field for name, field in one.items() if name != "b"}
    for snapshots, what in (
        ([], "not on none"),
        ([one, fewer], "snapshot 2 has no field 'b'"),
        ([fewer, one], "only snapshot 2 has a field 'b'"),
        ([one, snapshot(2, (8, 40, 40))], "snapshot 2"),
    ):
        with pytest.raises(lz.InvalidArgumentError, match=what):
            lz.train(snapshots, BOUNDS)
    with pytest.raises(lz.InvalidArgumentError, match="no bound"):
        lz.train([one], {"a": lz.relative(1e-3)})
    nothing = lz.train([one], {"a": lz.lossless(), "*": lz.pointwise_relative(1e-3)}, train_seconds=0.1)
    assert nothing.targets == ()
    assert lz.compress_fields(one, BOUNDS, model=nothing) == lz.compress_fields(one, BOUNDS)


# Files


@pytest.fixture
def files(tmp_path):
    for k in range(3):
        with h5py.File(tmp_path / f"{k}.h5", "w") as file:
            for name, field in snapshot(k).items():
                file[f"run/{name}"] = field
            file["step"] = k
    return tmp_path


@needs_torch
def test_files(files):
    sources, target = [files / "0.h5", files / "1.h5"], files / "run.lzm"
    told = []
    report = train_files(sources, target, BOUNDS, train_seconds=2.0, progress=lambda *a: told.append(a))
    assert [row.name for row in report.targets] == ["run/c"]
    assert report.alone == ("run/a", "run/b", "run/noise")
    assert sum(done for _, done, _ in told) == told[0][2]
    model = Model.from_bytes(target.read_bytes())
    assert (f"{model.checksum:016x}", target.stat().st_size) == (report.model, report.model_bytes)
    original, packed, back = files / "2.h5", files / "packed.h5", files / "back.h5"
    rows = {row.name: row for row in lz.compress_file(original, packed, BOUNDS, model=model).fields}
    assert rows["run/c"].model == report.model
    assert not rows["run/a"].model
    assert verify_file(original, packed, model=model).passed
    (problem,) = (row.problem for row in verify_file(original, packed).fields if row.problem)
    assert report.model in problem
    with pytest.raises(lz.MissingModelError, match="run/c"):
        lz.decompress_file(packed, back)
    kept = lz.decompress_file(packed, back, keep_going=True)
    assert list(kept.damaged) == ["run/c"]
    lz.decompress_file(packed, back, model=model, force=True)
    with h5py.File(back) as restored:
        assert_within(snapshot(2), {name: restored[f"run/{name}"][...] for name in snapshot(2)})
    lz.compress_file(original, packed, BOUNDS, model=model, embed_model=True, force=True)
    assert verify_file(original, packed).passed
    with pytest.raises(lz.InvalidArgumentError, match="exists"):
        train_files(sources, target, BOUNDS, train_seconds=0.1)
    with pytest.raises(lz.InvalidArgumentError, match="pattern"):
        train_files(sources, target, {"nothing": lz.relative(0.1)}, force=True)
    with pytest.raises(lz.InvalidArgumentError, match="learned"):
        lz.compress_file(original, packed, BOUNDS, model=model, learned=True, force=True)
    assert Model.from_bytes(target.read_bytes()) == model


@needs_torch
def test_training_that_is_interrupted_writes_nothing(files):
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_files([files / "0.h5"], files / "run.lzm", BOUNDS, progress=stop)
    assert sorted(path.name for path in files.iterdir()) == ["0.h5", "1.h5", "2.h5"]
