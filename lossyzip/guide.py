"""Guides: what references tell of a field, in full to both sides.

A reference is an array of the field's shape that a decoder has already. A network (learned/) makes a guide
from several of them, which is subtracted from the field before it is coded; and taps of stencils may reach
into raw guides (raw_guides.py). The frame holds what makes them, and checksums of the references.
docs/FORMAT.md, "Guides".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash

from lossyzip.carrier import Guiding
from lossyzip.container.header import FROM_NETWORK, Guided, RawGuide
from lossyzip.errors import CorruptError, MissingReferenceError
from lossyzip.field import native
from lossyzip.learned.network import Network
from lossyzip.raw_guides import aligned, fits, values_of


class FieldGuide:
    """The guides that ``references`` make for a field of ``shape``, in ``dtype``, to be had in parts.

    ``network``: its bytes, as a frame has them, or b""; raises a DecodeError subclass where they are none.
    ``subtracted``: what it makes is subtracted from the field. ``taps``: guides that taps reach into.
    ``mask``: the reference whose special values are expected to be the field's. ``kept``: what the network
    makes is made once, as a whole, and stays in memory. References may be staggered (`aligned`), but for a
    network.
    """

    def __init__(
        self,
        network: bytes,
        references: Sequence[np.ndarray],
        dtype: np.dtype,
        kept: bool = False,
        subtracted: bool = True,
        taps: tuple[RawGuide, ...] = (),
        mask: int | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        self._network = Network.from_bytes(network) if network else None
        self._arrays, self._dtype = list(references), dtype
        self._shape = references[0].shape if shape is None else shape
        self._aligned: dict[int, np.ndarray] = {}
        if network and any(reference.shape != self._shape for reference in references):
            raise CorruptError("a network has references of another shape than the field's")
        self.network, self.references = network, tuple(map(checksum, references))
        self.subtracted, self.taps, self.mask = subtracted, taps, mask
        self._whole = self._made(tuple(slice(0, n) for n in self._shape)) if kept and network else None

    def __call__(self, where: tuple[slice, ...]) -> np.ndarray:
        """What the network makes of a part."""
        return self._made(where) if self._whole is None else self._whole[where]

    @property
    def network_references(self) -> int:
        """How many references, the first ones, the network needs."""
        inputs = self._network.inputs if self._network else ()
        return 1 + max((item.reference for item in inputs), default=-1)

    def beside(self, where: tuple[slice, ...], made: np.ndarray | None = None) -> np.ndarray:
        """The guides (guides, ...) that taps reach into, of a part; ``made``: what the network makes of
        it."""
        found = []
        for raw in self.taps:
            if raw.reference == FROM_NETWORK:
                made = self(where) if made is None else made
                found.append(values_of(raw, made, self._dtype))
            else:
                found.append(values_of(raw, self._reference(raw.reference)[where], self._dtype))
        return np.stack(found)

    def guiding(self, where: tuple[slice, ...], specials: Sequence[int]) -> Guiding:
        """All that is needed to code a part; ``specials``: the field's special bit patterns."""
        made = self(where) if self.subtracted else None
        beside = self.beside(where, made) if self.taps else None
        return Guiding(
            None if made is None else native(made),
            None if beside is None else beside.reshape(len(beside), -1),
            None if self.mask is None else self._classes(where, specials),
        )

    def of(self, guided: Guided) -> FieldGuide:
        """The same guides, but for those that ``guided`` does without."""
        if guided.taps == self.taps and guided.references == self.references:
            return self
        kept = [self._arrays[self.references.index(number)] for number in guided.references]
        if guided.network:
            return self.with_taps(kept, guided.taps, guided.mask)
        options = guided.subtracted, guided.taps, guided.mask, self._shape
        return FieldGuide(b"", kept, self._dtype, False, *options)

    def with_taps(
        self, references: list[np.ndarray], taps: tuple[RawGuide, ...], mask: int | None
    ) -> FieldGuide:
        """The same with taps into ``references``, which begin with those of the network."""
        more = FieldGuide(b"", references, self._dtype, False, self.subtracted, taps, mask, self._shape)
        more._network, more.network, more._whole = self._network, self.network, self._whole
        return more

    def _reference(self, number: int) -> np.ndarray:
        """A reference at the field's points."""
        if number not in self._aligned:
            found = aligned(self._arrays[number], self._shape)
            if found is None:
                raise CorruptError(
                    f"a reference of {self._arrays[number].shape} for a field of {self._shape}"
                )
            self._aligned[number] = found
        return self._aligned[number]

    def _classes(self, where: tuple[slice, ...], specials: Sequence[int]) -> np.ndarray:
        reference = self._arrays[self.mask or 0]
        values = native(reference[where] if reference.shape == self._shape else np.zeros(0))
        classes = np.zeros(int(np.prod([s.stop - s.start for s in where])), np.uint8)
        if values.size == classes.size and values.dtype == self._dtype:
            bits = values.view(f"u{values.itemsize}")
            for k, pattern in enumerate(specials):
                classes[bits == pattern] = k + 1
        return classes

    def _made(self, where: tuple[slice, ...]) -> np.ndarray:
        if self._network is None:
            raise CorruptError("a guide needs a network, and there is none")
        part: np.ndarray = self._network.guide(self._arrays, where).astype(self._dtype, copy=False)
        return part


def guide_of_frame(guided: Guided, references: Sequence[np.ndarray], like: np.ndarray) -> FieldGuide:
    """That of a frame of the shape and dtype ``like``; its references may be in any order, among others.

    Raises MissingReferenceError where one is not there.
    """
    arrays = map(np.ma.getdata, references)  # what is under a mask is known, too
    known = {checksum(array): array for array in arrays if fits(array.shape, like.shape)}
    missing = [number for number in guided.references if number not in known]
    if missing:
        raise MissingReferenceError(
            f"{len(missing)} of the {len(guided.references)} arrays that the field was compressed with are "
            f"not among the {len(references)} references given (XXH3 {missing[0]:016x}, shape {like.shape})"
        )
    found = [known[number] for number in guided.references]
    options = guided.subtracted, guided.taps, guided.mask, like.shape
    return FieldGuide(guided.network, found, like.dtype, False, *options)


def checksum(reference: np.ndarray) -> int:
    """XXH3 (64 bits) of the values as little-endian bytes in C order."""
    flat = np.ascontiguousarray(reference, reference.dtype.newbyteorder("<")).reshape(-1)
    return int(xxhash.xxh3_64_intdigest(flat.view(np.uint8).data))
