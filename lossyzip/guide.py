"""Guides: what references tell of a field, in full to both sides.

A reference is an array on the field's grid (grid.py) that a decoder has already. A network (learned/) makes
a guide from several of them, and from latents if the frame has some, which is subtracted from the field
before it is coded; and taps of stencils may reach into raw guides (raw_guides.py). The frame holds what
makes them, and checksums of the references.
docs/FORMAT.md, "Guides".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xxhash

from lossyzip.base import part_of as part_of_base
from lossyzip.base import values_of as values_of_base
from lossyzip.carrier import Guiding
from lossyzip.container.guided import FROM_NETWORK, Guided, RawGuide
from lossyzip.container.in_model import InModel
from lossyzip.errors import CorruptError, MissingReferenceError
from lossyzip.field import Source, native, tile_shape, tile_slices
from lossyzip.grid import near, onto
from lossyzip.learned.latents import Latents
from lossyzip.learned.model import Model, named
from lossyzip.learned.neighbourhood import REACH
from lossyzip.learned.network import Network
from lossyzip.on_demand import OnDemand
from lossyzip.raw_guides import values_of
from lossyzip.scratch import Scratch, Space


class FieldGuide:
    """The guides that ``references`` make for a field of ``shape``, in ``dtype``, to be had in parts; of the
    references no more is read than these take.

    ``network``: its bytes, as a frame has them, or b""; raises a DecodeError subclass where they are none.
    ``where``: in which model a decoder finds it, if the frame is not to have it. ``subtracted``: what it
    makes is subtracted from the field. ``taps``: guides that taps reach into. ``mask``: the reference whose
    special values are expected to be the field's. ``latents``: those that the network sees, as bytes.
    ``kept``: where what the network makes stays, if it does. ``base``: what is subtracted instead, as bytes.
    """

    def __init__(
        self,
        network: bytes,
        references: Sequence[Source],
        shape: tuple[int, ...],
        dtype: np.dtype,
        *,
        kept: Space | None = None,
        where: InModel | None = None,
        subtracted: bool = True,
        taps: tuple[RawGuide, ...] = (),
        mask: int | None = None,
        latents: bytes = b"",
        base: bytes = b"",
    ) -> None:
        self.base, self._base = base, values_of_base(base, shape, dtype) if base else None
        self._network = Network.from_bytes(network) if network else None
        self.latents = latents
        self._latents = Latents.from_bytes(latents, shape) if latents else None
        self._arrays, self._shape, self._dtype = list(references), shape, dtype
        self.network: bytes | InModel = where or network
        self.references = tuple(map(checksum, references))
        self.subtracted, self.taps, self.mask = subtracted, taps, mask
        self.whole: np.ndarray | Scratch | None = None  # what the network makes, if it is kept
        if kept is not None and network:
            self.whole = kept.array(shape, dtype, tile_shape(shape))
            for part in tile_slices(shape):
                self.whole[part] = self._made(part)

    def __call__(self, where: tuple[slice, ...]) -> np.ndarray:
        """What the network makes of a part, or the base of each step of it."""
        return self._made(where) if self.whole is None else self.whole[where]

    @property
    def network_references(self) -> int:
        """How many references, the first ones, the network needs."""
        return self._network.references if self._network else 0

    def beside(self, where: tuple[slice, ...], made: np.ndarray | None = None) -> np.ndarray:
        """The guides (guides, ...) that taps reach into, of a part; ``made``: what the network makes of
        it."""
        found = []
        for raw in self.taps:
            if raw.reference == FROM_NETWORK:
                made = self(where) if made is None else made
                found.append(values_of(raw, made, self._dtype))
            else:
                found.append(values_of(raw, self._reference(raw.reference, where), self._dtype))
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
        options: dict[str, Any] = {"subtracted": guided.subtracted, "taps": guided.taps, "mask": guided.mask}
        return FieldGuide(b"", kept, self._shape, self._dtype, **options)

    def with_taps(self, references: list[Source], taps: tuple[RawGuide, ...], mask: int | None) -> FieldGuide:
        """The same with taps into ``references``, which begin with those of the network."""
        options: dict[str, Any] = {"subtracted": self.subtracted, "taps": taps, "mask": mask}
        more = FieldGuide(b"", references, self._shape, self._dtype, **options)
        more._network, more.network, more.whole = self._network, self.network, self.whole
        more._latents, more.latents = self._latents, self.latents
        return more

    def _reference(self, number: int, where: tuple[slice, ...]) -> np.ndarray:
        """A part of a reference at the field's points."""
        return onto(self._arrays[number], self._shape, where)

    def _classes(self, where: tuple[slice, ...], specials: Sequence[int]) -> np.ndarray:
        reference = self._arrays[self.mask or 0]
        values = native(reference[where] if tuple(reference.shape) == self._shape else np.zeros(0))
        classes = np.zeros(int(np.prod([s.stop - s.start for s in where])), np.uint8)
        if values.size == classes.size and values.dtype == self._dtype:
            bits = values.view(f"u{values.itemsize}")
            for k, pattern in enumerate(specials):
                classes[bits == pattern] = k + 1
        return classes

    def _made(self, where: tuple[slice, ...]) -> np.ndarray:
        if self._base is not None:
            return part_of_base(self._base, where)
        if self._network is None:
            raise CorruptError("a guide needs a network, and there is none")
        wide, inner = list(where), list(where)
        seen_across = [axis for axis, n in enumerate(self._shape) if n != 1][-3:]
        for axis, s in enumerate(where):
            reach = REACH if axis in seen_across else 0
            wide[axis] = slice(max(s.start - reach, 0), min(s.stop + reach, self._shape[axis]))
            inner[axis] = slice(s.start - wide[axis].start, s.stop - wide[axis].start)
        latents = None if self._latents is None else self._latents.part(tuple(wide))
        numbers = range(min(max(self.network_references, int(latents is None)), len(self._arrays)))
        seen = [self._reference(number, tuple(wide)) for number in numbers]
        made = self._network.guide(seen, tuple(inner), latents)
        return made.astype(self._dtype, copy=False)


def guide_of_frame(
    guided: Guided,
    references: Sequence[Source],
    shape: tuple[int, ...],
    dtype: np.dtype,
    model: Model | None = None,
) -> FieldGuide:
    """That of a frame of this shape and native dtype; its references may be in any order, among others.

    Raises MissingReferenceError where one is not there, MissingModelError where ``model`` is not the one.
    """
    network = guided.network if isinstance(guided.network, bytes) else _network_in(model, guided.network)
    arrays = map(known_of, references)
    known = {checksum(array): array for array in arrays if near(tuple(array.shape), shape)}
    missing = [number for number in guided.references if number not in known]
    if missing:
        raise MissingReferenceError(
            f"{len(missing)} of the {len(guided.references)} arrays that the field was compressed with are "
            f"not among the {len(references)} references given (XXH3 {missing[0]:016x}, shape {shape})"
        )
    found = [known[number] for number in guided.references]
    options: dict[str, Any] = {"subtracted": guided.subtracted, "taps": guided.taps, "mask": guided.mask}
    stored: dict[str, Any] = {"latents": guided.latents, "base": guided.base}
    return FieldGuide(network, found, shape, dtype, **stored, **options)


def _network_in(model: Model | None, where: InModel) -> bytes:
    targets = named(model, where.checksum).targets
    if where.number >= len(targets):
        raise CorruptError(f"the field needs network {where.number} of a model of {len(targets)}")
    return targets[where.number].network


def known_of(reference: Source) -> Source:
    """What a decoder has of ``reference``; what is under a mask is known, too."""
    return np.ma.getdata(reference) if isinstance(reference, np.ndarray) else reference


def checksum(reference: Source) -> int:
    """XXH3 (64 bits) of the values as little-endian bytes in C order."""
    if isinstance(reference, Scratch | OnDemand):
        return reference.checksum
    array = np.asarray(reference)
    flat = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1)
    return int(xxhash.xxh3_64_intdigest(flat.view(np.uint8).data))
