"""HDF5 files: compress, decompress, describe. The tree is copied by tree.py, fields are kept by stored.py."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from h5py import h5d, h5f, h5fd, h5p

from lossyzip.bound import Bound
from lossyzip.compressor import compress_field
from lossyzip.container.archive import MAGIC as ARCHIVE_MAGIC
from lossyzip.container.archive import unpack_archive
from lossyzip.container.frame import MAGIC as FRAME_MAGIC
from lossyzip.dataset import Coded, Learning
from lossyzip.decompressor import Frame
from lossyzip.enhancing import asked_for
from lossyzip.errors import (
    CorruptError,
    DecodeError,
    InvalidArgumentError,
    LossyZipError,
    NotALossyZipError,
    SelfCheckError,
)
from lossyzip.io import stored
from lossyzip.io.fields import fill_values, find_candidates
from lossyzip.io.interrupt import Stop, interruptible
from lossyzip.io.output import Output, written_whole
from lossyzip.io.related import Opener, compress_datasets
from lossyzip.io.report import FieldRow, FileReport
from lossyzip.io.selection import Candidate, Choice, check_patterns, choose, named_by
from lossyzip.io.tree import Tree, copy_tree, reading
from lossyzip.scratch import Space
from lossyzip.threads import thread_count

if TYPE_CHECKING:
    from lossyzip.field import Source
    from lossyzip.learned.model import Model

PathLike = str | os.PathLike[str]
Check = Callable[[], None]  # raises when the work must end
Progress = Callable[[str, int, int], Any]  # (what is done, values since the last call, values of all fields)


def compress_file(
    source: PathLike,
    target: PathLike,
    bounds: Mapping[str, Bound],
    *,
    effort: str = "balanced",
    idempotent: bool = False,
    threads: int | None = None,
    force: bool = False,
    learned: bool = False,
    autoencoder: bool = False,
    enhance: bool | str = False,
    train_seconds: float | None = None,
    seed: int = 0,
    model: Model | None = None,
    embed_model: bool = False,
    progress: Progress | None = None,
) -> FileReport:
    """Copy an HDF5 file with its fields, of floats or complex numbers, compressed, each within its bound.

    ``bounds`` maps patterns, as in a shell, to bounds; the first that matches counts. A pattern is for
    the whole path ("run/velocity_*"); without a slash also for the last part of it. Fields that no
    pattern names are lossless. Dimension scales and integers are compressed only when a pattern spells out
    their name, without wildcards: readers need the former, and the latter are often flags or indices. Small
    fields, and those that would not get smaller, stay as they are, as does everything else in the file; the
    report tells.

    ``learned``: fields on one grid, staggered or not, help one another, see `compress_fields`. Those, as
    decoded, that are references to come are in memory up to 256 MiB, further ones in scratch files without
    a name beside ``target``. So they do with ``model``, which knows them by their paths.
    ``autoencoder``: see `compress_fields`.
    ``enhance``: see `compress`; ``train_seconds`` are those of each field.

    ``target`` appears when it is complete and every frame in it has been read back; an existing file is
    replaced only with ``force``. Raises InvalidArgumentError (a pattern that matches nothing, an existing
    target), UnsupportedDataError, CorruptError (a damaged source), BoundViolationError, OSError.
    """

    def work(stop: Stop) -> FileReport:
        with _from_to(source, target, force, stop) as (tree, output, check):
            options: dict[str, Any] = {"effort": effort, "idempotent": idempotent, "threads": threads}
            options["enhancing"] = asked_for(enhance, train_seconds, seed, idempotent)
            helped = learned or model is not None
            learning = Learning(train_seconds, seed, model, embed_model, autoencoder) if helped else None
            job = _Compression(tree, check, progress, options, learning)
            job.run(bounds, output)
            _read_back(output, [row.name for row in job.rows])
        return _report(source, target, job.rows, job.copied)

    thread_count(threads)
    if learned and model is not None:
        raise InvalidArgumentError("a model is not trained: leave out either it or learned=True (--learned)")
    if autoencoder and not learned:
        raise InvalidArgumentError("an autoencoder is for learned=True (--learned)")
    return interruptible(work)


def decompress_file(
    source: PathLike,
    target: PathLike,
    *,
    threads: int | None = None,
    force: bool = False,
    only: Iterable[str] | None = None,
    keep_going: bool = False,
    model: Model | None = None,
    enhance: bool = True,
    progress: Progress | None = None,
) -> FileReport:
    """Copy an HDF5 file with its compressed fields restored: values, data type, chunks, filters, attributes.

    ``only``: patterns as for `compress_file`; fields that none matches stay compressed. Raises a
    DecodeError subclass that names the field for damaged bytes, otherwise as `compress_file`.
    ``model``: the one that fields were compressed with. ``keep_going``: a damaged field is copied as it is,
    still compressed, and named in the report.
    ``enhance``: see `decompress`. Fields that others need are decoded into memory, or scratch files beside
    ``target`` where these are more than 256 MiB.
    """

    def work(stop: Stop) -> FileReport:
        with _from_to(source, target, force, stop) as (tree, output, check):
            job = _Decompression(tree, check, progress, threads, keep_going, model, enhance)
            job.run(only, output)
            done = {row.name for row in job.rows}
            rest = {
                name: "damaged" if name in job.damaged else ""
                for name, _ in tree.objects("dataset")
                if name not in done
            }
        return _report(source, target, job.rows, rest, job.damaged)

    thread_count(threads)
    return interruptible(work)


def describe_file(path: PathLike) -> FileReport:
    """What a compressed HDF5 file, or a bare frame or archive, says of itself; nothing is decoded."""
    with open(path, "rb") as file:
        start = file.read(4)
    if start in (FRAME_MAGIC, ARCHIVE_MAGIC):
        data = Path(path).read_bytes()
        frames = {Path(path).name: memoryview(data)} if start == FRAME_MAGIC else unpack_archive(data)
        rows = [FieldRow.of(name, Frame.of_bytes(bytes(frame))) for name, frame in frames.items()]
        return _report(path, path, rows, {})
    with opened(path) as file:
        rows, copied = [], {}
        for name, dataset in Tree(file).objects("dataset"):
            if stored.is_compressed(dataset):
                with naming(name), reading("its bytes"):
                    references = stored.references_of(dataset)
                    frame = stored.open_frame(dataset)
                    rows.append(FieldRow.of(name, frame, references=references, model=frame.model))
            else:
                copied[name] = ""
        return _report(path, path, rows, copied)


@contextlib.contextmanager
def opened(path: PathLike) -> Iterator[h5py.File]:
    """An HDF5 file to read. Raises NotALossyZipError for other files, CorruptError for a damaged one."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        if error.errno:
            raise
        if not h5py.is_hdf5(path):
            raise NotALossyZipError(f"{os.fspath(path)} is not an HDF5 file") from error
        raise CorruptError(f"{os.fspath(path)} is damaged: {error}") from error
    with file:
        yield file


@contextlib.contextmanager
def naming(field: str) -> Iterator[None]:
    """Errors of lossyzip in the block tell which field they are about."""
    try:
        yield
    except LossyZipError as error:
        raise type(error)(f"field {field!r}: {error}") from error


class WatchedSource:
    """A dataset as `compress_field` reads it: stops between tiles, and says so when HDF5 cannot read."""

    def __init__(self, dataset: Source, check: Check) -> None:
        self.shape, self.dtype = dataset.shape, dataset.dtype
        self._dataset, self._check = dataset, check

    def __getitem__(self, key: Any) -> np.ndarray:
        self._check()
        with reading("its values"):
            return np.asarray(self._dataset[key])


class _Compression:
    """The fields of one file on their way into bytes."""

    def __init__(
        self,
        tree: Tree,
        check: Check,
        progress: Progress | None,
        options: dict[str, Any],
        learning: Learning | None,
    ) -> None:
        self._tree, self._check, self._progress = tree, check, progress
        self._options, self._learning = options, learning
        self._related: dict[str, Coded] = {}
        self.rows: list[FieldRow] = []
        self.copied: dict[str, str] = {}

    def run(self, bounds: Mapping[str, Bound], output: Output) -> None:
        choices = choose(find_candidates(self._tree), bounds)
        self.copied = {name: choice.note for name, choice in choices.items() if choice.bound is None}
        fields = [name for name in choices if name not in self.copied]
        tell = _progress_of(self._tree, fields, self._progress)
        if self._learning is not None:
            model = self._learning.model
            alike = fields if model is None else [name for name in fields if name in model.names]
            chosen = {name: bound for name in alike if (bound := choices[name].bound)}
            self._learn(chosen, tell, Space(output.path.parent))
        makers = {name: partial(self._make, name=name, choice=choices[name], tell=tell) for name in fields}
        with _create_like(self._tree.file, output) as file:
            copy_tree(self._tree, file, makers, leave_out=stored.ATTRIBUTES, check=self._check)

    def _make(self, file: h5py.File, *, name: str, choice: Choice, tell: Progress) -> h5d.DatasetID | None:
        assert choice.bound is not None
        original = stored.open_cached(self._tree.file, name)
        order = original.id.get_create_plist().get_attr_creation_order()
        stream = stored.ByteStream(file, order, original.id.get_storage_size(), self._check)
        related = self._related.get(name)
        try:
            with naming(name):
                if related is not None:
                    report = related.report
                    stream.write(related.frame)
                else:
                    report = compress_field(
                        WatchedSource(original, self._check),
                        choice.bound,
                        stream.write,
                        **self._options,
                        fill_values=fill_values(original),
                        progress=lambda values: tell(name, values, 0),
                    )
            dataset = stream.finish()
        except stored.NoGainError:
            self.copied[name] = "it would not get smaller"
            return None
        references = related.references if related else ()
        stored.describe(dataset, report, original, references)
        seconds = report.encode_seconds, report.verify_seconds
        model = Frame.of_bytes(related.frame).model if related else ""
        row = FieldRow.of(name, report, *seconds, choice.named, _helped(related), references, model)
        self.rows.append(row)
        return dataset.id

    def _learn(self, bounds: dict[str, Bound], tell: Progress, space: Space) -> None:
        """Compress the fields that may help one another; whole frames of theirs are copied later."""
        assert self._learning is not None

        def done(coded: Coded) -> None:
            self._check()
            tell(coded.name, math.prod(coded.report.shape), 0)

        def training(name: str, part: float) -> None:
            self._check()
            tell(f"{name}: training, {part:.0%}", 0, 0)

        def watched(dataset: Source) -> WatchedSource:
            return WatchedSource(dataset, self._check)

        self._related = compress_datasets(
            self._tree.file, watched, bounds, self._learning, self._options, done, training, space
        )


def _helped(coded: Coded | None) -> str:
    if coded is None or not coded.references:
        return ""
    gain = coded.plain_bytes / coded.best_bytes
    return f"{gain:.2f} times smaller with the help of {', '.join(coded.references)}"


class _Decompression:
    """The compressed fields of one file on their way back."""

    def __init__(
        self,
        tree: Tree,
        check: Check,
        progress: Progress | None,
        threads: int | None,
        keep_going: bool,
        model: Model | None,
        enhance: bool,
    ) -> None:
        self._tree, self._check, self._progress, self._threads = tree, check, progress, threads
        self._keep_going, self._enhance = keep_going, enhance
        self._model = model
        self.rows: list[FieldRow] = []
        self.damaged: dict[str, str] = {}

    def run(self, only: Iterable[str] | None, output: Output) -> None:
        candidates = [Candidate(self._tree.aliases(name)) for name in compressed_fields(self._tree)]
        patterns = ["*"] if only is None else [only] if isinstance(only, str) else list(only)
        check_patterns(patterns, candidates)
        fields = [c.names[0] for c in candidates if named_by(c, patterns) is not None]
        tell = _progress_of(self._tree, fields, self._progress)
        opener = Opener(self._tree.file, fields, Space(output.path.parent), self._threads, self._model)
        makers = {name: partial(self._make, name=name, tell=tell, opener=opener) for name in fields}
        with _create_like(self._tree.file, output) as file:
            copy_tree(self._tree, file, makers, leave_out=stored.ATTRIBUTES, check=self._check)

    def _make(self, file: h5py.File, *, name: str, tell: Progress, opener: Opener) -> h5d.DatasetID | None:
        try:
            return self._restored(file, name, tell, opener)
        except DecodeError as error:
            if not self._keep_going:
                raise
            self.damaged[name] = str(error)
            return None

    def _restored(self, file: h5py.File, name: str, tell: Progress, opener: Opener) -> h5d.DatasetID:
        compressed = self._tree.file[name]
        with naming(name), reading("its bytes"):
            frame = opener.open(name)
            dataset, lost = stored.create_restored(file, compressed, frame)
            started = time.perf_counter()
            tiles: Iterable[stored.Tile] = frame.tiles(threads=self._threads, enhance=self._enhance)
            if dataset.chunks is None:
                tiles = stored.in_slabs(tiles, frame.shape, frame.dtype.itemsize)
            for where, values in tiles:
                self._check()
                dataset[where] = values
                tell(name, values.size, 0)
        self.rows.append(FieldRow.of(name, frame, time.perf_counter() - started, note="; ".join(lost)))
        return dataset.id


def _progress_of(tree: Tree, fields: list[str], progress: Progress | None) -> Progress:
    """``progress`` with the number of all values filled in."""
    if progress is None:
        return lambda _name, _values, _total: None
    total = sum(stored.original_size(tree.file[name]) for name in fields)
    return lambda name, values, _: progress(name, values, total)


def compressed_fields(tree: Tree) -> list[str]:
    """Paths of the fields that are stored as frames."""
    return [path for path, dataset in tree.objects("dataset") if stored.is_compressed(dataset)]


@contextlib.contextmanager
def _from_to(
    source: PathLike, target: PathLike, force: bool, stop: Stop
) -> Iterator[tuple[Tree, Output, Check]]:
    """The tree of ``source``, what becomes ``target``, and a function that raises when the work must end."""
    with opened(source) as file, written_whole(target, force=force) as output:

        def check() -> None:
            stop.check()
            output.check()

        yield Tree(file), output, check
        check()


@contextlib.contextmanager
def _create_like(source: h5py.File, output: Output) -> Iterator[h5py.File]:
    """A new file in ``output`` with the creation properties and the user block of another."""
    root = source["/"].id.get_create_plist()
    plan = source.id.get_create_plist()
    plan.set_link_creation_order(root.get_link_creation_order())
    plan.set_attr_creation_order(root.get_attr_creation_order())
    plan.set_obj_track_times(False)  # the same input makes the same bytes
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fileobj_driver(h5fd.fileobj_driver, output)
    access.set_libver_bounds(h5f.LIBVER_V18, h5f.LIBVER_LATEST)
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    name = output.path.name.encode("utf-8", "surrogateescape")
    with h5py.File(h5f.create(name, h5f.ACC_TRUNC, plan, access)) as file:
        yield file
    if plan.get_userblock():
        with open(source.filename, "rb") as original:
            output.seek(0)
            output.write(memoryview(original.read(plan.get_userblock())))


def _read_back(output: Output, fields: list[str]) -> None:
    """What was written, checked where it lies."""
    output.check()
    try:
        with h5py.File(output.path, "r") as file:
            for name in fields:
                with naming(name):
                    stored.check_frame(file[name])
    except (LossyZipError, OSError, KeyError) as error:
        raise SelfCheckError(f"what was written does not read back: {error}; nothing was kept") from error


def _report(
    source: PathLike,
    target: PathLike,
    rows: list[FieldRow],
    copied: dict[str, str],
    damaged: dict[str, str] | None = None,
) -> FileReport:
    sizes = os.path.getsize(source), os.path.getsize(target)
    return FileReport(os.fspath(source), os.fspath(target), *sizes, tuple(rows), copied, damaged or {})
