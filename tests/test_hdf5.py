"""HDF5 files: the tree is kept, only the chosen fields' values change."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import lossyzip as lz
from lossyzip.cli import exits
from lossyzip.cli import lossyzip as command
from lossyzip.errors import CorruptError, InvalidArgumentError, UnsupportedDataError
from lossyzip.io import stored
from lossyzip.io.verify import verify_file

EVERYTHING = {"*": lz.relative(1e-3)}


def wave(*shape: int, dtype: str = "<f4") -> np.ndarray:
    axes = np.meshgrid(*(np.linspace(0, 5 + k, n) for k, n in enumerate(shape)), indexing="ij")
    return np.sin(sum(axes)).astype(dtype)


class Trip:
    """A file, its compressed and its restored form, all open to read."""

    def __init__(
        self, folder: Path, make: Callable[[h5py.File], object], bounds=EVERYTHING, **options
    ) -> None:
        self.paths = [folder / name for name in ("in.h5", "packed.h5", "back.h5")]
        with h5py.File(self.paths[0], "w", **options) as file:
            make(file)
        self.report = lz.compress_file(self.paths[0], self.paths[1], bounds)
        lz.decompress_file(self.paths[1], self.paths[2])
        self.old, self.packed, self.back = (h5py.File(path, "r") for path in self.paths)

    def rows(self) -> dict[str, object]:
        return {row.name: row for row in self.report.fields}

    def verified(self) -> bool:
        return verify_file(*self.paths[:2]).passed


@pytest.fixture
def trip(tmp_path: Path):
    trips: list[Trip] = []

    def make(*arguments, **options) -> Trip:
        trips.append(Trip(tmp_path, *arguments, **options))
        return trips[-1]

    yield make
    for one in trips:
        for file in (one.old, one.packed, one.back):
            file.close()


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


# the tree


def test_links(trip) -> None:
    def make(f: h5py.File) -> None:
        f["g/x"] = wave(30, 40)
        f["g/also x"] = f["g/x"]
        f["soft"] = h5py.SoftLink("/g/x")
        f["broken"] = h5py.SoftLink("/nowhere")
        f["external"] = h5py.ExternalLink("other.h5", "/there")
        f["g/up"] = f["/"]
        f["números"] = wave(30, 40)

    t = trip(make)
    for file in (t.packed, t.back):
        assert file["g/x"] == file["g/also x"]
        assert file["g/up"] == file["/"]
        assert file.get("broken", getlink=True).path == "/nowhere"
        external = file.get("external", getlink=True)
        assert (external.filename, external.path) == ("other.h5", "/there")
        assert file["soft"] == file["g/x"]
        assert "números" in file
    assert len(t.report.fields) == 2
    assert t.verified()


def test_a_pattern_may_name_any_hard_link(trip) -> None:
    def make(f: h5py.File) -> None:
        f["a"] = wave(30, 40)
        f["b"] = f["a"]

    assert trip(make, {"b": lz.absolute(0.5)}).rows()["a"].bound == "abs:0.5"


def test_dimension_scales_stay_attached_and_are_not_compressed(trip) -> None:
    def make(f: h5py.File) -> None:
        f["x"] = wave(30, 400)
        for axis, n in enumerate((30, 400)):
            scale = f.create_dataset(f"grid/{axis}", data=np.linspace(0, 1, n))
            scale.make_scale(f"axis {axis}")
            f["x"].dims[axis].attach_scale(scale)

    t = trip(make)
    assert set(t.report.copied) == {"grid/0", "grid/1"}
    assert [t.back["x"].dims[k][0].name for k in range(2)] == ["/grid/0", "/grid/1"]
    for file in (t.packed, t.back):
        assert [file[r[0]].name for r in file["x"].attrs["DIMENSION_LIST"]] == ["/grid/0", "/grid/1"]
        reference, axis = file["grid/1"].attrs["REFERENCE_LIST"][0]
        assert (file[reference].name, axis) == ("/x", 1)
    assert t.verified()


def test_a_dimension_scale_that_is_spelled_out_is_compressed(trip) -> None:
    def make(f: h5py.File) -> None:
        f["z"] = wave(3000)
        f["z"].make_scale("z")

    t = trip(make, {"z": lz.absolute(1e-3)})
    assert t.packed["z"].dtype == np.uint8
    assert t.back["z"].is_scale


def test_attributes_of_every_kind(trip) -> None:
    def make(f: h5py.File) -> None:
        f["x"] = wave(30, 40)
        f["i"] = np.arange(3)
        for item in (f, f.create_group("g"), f["x"], f["i"]):
            a = item.attrs
            a["empty"] = h5py.Empty("f4")
            a["number"], a["text"], a["fixed"] = 1.5, "ä", np.bytes_(b"fixed")
            a["texts"] = ["a", "", "ccc"]
            a["large"] = np.arange(20_000)
            a["object"] = f["x"].ref
            a["null"] = h5py.Reference()
            a["region"] = f["i"].regionref[1:]
            a.create("enum", 1, dtype=h5py.enum_dtype({"NO": 0, "YES": 1}))
            lists = np.empty(2, object)
            lists[:] = [np.arange(3), np.arange(2)]
            a.create("lists", lists, dtype=h5py.vlen_dtype("i4"))
            references = np.empty(1, object)
            references[0] = np.array([f["x"].ref, f["i"].ref], h5py.ref_dtype)
            a.create("references", references, dtype=h5py.vlen_dtype(h5py.ref_dtype))
            bits = h5py.h5t.STD_B32LE
            h5py.h5a.create(item.id, b"bits", bits, h5py.h5s.create(h5py.h5s.SCALAR)).write(
                np.array(5, "u4"), bits
            )

    t = trip(make, libver=("v108", "latest"))  # for the large attribute
    assert t.verified()
    for file in (t.packed, t.back):
        for path in ("/", "g", "x", "i"):
            a = file[path].attrs
            assert isinstance(a["empty"], h5py.Empty)
            assert (a["text"], a["fixed"], list(a["texts"])) == ("ä", b"fixed", ["a", "", "ccc"])
            assert file[a["object"]].name == "/x"
            assert not a["null"]
            assert list(file["i"][a["region"]]) == [1, 2]
            assert [file[r].name for r in a["references"][0]] == ["/x", "/i"]
            assert h5py.check_enum_dtype(a.get_id("enum").dtype) == {"NO": 0, "YES": 1}


def test_other_datasets_are_copied_as_they_are(trip, rng: np.random.Generator) -> None:
    compound = np.dtype([("name", h5py.string_dtype()), ("at", h5py.ref_dtype), ("n", "i4")])

    def make(f: h5py.File) -> None:
        f["x"] = wave(30, 40)
        f.create_dataset(
            "i", data=rng.integers(0, 9, (50, 60)), chunks=(7, 9), compression="gzip", maxshape=(None, 60)
        )
        f["text"] = np.array(["ä", "bb"], h5py.string_dtype())
        f["half"], f["complex"] = np.ones(9, "f2"), np.ones(9, "c8")
        f["enum"] = np.zeros(4, h5py.enum_dtype({"A": 0}))
        f["refs"] = np.array([f["x"].ref, f["i"].ref, h5py.Reference()], h5py.ref_dtype)
        f["regions"] = np.array([f["i"].regionref[2:4, 1:]], h5py.regionref_dtype)
        f["table"] = np.array([("a", f["x"].ref, 1), ("b", f["i"].ref, 2)], compound)
        lists = np.empty(2, object)
        lists[:] = [np.arange(3.0), np.arange(2.0)]
        f.create_dataset("lists", data=lists, dtype=h5py.vlen_dtype("f8"))

    t = trip(make)
    assert t.verified()
    for file in (t.packed, t.back):
        assert (file["i"].chunks, file["i"].maxshape, file["i"].compression) == ((7, 9), (None, 60), "gzip")
        assert file["i"].id.get_chunk_info(0).size == t.old["i"].id.get_chunk_info(0).size
        assert [file[r].name for r in file["refs"][:2]] == ["/x", "/i"]
        assert not file["refs"][2]
        assert (file["i"][file["regions"][0]] == t.old["i"][2:4, 1:]).all()
        assert [file[r].name for r in file["table"]["at"]] == ["/x", "/i"]


def test_a_field_that_a_region_reference_leads_into_stays(trip) -> None:
    def make(f: h5py.File) -> None:
        f["x"] = wave(30, 40)
        f.attrs["part"] = f["x"].regionref[2:5]

    t = trip(make)
    assert t.report.copied == {"x": "a region reference leads into it"}
    assert t.back["x"][t.back.attrs["part"]].size == 3 * 40


def test_committed_types_stay_shared(trip) -> None:
    def make(f: h5py.File) -> None:
        f["types/t"] = np.dtype([("a", "i4")])
        f["types/float"] = np.dtype("<f4")
        f.create_dataset("d", data=np.zeros(3, np.dtype([("a", "i4")])), dtype=f["types/t"])
        f.create_dataset("x", data=wave(30, 40), dtype=f["types/float"])
        f.attrs.create("q", np.float32(2), dtype=f["types/float"])

    back = trip(make).back
    assert h5py.Datatype(back["d"].id.get_type()) == back["types/t"]
    assert h5py.Datatype(back["x"].id.get_type()) == back["types/float"]
    assert h5py.Datatype(back.attrs.get_id("q").get_type()) == back["types/float"]
    assert set(back) == {"d", "types", "x"}


def test_order_of_creation_and_user_block(trip) -> None:
    def make(f: h5py.File) -> None:
        for name in "zxa":
            f[name] = wave(30, 40)
            f.attrs[name] = name
            f.create_group(f"group/{name}")

    t = trip(make, track_order=True, userblock_size=512)
    for file in (t.packed, t.back):
        assert list(file) == ["z", "group", "x", "a"]
        assert list(file.attrs) == ["z", "x", "a"]
        assert list(file["group"]) == list(t.old["group"])
        assert file.userblock_size == 512


@pytest.mark.parametrize("libver", ["earliest", "v108", "latest"])
def test_groups_with_many_links(trip, libver: str) -> None:
    """From 1.8 on, HDF5 keeps more than eight links in a heap, whose address is in the group's own plan."""

    def make(f: h5py.File) -> None:
        for k in range(40):
            f[f"deep/group/{k}"] = wave(50, 5) + k
            f[f"deep/group/{k}"].attrs.update({str(n): n for n in range(20)})

    t = trip(make, libver=libver)
    assert len(t.back["deep/group"]) == len(t.report.fields) == 40
    assert t.verified()


def test_a_file_as_netcdf_makes_it(trip) -> None:
    def make(f: h5py.File) -> None:
        f.attrs["_NCProperties"] = np.bytes_("version=2,netcdf=4.9.2,hdf5=1.14.0")
        for number, (name, n) in enumerate((("time", 12), ("lat", 30))):
            f.create_dataset(name, data=np.arange(float(n)), maxshape=(None,), chunks=(n,), track_order=True)
            f[name].make_scale(name)
            f[name].attrs["_Netcdf4Dimid"] = np.int32(number)
        x = f.create_dataset(
            "x", data=wave(12, 30), maxshape=(None, 30), chunks=(1, 30), compression="gzip", track_order=True
        )
        x.attrs["units"] = "K"
        x.attrs["_FillValue"] = np.array([-1.0], "f4")
        x.attrs["_Netcdf4Coordinates"] = np.array([0, 1], "i4")
        for axis, name in enumerate(("time", "lat")):
            x.dims[axis].attach_scale(f[name])

    t = trip(make, track_order=True, libver="v108")
    assert [row.name for row in t.report.fields] == ["x"]
    assert list(t.back) == ["time", "lat", "x"]
    assert list(t.back["x"].attrs) == list(t.old["x"].attrs)
    assert t.back["x"].maxshape == (None, 30)
    assert [t.back["x"].dims[k][0].name for k in range(2)] == ["/time", "/lat"]
    assert t.verified()


@pytest.mark.parametrize("committed", [False, True])
def test_variable_length_fill_values(trip, committed: bool) -> None:
    """As in netCDF's variables of strings."""

    def make(f: h5py.File) -> None:
        kind = h5py.h5t.py_create(h5py.string_dtype(), logical=True)
        if committed:
            kind.commit(f.id, b"type")
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((5,))
        plan.set_fill_value(np.array("none", h5py.string_dtype()))
        space = h5py.h5s.create_simple((5,), (h5py.h5s.UNLIMITED,))
        h5py.Dataset(h5py.h5d.create(f.id, b"s", kind, space, plan))[1:3] = ["é", "b"]
        f["s"].attrs["note"] = "kept"

    t = trip(make)
    for file in (t.packed, t.back):
        assert file["s"].asstr()[()].tolist() == ["none", "é", "b", "none", "none"]
        assert file["s"].fillvalue == b"none"
        assert (file["s"].chunks, file["s"].maxshape, file["s"].attrs["note"]) == ((5,), (None,), "kept")
        assert file["s"].id.get_type().committed() == committed
    assert t.verified()


def test_names_that_are_not_utf8(trip, tmp_path: Path) -> None:
    def make(f: h5py.File) -> None:
        f["x"] = wave(30, 40)
        h5py.h5a.create(f["x"].id, b"temp\xe9rature", h5py.h5t.STD_I32LE, h5py.h5s.create(h5py.h5s.SCALAR))

    t = trip(make)
    assert h5py.h5a.exists(t.packed["x"].id, b"temp\xe9rature")
    assert h5py.h5a.exists(t.back["x"].id, b"temp\xe9rature")
    assert t.verified()
    with h5py.File(tmp_path / "latin.h5", "w") as file:
        h5py.h5g.create(file.id, b"temp\xe9rature")
    with pytest.raises(UnsupportedDataError, match="not UTF-8"):
        lz.compress_file(tmp_path / "latin.h5", tmp_path / "out.h5", EVERYTHING)


def test_restored_chunks_are_written_once(trip) -> None:
    """A chunk that several tiles share stays in the cache until it is complete."""

    def make(f: h5py.File) -> None:
        f.create_dataset("x", data=wave(24, 40), chunks=(24, 40), compression="gzip")

    t = trip(make)
    with h5py.File(t.paths[2].with_name("new.h5"), "w") as file:
        made, _ = stored.create_restored(file, t.packed["x"], stored.open_frame(t.packed["x"]))
        assert made.id.get_access_plist().get_chunk_cache()[1] == stored.CHUNK_CACHE_BYTES


def test_virtual_datasets_stay_virtual(trip) -> None:
    def make(f: h5py.File) -> None:
        f["x"] = wave(30, 40)
        layout = h5py.VirtualLayout((30, 40), "f4")
        layout[...] = h5py.VirtualSource(".", "x", shape=(30, 40))
        f.create_virtual_dataset("view", layout)

    t = trip(make)
    assert t.back["view"].is_virtual
    assert (t.back["view"][()] == t.back["x"][()]).all()
    assert t.verified()


@pytest.mark.parametrize("pattern", ["T[K]", "g/T[K]", "/g/T[K]"])
def test_a_name_with_brackets_is_a_pattern_for_itself(trip, pattern: str) -> None:
    def make(f: h5py.File) -> None:
        f["g/T[K]"] = wave(3000)
        f["g/T[K]"].make_scale("a scale, too")

    assert trip(make, {pattern: lz.absolute(0.5)}).rows()["g/T[K]"].bound == "abs:0.5"


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
