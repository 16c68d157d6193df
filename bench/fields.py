"""The fields that are measured: where they come from, which values count, and the eps a rel bound means.

Knows no compressor. Fill values and non-finite values become the mean of the valid ones, so that
every compressor, ours included, gets the same array.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, partial
from math import prod
from pathlib import Path

import numpy as np

FILL_ATTRIBUTES = ("fill_value", "_FillValue", "missing_value")
FILL_BEYOND = 1e19  # magnitudes that only ever mean "no value": 1e20, -1e34, 9.96921e36, ...


@dataclass(frozen=True)
class Field:
    """One field of a file, not read yet."""

    file: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], tuple[np.ndarray, tuple[float, ...]]]
    """The values as stored, and the fill values that the file declares."""

    @property
    def raw_bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Prepared:
    """What every compressor is given: native byte order, C order, finite everywhere."""

    values: np.ndarray
    low: float
    high: float
    checksum: str
    """CRC-32 of the values, so that a cached result is never taken for other data."""

    def eps(self, rel: float) -> float:
        return rel * (self.high - self.low)


def find(data: Path | None, min_values: int = 0, pattern: str = "*") -> list[Field]:
    """Float fields of every HDF5 file in ``data``, or of datasets/ without it; smallest first.

    ``pattern`` is matched against "file/field" and against "field".
    """
    fields = _in_folder(data) if data is not None else _generated()
    chosen = [
        field
        for field in fields
        if field.dtype.kind == "f"
        and field.dtype.itemsize in (4, 8)
        and prod(field.shape) >= max(min_values, 1)
        and (fnmatchcase(field.name, pattern) or fnmatchcase(f"{field.file}/{field.name}", pattern))
    ]
    return sorted(chosen, key=lambda field: (field.raw_bytes, field.file, field.name))


def prepare(field: Field) -> Prepared | None:
    """The field as every compressor gets it; None where no value is valid or all are the same."""
    stored, fills = field.read()
    values = np.array(stored, dtype=field.dtype.newbyteorder("="), order="C")
    with np.errstate(invalid="ignore"):
        invalid = ~(np.abs(values) <= FILL_BEYOND)  # NaN is invalid, too
    for fill in fills:
        invalid |= values == values.dtype.type(fill)
    valid = values[~invalid]
    if valid.size == 0 or valid.min() == valid.max():
        return None
    values[invalid] = valid.mean(dtype=np.float64)
    return Prepared(values, float(valid.min()), float(valid.max()), f"{zlib.crc32(values.data):08x}")


def prepared_fields(fields: Iterable[Field]) -> Iterator[tuple[Field, Prepared]]:
    """Those of ``fields`` that have a range: without one no bound relative to it has a meaning."""
    for field in fields:
        prepared = prepare(field)
        if prepared is not None:
            yield field, prepared


def _in_folder(data: Path) -> Iterator[Field]:
    import h5py

    for path in sorted(data.glob("*.h5")):
        found: list[Field] = []

        def visit(name: str, node: object, path: Path = path, found: list[Field] = found) -> None:
            if isinstance(node, h5py.Dataset) and node.shape:
                found.append(Field(path.stem, name, node.shape, node.dtype, partial(_read_hdf5, path, name)))

        with h5py.File(path) as file:
            file.visititems(visit)
        yield from found


def _read_hdf5(path: Path, name: str) -> tuple[np.ndarray, tuple[float, ...]]:
    import h5py

    with h5py.File(path) as file:
        dataset = file[name]
        declared = [np.ravel(dataset.attrs[key]) for key in FILL_ATTRIBUTES if key in dataset.attrs]
        return dataset[...], tuple(float(value) for values in declared for value in values)


def _as_stored(array: np.ndarray) -> tuple[np.ndarray, tuple[float, ...]]:
    return array, ()


def _generated() -> Iterator[Field]:
    for file, arrays in _datasets().items():
        for name, array in arrays.items():
            yield Field(file, name, array.shape, array.dtype, partial(_as_stored, array))


@cache
def _datasets() -> dict[str, dict[str, np.ndarray]]:
    from datasets import flow, synthetic, varied

    return {"synthetic": synthetic.fields(), "flow": flow.snapshot(), "varied": varied.fields()}
