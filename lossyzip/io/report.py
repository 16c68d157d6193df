"""What became of a file and its fields: records for callers, tables and JSON. Knows no HDF5."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lossyzip.compressor import FieldReport
from lossyzip.decompressor import Frame


@dataclass(frozen=True)
class FieldRow:
    """One field of a file. ``named`` is False where no pattern chose the bound, and it was kept lossless.

    Seconds are those of encoding, of all threads, or of decoding; verification is apart. ``note``: what a
    restored field lacks, or what ``references``, fields that it needs, have saved. ``model``: the checksum of
    the one that it needs. ``enhancer``: its kind, the dB that it adds to PSNR, and if that is not what it is
    for its ``objective``, and what it leaves of the error in that. ``latent_bytes``: of what
    an autoencoder's decoder sees, in the frame. ``step``: as in an `Inspection`.
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
    note: str = ""
    references: tuple[str, ...] = ()
    model: str = ""
    enhancer: str = ""
    psnr_gain: float = 0.0
    objective: str = ""
    objective_left: float = 1.0
    latent_bytes: int = 0
    step: float = 0.0

    @property
    def ratio(self) -> float:
        return self.raw_bytes / self.compressed_bytes

    @classmethod
    def of(
        cls,
        name: str,
        about: FieldReport | Frame,
        seconds: float = 0.0,
        verify_seconds: float = 0.0,
        named: bool = True,
        note: str = "",
        references: tuple[str, ...] = (),
        model: str = "",
    ) -> FieldRow:
        return cls(
            name,
            about.shape,
            np.dtype(about.dtype).str,
            about.bound,
            about.eps,
            about.max_error,
            about.raw_bytes,
            about.compressed_bytes,
            seconds,
            verify_seconds,
            ", ".join(about.families),
            named,
            note,
            references,
            model,
            about.enhancer,
            about.gain,
            *_objective(about),
            about.latent_bytes,
            about.step,
        )


def _objective(about: FieldReport | Frame) -> tuple[str, float]:
    told = about.objective
    return ("", 1.0) if told is None else (told.name, told.enhanced / told.plain if told.plain else 1.0)


@dataclass(frozen=True)
class FileReport:
    """What became of a file: ``fields`` that were coded, and ``copied`` datasets: {name: why}. Among these
    are those that are ``damaged``: {name: where}."""

    source: str
    target: str
    source_bytes: int
    target_bytes: int
    fields: tuple[FieldRow, ...]
    copied: dict[str, str]
    damaged: dict[str, str] = field(default_factory=dict)
