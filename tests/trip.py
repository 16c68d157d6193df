"""An HDF5 file, compressed and restored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

import lossyzip as lz
from lossyzip.io.verify import verify_file

EVERYTHING = {"*": lz.relative(1e-3)}


def wave(*shape: int, dtype: str = "<f4") -> np.ndarray:
    axes = np.meshgrid(*(np.linspace(0, 5 + k, n) for k, n in enumerate(shape)), indexing="ij")
    return np.sin(sum(axes)).astype(dtype)


class Trip:
    """A file, its compressed and its restored form, all open to read."""

    def __init__(
        self, folder: Path, make: Callable[[h5py.File], object], bounds=EVERYTHING, **options
    ) -> None:
        self.paths = [folder / name for name in ("in.h5", "packed.h5", "back.h5")]
        with h5py.File(self.paths[0], "w", **options) as file:
            make(file)
        self.report = lz.compress_file(self.paths[0], self.paths[1], bounds)
        lz.decompress_file(self.paths[1], self.paths[2])
        self.old, self.packed, self.back = (h5py.File(path, "r") for path in self.paths)

    def rows(self) -> dict[str, object]:
        return {row.name: row for row in self.report.fields}

    def verified(self) -> bool:
        return verify_file(*self.paths[:2]).passed
