"""HDF5 files: compress, decompress, verify, describe. The whole tree stays; only chosen fields change."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from lossyzip.bound import Bound, lossless
from lossyzip.errors import DecodeError, InvalidArgumentError, LossyZipError, NotALossyZipError
from lossyzip.io import dataset as field_io
from lossyzip.io.atomic import replacing
from lossyzip.io.selection import Candidate, Choice, choose
from lossyzip.io.tree import Leaf, copy_tree, datasets, identity, region_targets

Progress = Callable[[str, int, int], Any]  # (field, values done since the last call, values of all fields)


@dataclass(frozen=True)
class FieldRow:
    """One field of a file. ``named`` is False where no pattern chose the bound, and it was kept lossless.

    Seconds are of all threads; those of verification are apart.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bound: str
    eps: float
    max_error: float
    raw_bytes: int
    compressed_bytes: int
    seconds: float
    verify_seconds: float
    family: str
    named: bool = True

    @property
    def ratio(self) -> float:
        return self.raw_bytes / self.compressed_bytes


@dataclass(frozen=True)
class FileReport:
    """What became of a file: ``fields`` that were coded, ``copied`` datasets that stayed as they are."""

    source: str
    target: str
    source_bytes: int
    target_bytes: int
    fields: tuple[FieldRow, ...]
    copied: tuple[str, ...]


def compress_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    bounds: Mapping[str, Bound],
    *,
    effort: str = "balanced",
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> FileReport:
    """Compress the fields of an HDF5 file into another, which keeps everything else.

    ``bounds`` maps shell patterns to bounds: on a field's path, or on its last component if the pattern
    has no slash; the first match counts. Fields that no pattern names are kept lossless. Other datasets
    (integers, strings, ...), dimension scales that no pattern names literally, and fields without values,
    that region references point into, or that would not shrink are copied. ``target`` appears when it is
    complete, or not at all.

    Raises InvalidArgumentError for a pattern without a field or an existing ``target`` (unless
    ``force``), UnsupportedDataError, BoundViolationError; OSError for what the system refuses.
    """
    with opened(source) as old:
        chosen = _choose(old, bounds)
        total = sum(old[name].size for name in chosen)
        path_of = {identity(old[name]): name for name in chosen}
        rows: dict[str, FieldRow] = {}

        def leaf(field: h5py.Dataset, parent: h5py.Group, name: str) -> bool:
            path = path_of.get(identity(field))
            if path is None or not field.size:
                return False
            with _naming(path):
                row = _compress(
                    field, parent, name, path, chosen[path], effort, threads, _bind(progress, path, total)
                )
            if row is None:
                return False
            rows[path] = row
            return True

        return _rewrite(old, Path(target), leaf, rows, force)


def decompress_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> FileReport:
    """Restore a file that `compress_file` made: the original, but for the values of the chosen fields.

    Raises NotALossyZipError when no dataset of ``source`` is compressed; a DecodeError subclass that names
    the field when one is damaged. ``target`` appears when it is complete, or not at all.
    """
    with opened(source) as old:
        path_of = {identity(item): name for name, item in datasets(old) if field_io.is_compressed(item)}
        if not path_of:
            raise NotALossyZipError(f"{source}: none of its datasets was compressed by lossyzip")
        total = sum(_original_size(old[name]) for name in path_of.values())
        rows: dict[str, FieldRow] = {}

        def leaf(item: h5py.Dataset, parent: h5py.Group, name: str) -> bool:
            path = path_of.get(identity(item))
            if path is None:
                return False
            started = time.perf_counter()
            with _naming(path):
                frame = field_io.write_restored(
                    item, parent, name, threads=threads, progress=_bind(progress, path, total)
                )
            rows[path] = _row_of_frame(path, frame, time.perf_counter() - started)
            return True

        return _rewrite(old, Path(target), leaf, rows, force, without=field_io.PREFIX)


def describe_file(path: str | os.PathLike[str]) -> FileReport:
    """What a compressed file says of itself; nothing is decoded."""
    with opened(path) as file:
        rows, copied = [], []
        for name, item in datasets(file):
            if field_io.is_compressed(item):
                with _naming(name):
                    rows.append(_row_of_frame(name, field_io.open_frame(item), 0.0))
            else:
                copied.append(name)
        size = os.path.getsize(path)
        return FileReport(str(path), str(path), size, size, tuple(rows), tuple(copied))


def _compress(
    field: h5py.Dataset,
    parent: h5py.Group,
    name: str,
    path: str,
    choice: Choice,
    effort: str,
    threads: int | None,
    progress: Callable[[int], Any] | None,
) -> FieldRow | None:
    """The row of the field's compressed dataset; None when it is better copied."""
    report = field_io.write_compressed(
        field, parent, name, choice.bound, effort=effort, threads=threads, progress=progress
    )
    if report.compressed_bytes >= report.raw_bytes:
        del parent[name]
        return None
    return FieldRow(
        path,
        report.shape,
        report.dtype,
        report.bound,
        report.eps,
        report.max_error,
        report.raw_bytes,
        report.compressed_bytes,
        report.encode_seconds,
        report.verify_seconds,
        ", ".join(report.families),
        choice.named,
    )


def _rewrite(
    old: h5py.File,
    target: Path,
    leaf: Leaf,
    rows: dict[str, FieldRow],
    force: bool,
    without: str | None = None,
) -> FileReport:
    if target.exists() and os.path.samefile(old.filename, target):
        raise InvalidArgumentError(f"{target} is the input; write to another name")
    with replacing(target, force=force) as temporary:
        with h5py.File(temporary, "w", track_order=_tracks_order(old)) as new:
            copy_tree(old, new, leaf, without)
        size = temporary.stat().st_size
    copied = tuple(name for name, _ in datasets(old) if name not in rows)
    return FileReport(
        old.filename, str(target), os.path.getsize(old.filename), size, tuple(rows.values()), copied
    )


def _choose(file: h5py.File, bounds: Mapping[str, Bound]) -> dict[str, Choice]:
    candidates = []
    pointed_into = region_targets(file)
    for name, item in datasets(file):
        reason = field_io.unsupported(item)
        if field_io.is_compressed(item):
            reason = "it is compressed already"
        elif identity(item) in pointed_into:
            reason = "a region reference points into it"
        candidates.append(Candidate(name, reason, field_io.is_scale(item)))
    return choose(candidates, bounds, otherwise=lossless())


def _row_of_frame(name: str, frame: Any, seconds: float) -> FieldRow:
    return FieldRow(
        name,
        frame.shape,
        frame.dtype.str,
        frame.bound,
        frame.eps,
        frame.max_error,
        frame.raw_bytes,
        frame.compressed_bytes,
        seconds,
        0.0,
        ", ".join(frame.families),
    )


def _original_size(item: h5py.Dataset) -> int:
    size = 1
    for length in item.attrs.get(f"{field_io.PREFIX}shape", ()):
        size *= int(length)
    return size


def _bind(progress: Progress | None, name: str, total: int) -> Callable[[int], Any] | None:
    return None if progress is None else lambda done: progress(name, done, total)


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Put the field's name before the message of an error."""
    try:
        yield
    except LossyZipError as error:
        raise type(error)(f"{name}: {error}") from error


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    if not os.path.exists(path):
        raise InvalidArgumentError(f"{path}: no such file")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DecodeError(f"{path}: cannot be read as HDF5: {error}") from error
    with file:
        yield file


def _tracks_order(file: h5py.File) -> bool:
    return bool(file.id.get_create_plist().get_link_creation_order() & h5py.h5p.CRT_ORDER_TRACKED)
