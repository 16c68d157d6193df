"""An original HDF5 file against its compressed one: fields within their bounds, all else equal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from h5py import h5a

from lossyzip.errors import LossyZipError
from lossyzip.io import stored, values
from lossyzip.io.fields import fill_values
from lossyzip.io.hdf5 import Progress, compressed_fields, opened
from lossyzip.io.interrupt import Stop, interruptible
from lossyzip.io.related import Opener
from lossyzip.io.tree import Link, Tree, attribute_names, encode, reading
from lossyzip.scratch import Space

if TYPE_CHECKING:
    from lossyzip.learned.model import Model


@dataclass(frozen=True)
class VerifyRow:
    """One compressed field against the original. ``problem`` is empty when it is as promised."""

    name: str
    bound: str
    eps: float
    max_error: float
    violations: int
    first_violation: tuple[int, ...] | None
    psnr: float
    ratio: float
    problem: str


@dataclass(frozen=True)
class VerifyReport:
    """``differences`` are objects, attributes and datasets that should be equal and are not."""

    fields: tuple[VerifyRow, ...]
    differences: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.differences and not any(row.problem for row in self.fields)


def verify_file(
    original: str | os.PathLike[str],
    compressed: str | os.PathLike[str],
    *,
    threads: int | None = None,
    model: Model | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Decode every compressed field and compare it in exact arithmetic; compare everything else for equality.

    A damaged field, or one whose ``model`` is another, is a row with a problem, and does not stop the others.
    """

    def work(stop: Stop) -> VerifyReport:
        with opened(original) as old, opened(compressed) as new:
            trees = Tree(old), Tree(new)
            packed = compressed_fields(trees[1])
            total = sum(old[name].size for name in packed if isinstance(old.get(name), h5py.Dataset))

            def tell(name: str, done: int) -> None:
                stop.check()
                if progress is not None:
                    progress(name, done, total)

            opener = Opener(new, packed, Space(), threads, model)
            rows = [
                _verify_field(name, old.get(name), opener, threads, partial(tell, name)) for name in packed
            ]
            return VerifyReport(tuple(rows), tuple(_differences(*trees, set(packed))))

    return interruptible(work)


def _verify_field(
    name: str, field: Any, opener: Opener, threads: int | None, tell: Callable[[int], None]
) -> VerifyRow:
    if not isinstance(field, h5py.Dataset):
        return _failed(name, "the original has no such dataset")
    try:
        frame = opener.open(name)
        if field.shape != frame.shape or field.dtype != frame.dtype:
            return _failed(name, f"is {frame.dtype.str} {frame.shape}, not {field.dtype.str} {field.shape}")
        report = frame.compare(field, fill_values(field), threads=threads, progress=tell)
    except LossyZipError as error:
        return _failed(name, f"{type(error).__name__}: {error}")
    problem = ""
    if report.violations:
        problem = f"{report.violations} values are outside the bound, the first at {report.first_violation}"
    elif not report.psnr_floor >= frame.least_psnr:
        problem = f"the PSNR is below the {frame.least_psnr:g} dB that were asked for"
    return VerifyRow(
        name,
        frame.bound,
        frame.eps,
        report.max_error,
        report.violations,
        report.first_violation,
        report.psnr,
        frame.raw_bytes / frame.compressed_bytes,
        problem,
    )


def _failed(name: str, problem: str) -> VerifyRow:
    return VerifyRow(name, "", float("nan"), float("nan"), 0, None, float("nan"), float("nan"), problem)


def _differences(old: Tree, new: Tree, packed: set[str]) -> Iterator[str]:
    """Links, attributes, and datasets that are compressed in neither file or in both."""
    theirs, ours = ({link.path: link for link in tree.links} for tree in (old, new))
    for path in sorted(theirs.keys() ^ ours.keys()):
        yield f"{path}: only in the {'original' if path in theirs else 'compressed file'}"
    for path in sorted(theirs.keys() & ours.keys()):
        a, b = theirs[path], ours[path]
        if (a.kind, a.value, _first(old, a)) != (b.kind, b.value, _first(new, b)):
            yield f"{path}: is another kind of object, or links to something else"
        elif a.kind in ("group", "dataset", "type"):
            was_packed = path in packed
            with reading(path):
                x, y = old.file[f"/{path}"], new.file[f"/{path}"]
                yield from (f"{path}: {what}" for what in _attributes_differ(old, new, x, y, was_packed))
                if a.kind == "dataset" and not was_packed and not _same_dataset(old, new, x, y):
                    yield f"{path}: values differ"


def _first(tree: Tree, link: Link) -> str:
    """Where the object was met first; hard links must lead to the same one in both files."""
    return tree.paths[link.address][0] if link.address else ""


def _attributes_differ(old: Tree, new: Tree, a: Any, b: Any, was_packed: bool) -> Iterator[str]:
    theirs = set(attribute_names(a))
    ours = {name for name in attribute_names(b) if not (was_packed and name in stored.ATTRIBUTES)}
    for name in sorted(ours ^ theirs):
        yield f"attribute {name} is only in one of the files"
    for name in sorted(ours & theirs):
        x, y = (h5a.open(item.id, encode(name)) for item in (a, b))
        if not x.get_type().equal(y.get_type()) or x.shape != y.shape:
            yield f"attribute {name} has another type or shape"
        elif not values.same(_resolved(old, x), _resolved(new, y)):
            yield f"attribute {name} differs"


def _resolved(tree: Tree, attribute: h5a.AttrID) -> np.ndarray | None:
    """The values, with paths in the place of references."""
    data = values.read_attribute(attribute)
    if data is not None:
        values.map_references(data, attribute.get_type(), tree.name_reference)
    return data


def _same_dataset(old: Tree, new: Tree, a: h5py.Dataset, b: h5py.Dataset) -> bool:
    if a.shape != b.shape or not a.id.get_type().equal(b.id.get_type()):
        return False
    if a.is_virtual and b.is_virtual:  # what it shows may be compressed
        return _sources(a) == _sources(b)
    for (_, x), (_, y) in zip(values.read_blocks(a), values.read_blocks(b), strict=True):
        values.map_references(x, a.id.get_type(), old.name_reference)
        values.map_references(y, b.id.get_type(), new.name_reference)
        if not values.same(x, y):
            return False
    return True


def _sources(view: h5py.Dataset) -> list[tuple[str, str, bytes, bytes]]:
    return [
        (source.file_name, source.dset_name, source.src_space.encode(), source.vspace.encode())
        for source in view.virtual_sources()
    ]
