"""An original HDF5 file against its compressed one: fields within their bounds, all else equal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from lossyzip.checker import Checker
from lossyzip.errors import LossyZipError, NotALossyZipError
from lossyzip.field import valid_range
from lossyzip.io import dataset as field_io
from lossyzip.io.hdf5 import Progress, opened
from lossyzip.io.tree import datasets

_BLOCK_VALUES = 1 << 20


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
    progress: Progress | None = None,
) -> VerifyReport:
    """Decode every compressed field and compare it in exact arithmetic; compare everything else for equality.

    A damaged field is a row with a problem, and does not stop the others. Raises NotALossyZipError when
    nothing in ``compressed`` is compressed.
    """
    with opened(original) as old, opened(compressed) as new:
        packed = [name for name, item in datasets(new) if field_io.is_compressed(item)]
        if not packed:
            raise NotALossyZipError(f"{compressed}: none of its datasets was compressed by lossyzip")
        total = sum(old[name].size for name in packed if isinstance(old.get(name), h5py.Dataset))
        rows = []
        for name in packed:
            told = None if progress is None else _bind(progress, name, total)
            rows.append(_verify_field(name, old.get(name), new[name], threads, told))
        return VerifyReport(tuple(rows), tuple(_differences(old, new, set(packed))))


def _verify_field(
    name: str, field: Any, packed: h5py.Dataset, threads: int | None, progress: Callable[[int], Any] | None
) -> VerifyRow:
    if not isinstance(field, h5py.Dataset):
        return _failed(name, "the original has no such dataset")
    try:
        frame = field_io.open_frame(packed)
        if field.shape != frame.shape or field.dtype != frame.dtype:
            return _failed(name, f"is {frame.dtype.str} {frame.shape}, not {field.dtype.str} {field.shape}")
        fills = field_io.fill_values(field)
        checker = Checker(frame.eps, *valid_range(field, fills), fills)
        for where, values in frame.tiles(threads=threads):
            checker.update(np.asarray(field[where]), values, tuple(s.start for s in where))
            if progress is not None:
                progress(values.size)
    except LossyZipError as error:
        return _failed(name, f"{type(error).__name__}: {error}")
    report = checker.report()
    problem = ""
    if report.violations:
        problem = f"{report.violations} values are outside the bound, the first at {report.first_violation}"
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


def _differences(old: h5py.File, new: h5py.File, packed: set[str]) -> Iterator[str]:
    theirs, ours = dict(_objects(old)), dict(_objects(new))
    for path in sorted(theirs.keys() ^ ours.keys()):
        yield f"{path}: only in the {'original' if path in theirs else 'compressed file'}"
    for path in sorted(theirs.keys() & ours.keys()):
        a, b = theirs[path], ours[path]
        if type(a) is not type(b):
            yield f"{path}: is another kind of object"
            continue
        if isinstance(a, h5py.SoftLink | h5py.ExternalLink):
            if vars(a) != vars(b):
                yield f"{path}: links to something else"
            continue
        names = {name for name in b.attrs if not name.startswith(field_io.PREFIX)} ^ set(a.attrs)
        for name in sorted(names):
            yield f"{path}: attribute {name} is only in one of the files"
        for name in set(a.attrs) & set(b.attrs):
            if not _same(_attribute(a, name), _attribute(b, name), old, new):
                yield f"{path}: attribute {name} differs"
        if (
            isinstance(a, h5py.Dataset)
            and path.strip("/") not in packed
            and not _same_dataset(a, b, old, new)
        ):
            yield f"{path}: values differ"


def _objects(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """(path, object or link) of everything, by every path that hard links give but cycles."""

    def walk(group: h5py.Group, path: str, above: frozenset[Any]) -> Iterator[tuple[str, Any]]:
        for name in group:
            link = group.get(name, getlink=True)
            item = group[name] if isinstance(link, h5py.HardLink) else link
            yield f"{path}/{name}", item
            if isinstance(item, h5py.Group) and item.id not in above:
                yield from walk(item, f"{path}/{name}", above | {item.id})

    yield "/", file["/"]
    yield from walk(file["/"], "", frozenset({file["/"].id}))


def _attribute(item: Any, name: str) -> Any:
    value = item.attrs[name]
    return value if not isinstance(value, h5py.Empty) else ("empty", value.dtype)


def _same_dataset(a: h5py.Dataset, b: h5py.Dataset, old: h5py.File, new: h5py.File) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not a.shape:
        return a.shape is None or _same(a[()], b[()], old, new)
    step = max(1, _BLOCK_VALUES * a.shape[0] // max(a.size, 1))
    return all(_same(a[k : k + step], b[k : k + step], old, new) for k in range(0, a.shape[0], step))


def _same(a: Any, b: Any, old: h5py.File, new: h5py.File) -> bool:
    if isinstance(a, h5py.RegionReference | h5py.Reference):
        if not (a and b):
            return bool(a) == bool(b)
        return old[a].name == new[b].name
    if isinstance(a, np.ndarray | np.generic):
        if not isinstance(b, np.ndarray | np.generic) or a.dtype != b.dtype or a.shape != b.shape:
            return False
        if a.dtype.hasobject:
            items = zip(np.asarray(a).ravel().tolist(), np.asarray(b).ravel().tolist(), strict=True)
            return all(_same(x, y, old, new) for x, y in items)
        return np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()
    if isinstance(a, tuple):
        return len(a) == len(b) and all(_same(x, y, old, new) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def _bind(progress: Progress, name: str, total: int) -> Callable[[int], Any]:
    return lambda done: progress(name, done, total)
