"""Fields of a file that are compressed with the help of others: into frames, and back.

What helps is decoded as a whole, into memory or scratch files. docs/FORMAT.md, "In an HDF5 file".
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from lossyzip.bound import Bound
from lossyzip.dataset import Coded, Learning, compress_related, needed_by
from lossyzip.decompressor import Frame
from lossyzip.errors import LossyZipError, MissingReferenceError
from lossyzip.io import stored
from lossyzip.io.fields import fill_values
from lossyzip.scratch import Scratch, Space

if TYPE_CHECKING:
    from lossyzip.field import Source
    from lossyzip.learned.model import Model


def compress_datasets(
    file: h5py.File,
    watched: Callable[[Source], Source],
    bounds: Mapping[str, Bound],
    learning: Learning,
    options: dict[str, Any],
    tell: Callable[[Coded], Any],
    training: Callable[[str, float], Any],
    space: Space,
) -> dict[str, Coded]:
    """What becomes of the datasets that ``bounds`` names; `compress_related` reads what ``watched`` gives.

    Those with the same fill values may help one another. ``space``: for what was decoded.
    """
    about = learning, tell, training, space
    together: dict[tuple[float | int, ...], list[str]] = {}
    for name in bounds:
        together.setdefault(fill_values(file[f"/{name}"]), []).append(name)
    coded: dict[str, Coded] = {}
    for fills, names in together.items():
        shelf = _Shelf(file)
        sources = {name: watched(_Lent(shelf, name)) for name in names}
        coded |= compress_related(sources, bounds, *about, fill_values=fills, **options)
    return coded


class _Shelf:
    """The datasets of a file, of which one is open at a time: each has a cache for chunks of its own."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._name = ""
        self._open: h5py.Dataset | None = None

    def __getitem__(self, name: str) -> h5py.Dataset:
        if self._open is None or name != self._name:
            self._open = None  # and its cache with it, before there is another
            self._name, self._open = name, stored.open_cached(self._file, name)
        return self._open


class _Lent:
    """A dataset that is opened when it is read."""

    def __init__(self, shelf: _Shelf, name: str) -> None:
        self._shelf, self._name = shelf, name
        self.shape, self.dtype = shelf[name].shape, shelf[name].dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        values: np.ndarray = self._shelf[self._name][key]
        return values


class Opener:
    """Opens frames of one file together with the decoded fields that they refer to.

    ``names`` are those that will be opened: what was decoded is in ``space`` until none of them needs it.
    """

    def __init__(
        self,
        file: h5py.File,
        names: Iterable[str],
        space: Space,
        threads: int | None,
        model: Model | None = None,
    ) -> None:
        self._file, self._space, self._threads, self._model = file, space, threads, model
        self._left = list(names)
        self._decoded: dict[str, np.ndarray | Scratch] = {}

    def open(self, name: str) -> Frame:
        """Raises MissingReferenceError where a field that it needs is not there, or is another one; and
        MissingModelError where the model is not."""
        self._forget(name)
        return self._opened(name)

    def _opened(self, name: str) -> Frame:
        frame = stored.open_frame(self._file[f"/{name}"])
        needed = self._graph(name)[name] if frame.references else ()
        frame.refer_to([self._values(reference) for reference in needed], self._model)
        return frame

    def _forget(self, name: str) -> None:
        """All that neither ``name`` needs nor a field that is still to be opened."""
        needed: set[str] = set()
        if self._decoded:
            for other in [name, *self._left]:
                with contextlib.suppress(LossyZipError):  # of another field, which will say so itself
                    needed |= set(self._graph(other))
        self._decoded = {other: values for other, values in self._decoded.items() if other in needed}
        self._left = [other for other in self._left if other != name]

    def _graph(self, name: str) -> dict[str, tuple[str, ...]]:
        """What a field, and each that it needs, needs."""
        graph: dict[str, tuple[str, ...]] = {}
        left = [name]
        while left:
            here = left.pop()
            if here not in graph:
                dataset = self._file.get(f"/{here}")
                if not isinstance(dataset, h5py.Dataset):
                    raise MissingReferenceError(f"field {name!r} needs {here!r}, which is not there")
                graph[here] = stored.references_of(dataset)
                left += graph[here]
        needed_by([name], graph)  # or it goes round in a circle
        return graph

    def _values(self, name: str) -> np.ndarray | Scratch:
        if name not in self._decoded:
            dataset = self._file[f"/{name}"]
            if stored.is_compressed(dataset):
                frame = self._opened(name)
                native = frame.dtype.newbyteorder("=")
                values = self._space.array(frame.shape, native, frame.tile_shape, frame.origin)
                frame.decode_into(values, self._threads)
            else:
                values = self._copy(stored.open_cached(self._file, name))
            self._decoded[name] = values
        return self._decoded[name]

    def _copy(self, dataset: h5py.Dataset) -> np.ndarray | Scratch:
        from lossyzip.field import read, tile_shape, tile_slices

        if dataset.shape is None or dataset.dtype.kind != "f":
            raise MissingReferenceError(f"a reference is needed at {dataset.name}, and this is none")
        native = dataset.dtype.newbyteorder("=")
        values = self._space.array(dataset.shape, native, tile_shape(dataset.shape))
        for where in tile_slices(dataset.shape):
            values[where] = read(dataset, where)
        return values
