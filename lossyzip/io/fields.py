"""Which datasets of a tree are fields, which must stay as they are and why, and their fill values."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5t

from lossyzip.io import values
from lossyzip.io.selection import Candidate
from lossyzip.io.stored import is_compressed
from lossyzip.io.tree import Tree, attribute_names, encode

_FIELDS = ("<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "<c8", ">c8", "<c16", ">c16")
_INTEGERS = ("i1", "u1", *(f"{order}{kind}{width}" for order in "<>" for kind in "iu" for width in (2, 4, 8)))
_FILL_ATTRIBUTES = ("_FillValue", "missing_value", "fill_value")
_MOST_FILL_VALUES = 16


def find_candidates(tree: Tree) -> list[Candidate]:
    """A candidate for each dataset, in the order of the tree."""
    pinned = _region_targets(tree)
    return [
        _candidate(tree.aliases(path), dataset, path in pinned) for path, dataset in tree.objects("dataset")
    ]


def fill_values(dataset: h5py.Dataset) -> tuple[float | int, ...]:
    """What marks missing values: the usual attributes, and HDF5's own fill value unless it is zero.

    netCDF sets the latter to 9.97e36 where no attribute says so; in a range it would be a disaster.
    """
    found: list[float | int] = []
    for name in _FILL_ATTRIBUTES:
        if name in dataset.attrs:
            value = np.asarray(_attribute(dataset, name))
            if value.dtype.kind in "fiu" and value.size <= _MOST_FILL_VALUES:
                found += value.reshape(-1).tolist()
    if dataset.id.get_create_plist().fill_value_defined() == h5d.FILL_VALUE_USER_DEFINED:
        value = np.asarray(dataset.fillvalue)
        found += [value.item()] if value.dtype.kind in "fiu" and value != 0 else []
    return tuple(dict.fromkeys(found))[:_MOST_FILL_VALUES]


def _attribute(dataset: h5py.Dataset, name: str) -> Any:
    try:
        return dataset.attrs[name]
    except (TypeError, OSError):  # a type that numpy does not have
        return ""


def _candidate(names: tuple[str, ...], dataset: h5py.Dataset, pinned: bool) -> Candidate:
    plan = dataset.id.get_create_plist()
    if is_compressed(dataset):
        return Candidate(names, keep="it is compressed already")
    kind = dataset.id.get_type()
    if not _is_one_of(kind, (*_FIELDS, *_INTEGERS)):
        return Candidate(names, keep=f"{_type_name(dataset)} is no type of numbers", refused=True)
    if plan.get_layout() == h5d.VIRTUAL:
        return Candidate(names, keep="it is a virtual dataset, a view of others", refused=True)
    if not plan.all_filters_avail():
        codes = [plan.get_filter(k)[0] for k in range(plan.get_nfilters())]
        return Candidate(names, keep=f"an HDF5 filter of it is not installed (of {codes})", refused=True)
    if pinned:
        return Candidate(names, keep="a region reference leads into it", refused=True)
    if not dataset.ndim or not dataset.size:
        return Candidate(names, keep="it has no axes or no values")
    if dataset.is_scale:
        return Candidate(names, keep="readers need dimension scales", named_only=True)
    if _is_one_of(kind, _INTEGERS):
        return Candidate(names, keep="integers are often flags or indices", named_only=True)
    return Candidate(names)


def _is_one_of(kind: h5t.TypeID, dtypes: tuple[str, ...]) -> bool:
    """Whether numpy's type for ``kind`` is one of ``dtypes``, and says all that there is to it."""
    return any(kind.equal(h5t.py_create(np.dtype(dtype))) for dtype in dtypes)


def _type_name(dataset: h5py.Dataset) -> str:
    try:
        return str(dataset.dtype)
    except TypeError:
        return "its type"


def _region_targets(tree: Tree) -> set[str]:
    """Paths of the datasets that region references select from: in bytes their selections have no meaning."""
    found: set[str] = set()

    def note(reference: Any) -> Any:
        path = tree.path_of_reference(reference)
        if isinstance(reference, h5py.RegionReference) and path is not None:
            found.add(path)
        return reference

    for _, item in tree.objects():
        for name in attribute_names(item):
            attribute = h5a.open(item.id, encode(name))
            if values.has_region_references(attribute.get_type()):
                data = values.read_attribute(attribute)
                if data is not None:
                    values.map_references(data, attribute.get_type(), note)
        if isinstance(item, h5py.Dataset) and item.size and values.has_region_references(item.id.get_type()):
            values.map_references(values.read_all(item), item.id.get_type(), note)
    return found
