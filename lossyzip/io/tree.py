"""The tree of an HDF5 file: every link in order, every object once; and its copy. Knows no compression."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
from h5py import h5a, h5d, h5g, h5o, h5p, h5r, h5t

from lossyzip.errors import CorruptError, LossyZipError, UnsupportedDataError
from lossyzip.io import values

_KINDS = {h5o.TYPE_GROUP: "group", h5o.TYPE_DATASET: "dataset", h5o.TYPE_NAMED_DATATYPE: "type"}
_MERGE_COMMITTED_TYPES = 0x0040  # H5O_COPY_MERGE_COMMITTED_DTYPE_FLAG, which h5py does not name
_TYPES = b".lossyzip committed types"  # a group that holds them while a tree is copied

Maker = Callable[[h5py.File], h5d.DatasetID | None]  # makes a dataset in the file, without a name yet


@dataclass(frozen=True)
class Link:
    """``kind``: "group", "dataset", "type" where an object is met first, "hard" for any further link to it,
    "soft" or "external". ``value`` is what `h5py` says of where a soft or external link leads."""

    path: str
    kind: str
    address: int
    charset: int
    value: Any = None

    @property
    def parent(self) -> str:
        return self.path.rpartition("/")[0] or "/"

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class Tree:
    """What an open file holds. Paths have no leading slash; the root's is ""."""

    def __init__(self, file: h5py.File) -> None:
        self.file = file
        self.links: list[Link] = []
        self.paths: dict[int, list[str]] = {}
        with reading("the file's tree"):
            self._add("", "group", _address(file["/"]), h5t.CSET_ASCII)
            pending = [self._members("")]
            while pending:  # not recursive: a tree may be deep
                path = next(pending[-1], None)
                if path is None:
                    pending.pop()
                elif self._meet(path):
                    pending.append(self._members(path))

    def objects(self, kind: str | None = None) -> Iterator[tuple[str, Any]]:
        """(path, object) of everything once, the root too, in order."""
        for link in self.links:
            if link.kind in ("group", "dataset", "type") and kind in (None, link.kind):
                with reading(link.path):
                    item = self.file[f"/{link.path}"]
                yield link.path, item

    def aliases(self, path: str) -> tuple[str, ...]:
        """All paths of the object that is met first at ``path``."""
        return tuple(self.paths[_address(self.file[f"/{path}"])])

    def path_of(self, item: Any) -> str | None:
        """Where an object (high-level, or low-level id) lies; None if nowhere in the tree."""
        return self.paths.get(_address(item), [None])[0]

    def path_of_reference(self, reference: Any) -> str | None:
        """Where an object or region reference leads; None for one that is null or leads nowhere."""
        if not reference:
            return None
        try:
            return self.path_of(h5r.dereference(reference, self.file.id))
        except (OSError, RuntimeError, KeyError, ValueError):
            return None

    def name_reference(self, reference: Any) -> str:
        """What a reference means, as text that two files can be compared by."""
        path = self.path_of_reference(reference)
        if path is None:
            return "nowhere"
        if isinstance(reference, h5r.RegionReference):
            return f"/{path} {h5r.get_region(reference, self.file.id).encode().hex()}"
        return f"/{path}"

    def _members(self, path: str) -> Iterator[str]:
        """Paths, in the order of creation where the file knows it, else of the alphabet."""
        names = list(self.file[f"/{path}"])
        for name in names:
            if isinstance(name, bytes):
                raise UnsupportedDataError(f"/{path}: the name {name!r} is not UTF-8; rename it first")
        return iter([f"{path}/{name}".lstrip("/") for name in names])

    def _meet(self, path: str) -> bool:
        """Note a link; whether it leads to a group that was not met before."""
        parent, _, name = path.rpartition("/")
        group, key = self.file[f"/{parent}"].id, encode(name)
        links = group.links  # usable while `group` is there
        info = links.get_info(key)
        if info.type in (h5py.h5l.TYPE_SOFT, h5py.h5l.TYPE_EXTERNAL):
            kind = "soft" if info.type == h5py.h5l.TYPE_SOFT else "external"
            self.links.append(Link(path, kind, 0, info.cset, links.get_val(key)))
            return False
        if info.type != h5py.h5l.TYPE_HARD:
            raise UnsupportedDataError(f"{path!r} is a link of a user-defined kind, which cannot be copied")
        item = h5o.open(self.file.id, encode(f"/{path}"))
        return self._add(path, _KINDS[h5o.get_info(item).type], _address(item), info.cset)

    def _add(self, path: str, kind: str, address: int, charset: int) -> bool:
        known = address in self.paths
        self.paths.setdefault(address, []).append(path)
        self.links.append(Link(path, "hard" if known else kind, address, charset))
        return kind == "group" and not known


def copy_tree(
    tree: Tree,
    target: h5py.File,
    replace: Mapping[str, Maker],
    *,
    leave_out: Collection[str] = (),
    check: Callable[[], None],
) -> None:
    """Copy everything into the empty file ``target``; datasets in ``replace`` are made by their makers.

    A maker may return None: then its dataset is copied as it is. What it made gets the attributes of the
    original but for those in ``leave_out``. References lead to the copies. ``check`` is called in between.
    """
    copy = _Copy(tree, target, check)
    copy.links(replace)
    copy.attributes(leave_out)


class _Copy:
    """A copy under way. What h5o.copy copies has its attributes, but references in it lead nowhere yet."""

    def __init__(self, tree: Tree, target: h5py.File, check: Callable[[], None]) -> None:
        self._tree, self._target, self._check = tree, target, check
        self._made = {""}  # paths of objects that are no verbatim copies
        self._options = h5p.create(h5p.OBJECT_COPY)

    def links(self, replace: Mapping[str, Maker]) -> None:
        self._copy_types()
        for link in self._tree.links[1:]:
            self._check()
            make = replace.get(link.path) if link.kind == "dataset" else None
            made = None if make is None else make(self._target)
            with reading(link.path):
                self._copy_link(link, made)
        if _TYPES in self._target.id:
            self._target.id.unlink(_TYPES)

    def attributes(self, leave_out: Collection[str]) -> None:
        for path, item in self._tree.objects():
            self._check()
            twin = self._target[f"/{path}"]
            with reading(path):
                if path in self._made:
                    hidden = leave_out if isinstance(item, h5py.Dataset) else ()
                    for name in attribute_names(item):
                        if name not in hidden:
                            self._copy_attribute(item.id, twin.id, encode(name))
                else:
                    self._mend(item, twin)

    def _copy_link(self, link: Link, made: h5d.DatasetID | None) -> None:
        place, name, source = self._target[link.parent].id, encode(link.name), self._tree.file
        options = h5p.create(h5p.LINK_CREATE)
        options.set_char_encoding(link.charset)
        if made is not None:
            h5o.link(made, place, name, options)
            self._made.add(link.path)
        elif link.kind == "group":
            h5g.create(place, name, options, _group_plan(source[f"/{link.path}"]))
            self._made.add(link.path)
        elif link.kind == "dataset" and _fills_with_pointers(source[f"/{link.path}"]):
            h5o.link(self._copy_by_values(source[f"/{link.path}"]), place, name, options)
            self._made.add(link.path)
        elif link.kind == "dataset":
            h5o.copy(source.id, encode(f"/{link.path}"), place, name, self._options, options)
        elif link.kind == "type":
            place.links.create_hard(name, self._target.id, self._type_path(link.address), options)
        elif link.kind == "hard":
            first = encode(f"/{self._tree.paths[link.address][0]}")
            place.links.create_hard(name, self._target.id, first, options)
        elif link.kind == "soft":
            place.links.create_soft(name, link.value, options)
        else:
            place.links.create_external(name, *link.value, options)

    def _copy_by_values(self, original: h5py.Dataset) -> h5d.DatasetID:
        kind, plan = original.id.get_type(), original.id.get_create_plist()
        made = h5d.create(self._target.id, None, self._own(kind), original.id.get_space(), plan)
        if original.size:
            values.write_all(h5py.Dataset(made), values.read_all(original))
        return made

    def _own(self, kind: h5t.TypeID) -> h5t.TypeID:
        """A committed type of the source as the copy has it, while links are copied."""
        if not kind.committed():
            return kind
        known = self._tree.path_of(kind) is not None
        return h5t.open(self._target.id, self._type_path(_address(kind))) if known else kind.copy()

    def _copy_types(self) -> None:
        """Committed types come first, so that copies of datasets find and share them."""
        types = [link for link in self._tree.links if link.kind == "type"]
        if types:
            h5g.create(self._target.id, _TYPES)
            self._options.set_copy_object(_MERGE_COMMITTED_TYPES)
        for link in types:
            name = self._type_path(link.address)
            h5o.copy(self._tree.file.id, encode(f"/{link.path}"), self._target.id, name, self._options)

    def _type_path(self, address: int) -> bytes:
        return b"%s/%d" % (_TYPES, address)

    def _copy_attribute(self, source: Any, target: Any, name: bytes) -> None:
        attribute = h5a.open(source, name)
        kind = attribute.get_type()
        if kind.committed() and (path := self._tree.path_of(kind)) is not None:
            kind = h5t.open(self._target.id, encode(f"/{path}"))
        twin = h5a.create(target, name, kind, attribute.get_space())
        self._copy_values(attribute, twin)

    def _copy_values(self, attribute: h5a.AttrID, twin: h5a.AttrID) -> None:
        data = values.read_attribute(attribute)
        if data is not None:
            values.map_references(data, attribute.get_type(), self._translate)
            values.write_attribute(twin, data)

    def _mend(self, item: Any, twin: Any) -> None:
        """Point the references in a verbatim copy to where they belong."""
        for name in attribute_names(item):
            attribute = h5a.open(item.id, encode(name))
            if values.has_references(attribute.get_type()):
                self._copy_values(attribute, h5a.open(twin.id, encode(name)))
        if isinstance(item, h5py.Dataset) and item.size and values.has_references(item.id.get_type()):
            data = values.read_all(item)
            values.map_references(data, item.id.get_type(), self._translate)
            values.write_all(twin, data)

    def _translate(self, reference: Any) -> Any:
        """The same reference into the copy; a null one for what is not in the tree."""
        path = self._tree.path_of_reference(reference)
        if path is None:
            return type(reference)()
        if isinstance(reference, h5r.RegionReference):
            space = h5r.get_region(reference, self._tree.file.id)
            return h5r.create(self._target.id, encode(f"/{path}"), h5r.DATASET_REGION, space)
        return h5r.create(self._target.id, encode(f"/{path}"), h5r.OBJECT)


def _group_plan(group: h5py.Group) -> h5p.PropGCID:
    """To create one like ``group``: its own plan has addresses of its file where it has many links."""
    old, new = group.id.get_create_plist(), h5p.create(h5p.GROUP_CREATE)
    new.set_link_creation_order(old.get_link_creation_order())
    new.set_attr_creation_order(old.get_attr_creation_order())
    new.set_obj_track_times(False)  # the same input makes the same bytes
    return new


def _fills_with_pointers(dataset: h5py.Dataset) -> bool:
    """Such as netCDF's strings: h5o.copy would leave the fill value's address as it was in the old file."""
    kind, plan = dataset.id.get_type(), dataset.id.get_create_plist()
    if plan.fill_value_defined() != h5d.FILL_VALUE_USER_DEFINED or dataset.shape is None:
        return False
    return values.has_pointers(kind) and not values.has_references(kind)


def attribute_names(item: Any) -> list[str]:
    names = list(item.attrs)  # h5py gives bytes where they are not UTF-8
    return [n.decode("utf-8", "surrogateescape") if isinstance(n, bytes) else n for n in names]


def encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Errors of HDF5 in the block become CorruptError that names ``what``; those of the system stay."""
    try:
        yield
    except LossyZipError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise CorruptError(f"{what or '/'}: HDF5 cannot read it: {error}") from error


def _address(item: Any) -> int:
    return int(h5o.get_info(item.id if isinstance(item, h5py.HLObject) else item).addr)
