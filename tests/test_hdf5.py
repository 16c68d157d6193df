"""HDF5 files: the chosen fields' values change, and what goes wrong with them."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from trip import EVERYTHING, wave

import lossyzip as lz
from lossyzip.cli import exits
from lossyzip.cli import lossyzip as command
from lossyzip.errors import CorruptError, InvalidArgumentError, UnsupportedDataError
from lossyzip.io import stored

# fields


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
def test_fields_are_within_the_bound_and_keep_their_type(trip, dtype: str) -> None:
    t = trip(lambda f: f.create_dataset("g/x", data=wave(30, 40, 20, dtype=dtype)))
    row = t.rows()["g/x"]
    a, b = t.old["g/x"][()], t.back["g/x"][()]
    assert t.back["g/x"].dtype.str == dtype
    assert (
        np.abs(a.astype(np.float64) - b).max()
        == row.max_error
        <= row.eps
        <= 1e-3 * float(np.ptp(a.astype("f8")))
    )
    assert t.verified()


def test_the_compressed_field_is_an_ordinary_dataset_of_bytes(trip) -> None:
    def make(f: h5py.File) -> None:
        f["x"] = wave(30, 40, 20)
        f["x"].attrs["units"] = "K"

    t = trip(make)
    x = t.packed["x"]
    assert (x.dtype, x.ndim) == (np.uint8, 1)
    assert x.attrs["units"] == "K"
    assert x.attrs["lossyzip_version"] == lz.__version__
    assert x.attrs["lossyzip_dtype"] == "<f4"
    assert tuple(x.attrs["lossyzip_shape"]) == (30, 40, 20)
    assert x.attrs["lossyzip_bound"] == "rel:0.001"
    assert 0 < x.attrs["lossyzip_max_error"] <= x.attrs["lossyzip_eps"]
    assert (lz.decompress(x[()].tobytes()) == t.back["x"][()]).all()
    assert list(t.back["x"].attrs) == ["units"]


def test_long_streams_grow_in_chunks(trip, rng: np.random.Generator) -> None:
    noise = rng.standard_normal(1 << 20)
    t = trip(lambda f: f.create_dataset("x", data=noise), {"x": lz.relative(1e-13)})
    assert t.packed["x"].chunks is not None
    assert t.verified()


@pytest.mark.parametrize("most", [1, 2000, 1 << 20])
def test_slabs_are_the_tiles_in_longer_runs(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(stored, "_SLAB_BYTES", most)
    values = np.arange(7 * 9 * 11.0).reshape(7, 9, 11)
    axes = ([slice(k, min(k + 4, n)) for k in range(0, n, 4)] for n in values.shape)
    tiles = [(where, values[where]) for where in itertools.product(*axes)]
    copy = np.full(values.shape, np.nan)
    slabs = list(stored.in_slabs(iter(tiles), values.shape, 8))
    for where, slab in slabs:
        copy[where] = slab
    assert (copy == values).all()
    assert len(slabs) == {1: len(tiles), 2000: 6, 1 << 20: 2}[most]


def test_fill_values_come_back_exactly(trip) -> None:
    def make(f: h5py.File) -> None:
        data = wave(60, 70)
        data[:20, :30] = -9999.0
        f["x"] = data
        f["x"].attrs["_FillValue"] = np.float32(-9999.0)
        f["x"].attrs["missing_value"] = "none"

    t = trip(make)
    assert (t.back["x"][:20, :30] == -9999.0).all()
    assert t.rows()["x"].eps < 0.0021  # of the valid range


def test_the_fill_value_of_hdf5_is_one_unless_zero(trip) -> None:
    """As netCDF leaves it: what was never written is 9.97e36, and no attribute says so."""

    def make(f: h5py.File) -> None:
        for name, fill in (("x", 9.96921e36), ("zero", 0.0)):
            f.create_dataset(name, (60, 70), "f4", fillvalue=fill)[20:] = wave(40, 70) + 5

    t = trip(make)
    assert (t.back["x"][:20] == np.float32(9.96921e36)).all()
    assert t.rows()["x"].eps < 0.0021
    assert t.rows()["zero"].eps > 0.0041  # zeros count
    assert t.verified()


@pytest.mark.parametrize("data", [np.float64(3.5), np.zeros((0, 4), "f4"), np.arange(3.0), h5py.Empty("f4")])
def test_tiny_fields_are_copied(trip, data: object) -> None:
    def make(f: h5py.File) -> None:
        f["x"] = data
        f["y"] = wave(30, 40)

    t = trip(make)
    assert "x" in t.report.copied
    assert t.back["x"].shape == t.old["x"].shape
    assert t.verified()


def test_a_file_without_any_field_goes_through(trip) -> None:
    t = trip(lambda f: f.create_dataset("i", data=np.arange(5)))
    assert t.verified()
    assert list(t.back["i"]) == [0, 1, 2, 3, 4]


def test_what_is_stored_smaller_already_is_copied(trip) -> None:
    t = trip(lambda f: f.create_dataset("x", (200, 300), "f4", chunks=True, fillvalue=7))  # no chunk written
    assert "x" in t.report.copied
    assert t.back["x"][0, 0] == 7


def test_creation_properties_come_back(trip) -> None:
    def make(f: h5py.File) -> None:
        f.create_dataset(
            "x", data=wave(30, 40), chunks=(10, 20), maxshape=(None, 40), fillvalue=-5, track_order=True,
            compression="gzip", compression_opts=7, shuffle=True, fletcher32=True,
        )  # fmt: skip
        for name in "zya":
            f["x"].attrs[name] = name

    x = trip(make).back["x"]
    assert (x.chunks, x.maxshape, x.compression, x.compression_opts) == ((10, 20), (None, 40), "gzip", 7)
    assert (x.shuffle, x.fletcher32, x.fillvalue) == (True, True, -5)
    assert list(x.attrs) == ["z", "y", "a"]


def test_a_lossy_filter_is_not_applied_again(trip) -> None:
    data = wave(30, 40) * 100
    t = trip(lambda f: f.create_dataset("x", data=data, chunks=True, scaleoffset=4), {"*": lz.absolute(0.5)})
    assert t.packed["x"].dtype == np.uint8
    assert t.back["x"].scaleoffset is None
    assert np.abs(t.back["x"][()] - t.old["x"][()]).max() <= 0.5


def test_compressing_twice_copies(trip, tmp_path: Path) -> None:
    t = trip(lambda f: f.create_dataset("x", data=wave(30, 40)))
    again = lz.compress_file(t.paths[1], tmp_path / "again.h5", EVERYTHING)
    assert again.copied == {"x": "it is compressed already"}
    lz.decompress_file(tmp_path / "again.h5", tmp_path / "back2.h5")
    with h5py.File(tmp_path / "back2.h5") as file:
        assert (file["x"][()] == t.back["x"][()]).all()


def test_only_some_fields_are_restored(trip, tmp_path: Path) -> None:
    t = trip(lambda f: (f.create_dataset("g/x", data=wave(30, 40)), f.create_dataset("y", data=wave(30, 40))))
    lz.decompress_file(t.paths[1], tmp_path / "some.h5", only=["x"])
    with h5py.File(tmp_path / "some.h5") as file:
        assert (file["g/x"].dtype, file["y"].dtype) == (np.float32, np.uint8)
    with pytest.raises(InvalidArgumentError, match="matches no field"):
        lz.decompress_file(t.paths[1], tmp_path / "none.h5", only=["z"])


def test_the_same_input_makes_the_same_file(trip, tmp_path: Path) -> None:
    t = trip(lambda f: f.create_dataset("x", data=wave(30, 40), track_times=False))
    lz.compress_file(t.paths[0], tmp_path / "again.h5", EVERYTHING, threads=1)
    assert (tmp_path / "again.h5").read_bytes() == t.paths[1].read_bytes()


# what goes wrong


def test_patterns(tmp_path: Path) -> None:
    path, out = tmp_path / "in.h5", tmp_path / "out.h5"
    with h5py.File(path, "w") as file:
        file["g/x"], file["g/half"] = wave(30, 40), np.array([b"a", b"b"])
    for pattern in ("y", "h/*", "g"):
        with pytest.raises(InvalidArgumentError, match="the fields are: g/x"):
            lz.compress_file(path, out, {pattern: lz.lossless()})
    with pytest.raises(UnsupportedDataError, match="no type of numbers"):
        lz.compress_file(path, out, {"half": lz.lossless()})
    assert not out.exists()
    for pattern in ("x", "/g/x", "g/*", "?", "*"):
        row = lz.compress_file(path, out, {pattern: lz.absolute(0.1)}, force=True).fields[0]
        assert (row.name, row.bound, row.named) == ("g/x", "abs:0.1", True)


@pytest.mark.parametrize("what", ["bytes", "dataset attribute", "shape"])
def test_damage_names_the_field(trip, tmp_path: Path, what: str) -> None:
    t = trip(lambda f: f.create_dataset("g/x", data=wave(30, 40)))
    t.packed.close()
    with h5py.File(t.paths[1], "r+") as file:
        if what == "bytes":
            file["g/x"][file["g/x"].size // 2] ^= 16
        elif what == "shape":
            attributes = dict(file["g/x"].attrs)
            del file["g/x"]
            file["g/x"] = np.zeros((3, 3))
            file["g/x"].attrs.update(attributes)
        else:
            file["g/x"].attrs["lossyzip_dataset"] = "{"
    with pytest.raises(CorruptError, match="g/x"):
        lz.decompress_file(t.paths[1], tmp_path / "again.h5")
    assert not (tmp_path / "again.h5").exists()


@pytest.mark.parametrize("what", ["bytes", "cut", "attribute"])
def test_damage_does_not_stop_other_fields(tmp_path: Path, what: str) -> None:
    """Others are restored; the damaged one is there as it was, with all that describes it."""
    first, second, third = (tmp_path / name for name in ("in.h5", "out.h5", "back.h5"))
    with h5py.File(first, "w") as file:
        for name in ("a", "g/x", "z"):
            file[name] = wave(30, 40)
            file[name].attrs["units"] = name
    lz.compress_file(first, second, {"*": lz.absolute(1e-3)})
    with h5py.File(second, "r+") as file:
        if what == "bytes":
            file["g/x"][file["g/x"].size // 2] ^= 16
        elif what == "cut":
            data, attributes = file["g/x"][:-40], dict(file["g/x"].attrs)
            del file["g/x"]
            file["g/x"] = data
            file["g/x"].attrs.update(attributes)
        else:
            file["g/x"].attrs["lossyzip_dataset"] = "{"
        damaged, about = file["g/x"][...], str(dict(file["g/x"].attrs))
    report = lz.decompress_file(second, third, keep_going=True)
    assert [row.name for row in report.fields] == ["a", "z"]
    assert list(report.damaged) == ["g/x"]
    assert "g/x" in report.damaged["g/x"]
    assert report.copied == {"g/x": "damaged"}
    with h5py.File(third) as file:
        for name in ("a", "z"):
            assert np.abs(file[name][...] - wave(30, 40)).max() <= 1e-3
            assert file[name].attrs["units"] == name
        assert (file["g/x"][...] == damaged).all()
        assert str(dict(file["g/x"].attrs)) == about
    options = ["-o", str(third), "--force", "--keep-going"]
    done = CliRunner().invoke(command, ["decompress", str(second), *options])
    assert done.exit_code == exits.CORRUPT
    assert "g/x" in done.stderr
    assert "damaged" in done.stdout


def test_a_chunk_that_cannot_be_read_is_corrupt_input(tmp_path: Path) -> None:
    path = tmp_path / "in.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=wave(30, 40), chunks=(30, 40), compression="gzip")
        offset = file["x"].id.get_chunk_info(0).byte_offset
    with open(path, "r+b") as raw:
        raw.seek(offset)
        raw.write(b"\xff" * 40)
    with pytest.raises(CorruptError, match="'x'"):
        lz.compress_file(path, tmp_path / "out.h5", EVERYTHING)


@pytest.mark.skipif(shutil.which("h5repack") is None, reason="HDF5's tools are not installed")
def test_the_tools_of_hdf5_work_on_it(trip, tmp_path: Path) -> None:
    t = trip(lambda f: (f.create_dataset("g/x", data=wave(30, 40)), f.create_dataset("i", data=np.arange(9))))
    assert (
        "g/x" in subprocess.run(["h5ls", "-r", t.paths[1]], capture_output=True, text=True, check=True).stdout
    )
    repacked, copied = tmp_path / "repacked.h5", tmp_path / "copied.h5"
    subprocess.run(["h5repack", "-f", "GZIP=5", t.paths[1], repacked], check=True)
    subprocess.run(["h5copy", "-i", t.paths[1], "-o", copied, "-s", "g/x", "-d", "x"], check=True)
    for path in (repacked, copied):
        lz.decompress_file(path, tmp_path / "back2.h5", force=True)
        with h5py.File(tmp_path / "back2.h5") as file:
            found = file["g/x"] if "g" in file else file["x"]
            assert (found[()] == t.back["g/x"][()]).all()
