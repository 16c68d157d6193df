"""HDF5 files: the tree is kept, links, types, attributes and all."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from trip import EVERYTHING, wave

import lossyzip as lz
from lossyzip.errors import UnsupportedDataError
from lossyzip.io import stored


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
