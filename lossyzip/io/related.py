"""Fields of a file that are compressed with the help of others: into frames, and back.

What helps is in memory as a whole, as it was decoded. docs/FORMAT.md, "In an HDF5 file".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from lossyzip.bound import Bound
from lossyzip.dataset import Coded, Learning, compress_related, needed_by
from lossyzip.decompressor import Frame
from lossyzip.errors import MissingReferenceError
from lossyzip.io import stored
from lossyzip.io.fields import fill_values

if TYPE_CHECKING:
    from lossyzip.field import Source
    from lossyzip.learned.model import Model


def compress_datasets(
    file: h5py.File,
    watched: Callable[[h5py.Dataset], Source],
    bounds: Mapping[str, Bound],
    learning: Learning,
    options: dict[str, Any],
    tell: Callable[[Coded], Any],
    training: Callable[[str, float], Any],
) -> dict[str, Coded]:
    """What becomes of the datasets that ``bounds`` names; `compress_related` reads what ``watched`` gives.

    Those with the same fill values may help one another.
    """
    together: dict[tuple[float | int, ...], list[str]] = {}
    for name in bounds:
        together.setdefault(fill_values(file[f"/{name}"]), []).append(name)
    coded: dict[str, Coded] = {}
    for fills, names in together.items():
        sources = {name: watched(stored.open_cached(file, name)) for name in names}
        coded |= compress_related(sources, bounds, learning, tell, training, fill_values=fills, **options)
    return coded


class Opener:
    """Opens frames of one file together with the decoded fields that they refer to, which it keeps."""

    def __init__(self, file: h5py.File, threads: int | None, model: Model | None = None) -> None:
        self._file, self._threads, self._model = file, threads, model
        self._decoded: dict[str, np.ndarray] = {}

    def open(self, name: str) -> Frame:
        """Raises MissingReferenceError where a field that it needs is not there, or is another one; and
        MissingModelError where the model is not."""
        dataset = self._file[f"/{name}"]
        frame = stored.open_frame(dataset)
        needed = self._needed(name) if frame.references else ()
        frame.refer_to([self._values(reference) for reference in needed], self._model)
        return frame

    def _needed(self, name: str) -> tuple[str, ...]:
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
        return graph[name]

    def _values(self, name: str) -> np.ndarray:
        if name not in self._decoded:
            dataset = self._file[f"/{name}"]
            if stored.is_compressed(dataset):
                frame = self.open(name)
                values = np.empty(frame.shape, frame.dtype)
                for where, tile in frame.tiles(threads=self._threads):
                    values[where] = tile
            else:
                values = np.asarray(dataset[...])
            self._decoded[name] = values
        return self._decoded[name]
