"""A field as an HDF5 dataset of bytes: its frame, and attributes for readers that do not know lossyzip.

Also what it takes to give the field its dataset back. docs/FORMAT.md, "In an HDF5 file".
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t, h5z

from lossyzip.compressor import FieldReport
from lossyzip.decompressor import Frame
from lossyzip.errors import CorruptError
from lossyzip.version import VERSION

REFERENCES = "lossyzip_references"
ATTRIBUTES = (
    "lossyzip_version",
    "lossyzip_dtype",
    "lossyzip_shape",
    "lossyzip_bound",
    "lossyzip_eps",
    "lossyzip_max_error",
    "lossyzip_dataset",
    REFERENCES,  # of some fields alone
)
_CREATION = "lossyzip_dataset"
CHUNK_CACHE_BYTES = 1 << 27  # a chunk that two tiles share should not be decompressed twice
_CHUNK_CACHE_SLOTS = 40_009
_CHUNK_CACHE_POLICY = 0.75  # with 1.0 HDF5 keeps all chunks that were read in part, beyond any limit
_CHUNK = 1 << 16
_BUFFER = 64 * _CHUNK
_SLAB_BYTES = 1 << 28
# deflate, shuffle, fletcher32, szip, bzip2, lzf, blosc, lz4, bitshuffle, zstd. Another filter is not
# applied to a restored field: it may lose values once more.
_LOSSLESS_FILTERS = {1, 2, 3, 4, 307, 32000, 32001, 32004, 32008, 32015}

Tile = tuple[tuple[slice, ...], np.ndarray]  # (where it lies, values)


class NoGainError(Exception):
    """The frame would be no smaller than the dataset that it should replace."""


class ByteStream:
    """Bytes into a dataset without a name: contiguous when there are few, else in chunks as they come."""

    def __init__(self, file: h5py.File, attribute_order: int, limit: int, check: Callable[[], None]) -> None:
        self._file, self._order, self._limit, self._check = file, attribute_order, limit, check
        self._buffer = bytearray()
        self._written = 0
        self._dataset: h5py.Dataset | None = None

    def write(self, data: bytes) -> None:
        """Raises NoGainError beyond the limit."""
        self._check()
        self._buffer += data
        if self._written + len(self._buffer) >= self._limit:
            raise NoGainError
        if len(self._buffer) >= _BUFFER:
            self._flush(len(self._buffer) // _CHUNK * _CHUNK)

    def finish(self) -> h5py.Dataset:
        if self._dataset is None:
            self._dataset = self._create((len(self._buffer),), (len(self._buffer),), None)
            self._dataset[:] = np.frombuffer(self._buffer, np.uint8)
        else:
            self._flush(len(self._buffer))
        return self._dataset

    def _flush(self, count: int) -> None:
        if self._dataset is None:
            self._dataset = self._create((0,), (h5s.UNLIMITED,), (_CHUNK,))
        end = self._written + count
        self._dataset.resize((end,))
        self._dataset[self._written : end] = np.frombuffer(self._buffer[:count], np.uint8)
        del self._buffer[:count]
        self._written = end

    def _create(
        self, shape: tuple[int, ...], largest: tuple[int, ...], chunk: tuple[int, ...] | None
    ) -> h5py.Dataset:
        plan = h5p.create(h5p.DATASET_CREATE)
        plan.set_obj_track_times(False)  # the same input makes the same file
        plan.set_attr_creation_order(self._order)
        if chunk:
            plan.set_chunk(chunk)
        space = h5s.create_simple(shape, largest)
        return h5py.Dataset(h5d.create(self._file.id, None, h5t.STD_U8LE, space, plan))


def describe(
    dataset: h5py.Dataset, report: FieldReport, original: h5py.Dataset, references: Iterable[str] = ()
) -> None:
    """Write the attributes of a compressed field."""
    text = (VERSION, report.dtype, np.array(report.shape, np.int64), report.bound)
    plan = json.dumps(_creation_properties(original))
    for name, value in zip(ATTRIBUTES[:-1], (*text, report.eps, report.max_error, plan), strict=True):
        dataset.attrs[name] = value
    if names := list(references):
        dataset.attrs[REFERENCES] = json.dumps(names)


def original_size(dataset: h5py.Dataset) -> int:
    """Values in the field, compressed or not."""
    if is_compressed(dataset):
        return int(np.prod(dataset.attrs[ATTRIBUTES[2]], dtype=np.int64))
    return int(dataset.size)


def is_compressed(dataset: h5py.Dataset) -> bool:
    return ATTRIBUTES[0] in dataset.attrs


def references_of(dataset: h5py.Dataset) -> tuple[str, ...]:
    """Paths of the fields that must be decoded before a compressed one."""
    text = dataset.attrs.get(REFERENCES, "[]")
    try:
        return tuple(map(str, json.loads(text)))
    except (TypeError, ValueError) as error:
        raise CorruptError(f"attribute {REFERENCES} is damaged: {error}") from error


def open_frame(dataset: h5py.Dataset) -> Frame:
    """The frame in a compressed field; raises a DecodeError subclass if it is damaged."""
    return Frame.open(*_reader(dataset))


def check_frame(dataset: h5py.Dataset) -> None:
    """Read every byte of a frame and compare all checksums, without decoding."""
    open_frame(dataset).check()


def open_cached(file: h5py.File, path: str) -> h5py.Dataset:
    """A dataset with a chunk cache that is large enough to read it tile by tile."""
    return h5py.Dataset(h5d.open(file.id, f"/{path}".encode("utf-8", "surrogateescape"), _access()))


def create_restored(file: h5py.File, dataset: h5py.Dataset, frame: Frame) -> tuple[h5py.Dataset, list[str]]:
    """The dataset that a compressed field had been, still without values and name; and what it lost."""
    try:
        properties = json.loads(dataset.attrs[_CREATION])
        plan, lost = _creation_plan(properties, frame.dtype)
        largest = tuple(h5s.UNLIMITED if n is None else n for n in properties["maxshape"])
        space = h5s.create_simple(frame.shape, largest)
        committed = properties["type"]
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptError(f"attribute {_CREATION} is damaged: {error}") from error
    kind = h5t.py_create(frame.dtype, logical=True)
    if committed is not None and isinstance(file.get(committed), h5py.Datatype):
        kind = file[committed].id
    return h5py.Dataset(h5d.create(file.id, None, kind, space, plan, dapl=_access())), lost


def in_slabs(tiles: Iterable[Tile], shape: tuple[int, ...], itemsize: int) -> Iterator[Tile]:
    """The same values in fewer and longer runs, for a dataset without chunks.

    Tiles that share their place on the leading axes become one slab, which is whole on the other axes;
    as few axes lead as memory allows. Run by run, HDF5 would call back into Python for each short one.
    """
    if len(shape) < 2:
        yield from tiles
        return
    place: tuple[slice, ...] | None = None
    slab = np.empty(0)
    leading = 1
    for where, values in tiles:
        if place is None:
            while leading < len(shape) and _slab_bytes(where, shape, leading, itemsize) > _SLAB_BYTES:
                leading += 1
        if place != where[:leading]:
            if place is not None:
                yield place, slab
            place = where[:leading]
            slab = np.empty((*(s.stop - s.start for s in place), *shape[leading:]), values.dtype)
        slab[(slice(None),) * leading + where[leading:]] = values
    if place is not None:
        yield place, slab


def _slab_bytes(where: tuple[slice, ...], shape: tuple[int, ...], leading: int, itemsize: int) -> int:
    lengths = [s.stop - s.start for s in where[:leading]]
    return math.prod([*lengths, *shape[leading:]]) * itemsize


def _reader(dataset: h5py.Dataset) -> tuple[Callable[[int, int], bytes], int]:
    if dataset.dtype != np.uint8 or dataset.ndim != 1:
        raise CorruptError(f"a compressed field has one axis of bytes, not {dataset.dtype} {dataset.shape}")
    return lambda offset, length: dataset[offset : offset + length].tobytes(), dataset.shape[0]


def _creation_properties(original: h5py.Dataset) -> dict[str, Any]:
    plan, kind = original.id.get_create_plist(), original.id.get_type()
    fill = None
    if plan.fill_value_defined() == h5d.FILL_VALUE_USER_DEFINED:
        value = np.zeros((), original.dtype)
        plan.get_fill_value(value)
        fill = value.tobytes().hex()
    chunked = plan.get_layout() == h5d.CHUNKED
    return {
        "layout": plan.get_layout(),
        "chunks": plan.get_chunk() if chunked else None,
        "maxshape": original.maxshape,
        "filters": [plan.get_filter(k)[:3] for k in range(plan.get_nfilters())],
        "fill_value": fill,
        "fill_time": plan.get_fill_time(),
        "alloc_time": plan.get_alloc_time(),
        "track_times": plan.get_obj_track_times(),
        "attribute_order": plan.get_attr_creation_order(),
        "type": h5py.Datatype(kind).name if kind.committed() else None,
    }


def _creation_plan(properties: dict[str, Any], dtype: np.dtype) -> tuple[h5p.PropDCID, list[str]]:
    plan, lost = h5p.create(h5p.DATASET_CREATE), []
    if properties["chunks"]:
        plan.set_chunk(tuple(properties["chunks"]))
    elif properties["layout"] == h5d.COMPACT:
        plan.set_layout(h5d.COMPACT)
    for code, flags, numbers in properties["filters"]:
        if code in _LOSSLESS_FILTERS and _can_encode(code):
            plan.set_filter(code, flags, tuple(numbers))
        else:
            reason = "is not installed" if code in _LOSSLESS_FILTERS else "may lose values"
            lost.append(f"HDF5 filter {code} not applied again: it {reason}")
    if properties["fill_value"] is not None:
        plan.set_fill_value(np.frombuffer(bytes.fromhex(properties["fill_value"]), dtype).reshape(()))
    plan.set_fill_time(properties["fill_time"])
    plan.set_alloc_time(properties["alloc_time"])
    plan.set_obj_track_times(properties["track_times"])
    plan.set_attr_creation_order(properties["attribute_order"])
    return plan, lost


def _can_encode(code: int) -> bool:
    return bool(h5z.filter_avail(code) and h5z.get_filter_info(code) & h5z.FILTER_CONFIG_ENCODE_ENABLED)


def _access() -> h5p.PropDAID:
    access = h5p.create(h5p.DATASET_ACCESS)
    access.set_chunk_cache(_CHUNK_CACHE_SLOTS, CHUNK_CACHE_BYTES, _CHUNK_CACHE_POLICY)
    return access
