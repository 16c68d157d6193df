"""The values of any dataset or attribute as numpy arrays, without loss. Knows no trees.

Types without pointers are read as the raw bytes that they are, so that enums, bit fields, padding and
types that numpy does not have survive. Others (references, variable-length data) are read as h5py reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5s, h5t

from lossyzip.errors import UnsupportedDataError

BLOCK_BYTES = 1 << 23


def read_attribute(attribute: h5a.AttrID) -> np.ndarray | None:
    """The values, or None for an attribute without any (a null dataspace)."""
    if attribute.get_space().get_simple_extent_type() == h5s.NULL:
        return None
    dtype, memory = _memory_type(attribute.get_type())
    values = np.zeros(attribute.shape, dtype)
    attribute.read(values, memory)
    return values


def write_attribute(attribute: h5a.AttrID, values: np.ndarray) -> None:
    """Write what `read_attribute` gave for an attribute of the same type."""
    attribute.write(values, _memory_type(attribute.get_type())[1])


def read_blocks(dataset: h5py.Dataset) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """(where it lies, values) of blocks of some megabytes that cover the dataset in C order."""
    kind, shape = dataset.id.get_type(), dataset.shape
    if shape is None:
        return
    dtype, memory = _memory_type(kind)
    space = dataset.id.get_space()
    for where in _block_slices(shape, max(BLOCK_BYTES // kind.get_size(), 1)):
        count = tuple(s.stop - s.start for s in where)
        values = np.zeros(count, dtype)
        if count:
            space.select_hyperslab(tuple(s.start for s in where), count)
        dataset.id.read(h5s.create_simple(count) if count else h5s.create(h5s.SCALAR), space, values, memory)
        yield where, values


def write_all(dataset: h5py.Dataset, values: np.ndarray) -> None:
    """Write what `read_all` gave for a dataset of the same type."""
    dataset.id.write(h5s.ALL, h5s.ALL, values, _memory_type(dataset.id.get_type())[1])


def read_all(dataset: h5py.Dataset) -> np.ndarray:
    dtype, memory = _memory_type(dataset.id.get_type())
    values = np.zeros(dataset.shape, dtype)
    dataset.id.read(h5s.ALL, h5s.ALL, values, memory)
    return values


def has_references(kind: h5t.TypeID) -> bool:
    return any(isinstance(leaf, h5t.TypeReferenceID) for leaf in _leaves(kind))


def has_region_references(kind: h5t.TypeID) -> bool:
    return any(leaf.equal(h5t.STD_REF_DSETREG) for leaf in _leaves(kind))


def map_references(values: np.ndarray, kind: h5t.TypeID, function: Callable[[Any], Any]) -> None:
    """Replace every reference in ``values`` by what ``function`` makes of it, in place."""
    if not has_references(kind):
        return
    if isinstance(kind, h5t.TypeCompoundID):
        for k in range(kind.get_nmembers()):
            member = kind.get_member_name(k).decode("utf-8", "surrogateescape")
            map_references(values[member], kind.get_member_type(k), function)
    elif isinstance(kind, h5t.TypeArrayID):
        map_references(values, kind.get_super(), function)
    elif isinstance(kind, h5t.TypeVlenID):
        for item in values.flat:
            if isinstance(item, np.ndarray):  # a number 0 stands for one that was never written
                map_references(item, kind.get_super(), function)
    else:
        for index in np.ndindex(values.shape):
            values[index] = function(values[index])


def same(a: Any, b: Any) -> bool:
    """Whether values read by this module are equal, bit for bit."""
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
        return type(a) is type(b) and bool(a == b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.names:
        return all(same(a[name], b[name]) for name in a.dtype.names)
    if a.dtype.hasobject:
        return all(same(x, y) for x, y in zip(a.flat, b.flat, strict=True))
    return a.tobytes() == b.tobytes()


def has_pointers(kind: h5t.TypeID) -> bool:
    """Whether values of this type lie elsewhere: references, variable-length data."""
    return not all(_has_no_pointers(leaf) for leaf in _leaves(kind))


def _memory_type(kind: h5t.TypeID) -> tuple[np.dtype, h5t.TypeID]:
    """(dtype to read into, the same as an HDF5 type)."""
    if not has_pointers(kind):
        return np.dtype((np.void, kind.get_size())), kind
    try:
        dtype = kind.dtype
    except TypeError as error:  # the references of HDF5 1.12, for one
        raise UnsupportedDataError(f"a data type that h5py does not have: {error}") from None
    return dtype, h5t.py_create(dtype)


def _leaves(kind: h5t.TypeID) -> Iterator[h5t.TypeID]:
    """The types that ``kind`` is made of; a variable-length one counts itself."""
    if isinstance(kind, h5t.TypeCompoundID):
        for k in range(kind.get_nmembers()):
            yield from _leaves(kind.get_member_type(k))
    elif isinstance(kind, h5t.TypeArrayID | h5t.TypeVlenID):
        yield kind
        yield from _leaves(kind.get_super())
    else:
        yield kind


def _has_no_pointers(leaf: h5t.TypeID) -> bool:
    if isinstance(leaf, h5t.TypeStringID):
        return not leaf.is_variable_str()
    return not isinstance(leaf, h5t.TypeReferenceID | h5t.TypeVlenID)


def _block_slices(shape: tuple[int, ...], most: int) -> Iterator[tuple[slice, ...]]:
    """Blocks of at most ``most`` items: whole trailing axes, one axis in pieces, single indices before it."""
    if 0 in shape:
        return
    block = list(shape)
    for axis in range(len(shape)):
        rest = int(np.prod(block[axis + 1 :], dtype=np.int64))
        block[axis] = min(block[axis], max(most // rest, 1))
    for index in np.ndindex(*(-(-n // b) for n, b in zip(shape, block, strict=True))):
        yield tuple(slice(i * b, min((i + 1) * b, n)) for i, b, n in zip(index, block, shape, strict=True))
