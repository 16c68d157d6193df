"""Copying an HDF5 tree: groups, attributes, links, scales, references. Knows nothing of compression.

A leaf is written by a function of the caller, or copied as it is. References, in attributes and in
datasets, are made anew once everything is there, so that they point into the new file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np

Identity = tuple[int, int]
Leaf = Callable[[h5py.Dataset, h5py.Group, str], bool]  # (source, new parent, name) -> whether it was written


def datasets(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    """(path without leading slash, dataset) for each dataset once, by the first of its hard links."""
    seen: set[Identity] = set()

    def walk(here: h5py.Group, prefix: str) -> Iterator[tuple[str, h5py.Dataset]]:
        for name in here:
            if not isinstance(here.get(name, getlink=True), h5py.HardLink):
                continue
            item = here[name]
            key = identity(item)
            if key in seen:
                continue
            seen.add(key)
            if isinstance(item, h5py.Dataset):
                yield prefix + name, item
            elif isinstance(item, h5py.Group):
                yield from walk(item, f"{prefix}{name}/")

    seen.add(identity(group))
    return walk(group, "")


def region_targets(file: h5py.File) -> set[Identity]:
    """The datasets that region references in ``file`` point into."""
    found: set[Identity] = set()

    def collect(value: Any) -> None:
        if isinstance(value, h5py.RegionReference):
            if value:
                found.add(identity(file[value]))
        elif isinstance(value, np.void) and value.dtype.names:
            for field in value.dtype.names:
                collect(value[field])
        elif isinstance(value, np.ndarray) and value.dtype.hasobject:
            for item in value.ravel():
                collect(item)

    def look(item: Any) -> None:
        for name in item.attrs:
            if _holds_references(item.attrs.get_id(name).dtype):
                collect(item.attrs[name])
        if isinstance(item, h5py.Dataset) and item.size and _holds_references(item.dtype):
            collect(item[()])

    look(file)
    file.visititems(lambda _name, item: look(item))
    return found


def copy_tree(source: h5py.File, target: h5py.File, leaf: Leaf, without: str | None = None) -> None:
    """Copy all of ``source`` into the empty ``target``; datasets that ``leaf`` does not write are copied.

    Attributes whose names begin with ``without`` stay behind.
    """
    made = {identity(source): "/"}
    pairs: list[tuple[Any, Any]] = [(source, target)]
    _copy_group(source, target, leaf, made, pairs)
    for old, new in pairs:
        _copy_attributes(old, new, source, target, without)
        if isinstance(old, h5py.Dataset) and isinstance(new, h5py.Dataset) and _holds_references(old.dtype):
            _copy_references(old, new, source, target)


def _copy_group(
    source: h5py.Group,
    target: h5py.Group,
    leaf: Leaf,
    made: dict[Identity, str],
    pairs: list[tuple[Any, Any]],
) -> None:
    for name in source:
        link = source.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            target[name] = link
            continue
        old = source[name]
        key = identity(old)
        if key in made:
            target[name] = target.file[made[key]]
            continue
        if isinstance(old, h5py.Group):
            new = target.create_group(name, track_order=_tracks_order(old))
            made[key] = new.name
            pairs.append((old, new))
            _copy_group(old, new, leaf, made, pairs)
            continue
        if not (isinstance(old, h5py.Dataset) and leaf(old, target, name)):
            _copy_as_is(source, target, name)
        made[key] = target[name].name
        pairs.append((old, target[name]))


def _copy_as_is(source: h5py.Group, target: h5py.Group, name: str) -> None:
    """The object without its attributes; those may hold references, and follow later."""
    encoded = name.encode("utf-8")
    plist = h5py.h5p.create(h5py.h5p.OBJECT_COPY)
    plist.set_copy_object(h5py.h5o.COPY_WITHOUT_ATTR_FLAG)
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_char_encoding(h5py.h5t.CSET_UTF8)
    h5py.h5o.copy(source.id, encoded, target.id, encoded, plist, links)


def _copy_attributes(old: Any, new: Any, source: h5py.File, target: h5py.File, without: str | None) -> None:
    for name in old.attrs:
        if without is not None and name.startswith(without):
            continue
        attribute = old.attrs.get_id(name)
        if _holds_references(attribute.dtype):
            value = _translate(old.attrs[name], source, target)
            new.attrs.create(name, value, shape=attribute.shape, dtype=attribute.dtype)
        else:
            _copy_attribute_bytes(attribute, new, name)


def _copy_attribute_bytes(attribute: Any, new: Any, name: str) -> None:
    """In the file's own types, so that string types, enums and paddings stay."""
    encoded = name.encode("utf-8")
    if h5py.h5a.exists(new.id, encoded):
        h5py.h5a.delete(new.id, encoded)
    kind, space = attribute.get_type(), attribute.get_space()
    made = h5py.h5a.create(new.id, encoded, kind, space)
    if space.get_simple_extent_type() == h5py.h5s.NULL:
        return
    buffer = np.empty(attribute.shape, attribute.dtype)
    attribute.read(buffer)
    made.write(buffer)


def _copy_references(old: h5py.Dataset, new: h5py.Dataset, source: h5py.File, target: h5py.File) -> None:
    if old.shape is not None and old.size:
        new[...] = _translate(old[...], source, target)


def _holds_references(dtype: np.dtype) -> bool:
    if h5py.check_ref_dtype(dtype) is not None:
        return True
    inner = h5py.check_vlen_dtype(dtype)
    if inner is not None and isinstance(inner, np.dtype):
        return _holds_references(inner)
    if dtype.subdtype is not None:
        return _holds_references(dtype.subdtype[0])
    return dtype.names is not None and any(_holds_references(dtype[field]) for field in dtype.names)


def _translate(value: Any, source: h5py.File, target: h5py.File) -> Any:
    """``value`` with every reference pointing to the object of the same path in ``target``."""
    if isinstance(value, h5py.RegionReference):
        if not value:
            return value
        path = h5py.h5r.get_name(value, source.id)
        return h5py.h5r.create(
            target.id, path, h5py.h5r.DATASET_REGION, h5py.h5r.get_region(value, source.id)
        )
    if isinstance(value, h5py.Reference):
        return target[source[value].name].ref if value else value
    if isinstance(value, np.void) and value.dtype.names:
        record = np.empty((), value.dtype)
        for field in value.dtype.names:
            record[field] = _translate(value[field], source, target)
        return record[()]
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        result = np.empty(value.shape, value.dtype)
        for index in np.ndindex(value.shape):
            result[index] = _translate(value[index], source, target)
        return result
    return value


def identity(item: Any) -> Identity:
    """What tells an object of a file from all others; its name does not, as it may have several."""
    info = h5py.h5o.get_info(item.id)
    return info.fileno, info.addr


def _tracks_order(group: h5py.Group) -> bool:
    return bool(group.id.get_create_plist().get_link_creation_order() & h5py.h5p.CRT_ORDER_TRACKED)
