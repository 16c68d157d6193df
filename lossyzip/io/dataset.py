"""One field of an HDF5 file: from a dataset of numbers to a dataset of bytes, and back.

The dataset of bytes has the field's name and attributes, and what any reader needs to know as
attributes that begin with ``lossyzip_``. How the original was laid out (chunks, filters, ...) is kept
in one of them, so that it can be made again. docs/FORMAT.md, "In an HDF5 file".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from lossyzip.bound import Bound
from lossyzip.compressor import FieldReport, Frame, compress_field
from lossyzip.errors import CorruptError, TruncatedError
from lossyzip.version import VERSION

PREFIX = "lossyzip_"
FILL_ATTRIBUTES = ("_FillValue", "missing_value", "fill_value")
_HELD = 1 << 26  # bytes of a frame that are held before it becomes a dataset of chunks
_CHUNK = 1 << 20
Progress = Callable[[int], Any]


def unsupported(dataset: h5py.Dataset) -> str:
    """Why a dataset is no field, or nothing."""
    dtype = dataset.dtype
    if dtype.kind != "f" or dtype.itemsize not in (4, 8) or dtype.subdtype is not None:
        return f"data type {dtype} is not supported; float32 and float64 are"
    return "it has no values" if dataset.shape is None else ""


def is_compressed(dataset: h5py.Dataset) -> bool:
    return f"{PREFIX}version" in dataset.attrs


def is_scale(dataset: h5py.Dataset) -> bool:
    return bool(h5py.h5ds.is_scale(dataset.id))


def fill_values(dataset: h5py.Dataset) -> tuple[float, ...]:
    """What the attributes declare as missing."""
    found: list[float] = []
    for name in FILL_ATTRIBUTES:
        if name in dataset.attrs:
            declared = np.atleast_1d(np.asarray(dataset.attrs[name]))
            if declared.dtype.kind in "fiu":
                found += [float(value) for value in declared.ravel()]
    return tuple(dict.fromkeys(found))[:16]


def write_compressed(
    field: h5py.Dataset,
    parent: h5py.Group,
    name: str,
    bound: Bound,
    *,
    effort: str,
    threads: int | None,
    progress: Progress | None,
) -> FieldReport:
    """Make ``parent[name]``, the dataset of bytes for ``field``; read it back, checksums and all."""
    writer = _Writer(parent, name)
    report = compress_field(
        field,
        bound,
        writer.write,
        effort=effort,
        threads=threads,
        fill_values=fill_values(field),
        progress=progress,
    )
    made = writer.finish()
    made.attrs[f"{PREFIX}version"] = VERSION
    made.attrs[f"{PREFIX}dtype"] = report.dtype
    made.attrs[f"{PREFIX}shape"] = np.array(report.shape, np.int64)
    made.attrs[f"{PREFIX}bound"] = report.bound
    made.attrs[f"{PREFIX}eps"] = report.eps
    made.attrs[f"{PREFIX}max_error"] = report.max_error
    made.attrs[f"{PREFIX}layout"] = json.dumps(_layout(field))
    open_frame(made).check()
    return report


def write_restored(
    packed: h5py.Dataset, parent: h5py.Group, name: str, *, threads: int | None, progress: Progress | None
) -> Frame:
    """Make ``parent[name]`` the field whose frame is in ``packed``, laid out as the original was."""
    frame = open_frame(packed)
    made = _create(parent, name, frame, _read_layout(packed))
    for where, values in frame.tiles(threads=threads):
        if values.size:
            made[where] = values
        if progress is not None:
            progress(values.size)
    return frame


def open_frame(packed: h5py.Dataset) -> Frame:
    """The frame in a dataset of bytes. Raises a DecodeError subclass that names the dataset."""
    if packed.dtype != np.uint8 or packed.ndim != 1:
        raise CorruptError(f"{packed.name}: is {packed.dtype} {packed.shape}, not a dataset of bytes")

    def read(offset: int, length: int) -> bytes:
        try:
            return packed[offset : offset + length].tobytes()
        except OSError as error:
            raise TruncatedError(f"HDF5 cannot read bytes {offset} to {offset + length}: {error}") from error

    return Frame.open(read, packed.shape[0])


class _Writer:
    """Collects bytes into ``parent[name]``: of their very size while they are few, then growing by chunks."""

    def __init__(self, parent: h5py.Group, name: str) -> None:
        self._parent = parent
        self._name = name
        self._pending = bytearray()
        self._dataset: h5py.Dataset | None = None

    def write(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) >= _HELD:
            self._put(len(self._pending) - len(self._pending) % _CHUNK)

    def finish(self) -> h5py.Dataset:
        if self._dataset is None:
            return self._parent.create_dataset(self._name, data=np.frombuffer(self._pending, np.uint8))
        self._put(len(self._pending))
        return self._dataset

    def _put(self, size: int) -> None:
        if self._dataset is None:
            self._dataset = self._parent.create_dataset(
                self._name, shape=(0,), maxshape=(None,), dtype=np.uint8, chunks=(_CHUNK,)
            )
        start = self._dataset.shape[0]
        self._dataset.resize((start + size,))
        self._dataset[start:] = np.frombuffer(bytes(self._pending[:size]), np.uint8)
        del self._pending[:size]


def _layout(field: h5py.Dataset) -> dict[str, Any]:
    """How to create a dataset like ``field``; only what h5py's own filters can write again."""
    layout: dict[str, Any] = {}
    if field.chunks is not None:
        layout["chunks"] = list(field.chunks)
        layout["maxshape"] = list(field.maxshape)
        if field.compression in ("gzip", "lzf"):
            layout["compression"] = field.compression
            layout["compression_opts"] = field.compression_opts
        layout["shuffle"] = bool(field.shuffle)
        layout["fletcher32"] = bool(field.fletcher32)
    filled = field.id.get_create_plist().fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED
    if filled:
        layout["fillvalue"] = np.asarray(field.fillvalue, field.dtype).tobytes().hex()
    return layout


def _read_layout(packed: h5py.Dataset) -> dict[str, Any]:
    try:
        layout = json.loads(packed.attrs.get(f"{PREFIX}layout", "{}"))
        return layout if isinstance(layout, dict) else {}
    except (TypeError, ValueError) as error:
        raise CorruptError(f"{packed.name}: attribute {PREFIX}layout: {error}") from None


def _create(parent: h5py.Group, name: str, frame: Frame, layout: dict[str, Any]) -> h5py.Dataset:
    options = {key: layout[key] for key in ("compression", "compression_opts") if layout.get(key) is not None}
    options |= {key: True for key in ("shuffle", "fletcher32") if layout.get(key)}
    for key in ("chunks", "maxshape"):
        if layout.get(key) is not None:
            options[key] = tuple(layout[key])
    if "fillvalue" in layout:
        options["fillvalue"] = np.frombuffer(bytes.fromhex(layout["fillvalue"]), frame.dtype)[0]
    try:
        return parent.create_dataset(name, frame.shape, frame.dtype, **options)
    except (TypeError, ValueError) as error:
        raise CorruptError(f"{parent.name}/{name}: its stored layout cannot be made: {error}") from error
