"""Guides: what references tell of a field, in full to both sides, and subtracted from it before it is coded.

A reference is an array on the field's grid (grid.py) that a decoder has already. A network (learned/) makes
the guide from several of them; the frame holds it, and checksums of the references. docs/FORMAT.md, "Guides".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash

from lossyzip.container.header import Guided, InModel
from lossyzip.errors import CorruptError, MissingModelError, MissingReferenceError
from lossyzip.grid import near, onto
from lossyzip.learned.model import Model
from lossyzip.learned.network import Network


class FieldGuide:
    """The guide that a network makes of ``references`` for a field, in its dtype, to be had in parts.

    ``network``: its bytes, as a frame has them; raises a DecodeError subclass where they are none.
    ``kept``: the guide is made once, as a whole, and stays in memory. ``where``: in which model a decoder
    finds the network, if the frame is not to have it.
    """

    def __init__(
        self,
        network: bytes,
        references: Sequence[np.ndarray],
        shape: tuple[int, ...],
        dtype: np.dtype,
        kept: bool = False,
        where: InModel | None = None,
    ) -> None:
        self._network, self._dtype = Network.from_bytes(network), dtype
        self._arrays = [onto(reference, shape) for reference in references]
        self.network: bytes | InModel = where or network
        self.references = tuple(map(checksum, references))
        self._whole = self._made(tuple(slice(0, n) for n in shape)) if kept else None

    def __call__(self, where: tuple[slice, ...]) -> np.ndarray:
        return self._made(where) if self._whole is None else self._whole[where]

    def _made(self, where: tuple[slice, ...]) -> np.ndarray:
        part: np.ndarray = self._network.guide(self._arrays, where).astype(self._dtype, copy=False)
        return part


def guide_of_frame(
    guided: Guided,
    references: Sequence[np.ndarray],
    shape: tuple[int, ...],
    dtype: np.dtype,
    model: Model | None = None,
) -> FieldGuide:
    """That of a frame of this shape and native dtype; its references may be in any order, among others.

    Raises MissingReferenceError where one is not there, MissingModelError where ``model`` is not the one.
    """
    network = guided.network if isinstance(guided.network, bytes) else _network_in(model, guided.network)
    arrays = map(np.ma.getdata, references)  # what is under a mask is known, too
    known = {checksum(array): array for array in arrays if near(array.shape, shape)}
    missing = [number for number in guided.references if number not in known]
    if missing:
        raise MissingReferenceError(
            f"{len(missing)} of the {len(guided.references)} arrays that the field was compressed with are "
            f"not among the {len(references)} references given (XXH3 {missing[0]:016x}, shape {shape})"
        )
    return FieldGuide(network, [known[number] for number in guided.references], shape, dtype)


def _network_in(model: Model | None, where: InModel) -> bytes:
    if model is None or model.checksum != where.checksum:
        given = "none was given" if model is None else f"this is another one (XXH3 {model.checksum:016x})"
        raise MissingModelError(
            f"the field was compressed with a model (XXH3 {where.checksum:016x}); {given}. "
            "--model FILE (model=...) names it"
        )
    if where.number >= len(model.targets):
        raise CorruptError(f"the field needs network {where.number} of a model of {len(model.targets)}")
    return model.targets[where.number].network


def checksum(reference: np.ndarray) -> int:
    """XXH3 (64 bits) of the values as little-endian bytes in C order."""
    flat = np.ascontiguousarray(reference, reference.dtype.newbyteorder("<")).reshape(-1)
    return int(xxhash.xxh3_64_intdigest(flat.view(np.uint8).data))
