"""One field, frame -> tiles; and what a frame's header says of plan and checks, for both directions.

Each tile is compared with the checksum of what passed the door: compressor.py.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from lossyzip.container import frame
from lossyzip.container.enhanced import objective_told, split
from lossyzip.container.header import Header
from lossyzip.container.in_model import InModel
from lossyzip.errors import ContentMismatchError, CorruptError, MissingReferenceError
from lossyzip.kept import kept_room
from lossyzip.threads import heaviest_first, thread_count

if TYPE_CHECKING:
    from lossyzip.checker import Checker, CheckReport
    from lossyzip.decompose.families import Plan
    from lossyzip.field import Number, Source
    from lossyzip.guide import FieldGuide
    from lossyzip.learned.enhancer import Enhancer
    from lossyzip.learned.model import Model
    from lossyzip.scratch import Scratch
    from lossyzip.tile import Decoded


class Frame:
    """An opened frame: header and index are read and checked, nothing is decoded.

    `open` takes ``read(offset, length)`` and the frame's ``size`` in bytes; it raises a DecodeError
    subclass when the bytes are no frame, are damaged or end too early.
    """

    def __init__(self, reader: frame.FrameReader) -> None:
        self._reader = reader
        self._guide: FieldGuide | None = None
        self._model: Model | None = None
        self._header = Header.from_bytes(reader.header)
        error = reader.index.get("e", bytes(8))
        if len(error) != 8:
            raise CorruptError(f"the largest error is stored in {len(error)} bytes")
        self.shape = self._header.shape
        self.dtype = self._header.dtype
        bound = self._header.bound
        self.bound = f"{bound} and less" if self._header.levels else str(bound)
        self.masked = self._header.fill is not None
        self.fill_value = self._header.fill_value
        self.least_psnr = bound.value if bound.kind == "psnr" else -math.inf  # in dB, what was asked
        self.eps = self._header.tolerance
        self.max_error: float = struct.unpack("<d", error)[0]
        self.version = ".".join(map(str, self._header.writer))
        self.compressed_bytes = reader.size
        self.tile_bytes = sum(record.size for record in reader.records)  # of these, in tiles
        self.raw_bytes = math.prod(self.shape) * self.dtype.itemsize
        self.families = self._header.families
        self.tile_shape, self.origin = self._header.tile_shape, self._header.origin
        self.cuts = self._header.cuts
        self.tile_count = self._header.tile_count()
        self.guided = guided = self._header.guided
        self.latent_bytes = self._header.latent_bytes
        self.references = guided.references if guided else ()  # checksums of the arrays that it needs
        in_model = [guided.network if guided else b"", self._header.enhancer]
        named = [f"{where.checksum:016x}" for where in in_model if isinstance(where, InModel)]
        self.model = " ".join(dict.fromkeys(named))  # those that it needs: XXH3
        gain = reader.index.get("g", bytes(8))
        if len(gain) != 8:
            raise CorruptError(f"the gain of PSNR is stored in {len(gain)} bytes")
        self.gain: float = struct.unpack("<d", gain)[0]  # dB, by the enhancer
        self.enhancer = self._header.enhancer_kind
        self.step = self._header.step
        self.objective = objective_told(reader.index.get("o")) if self.enhancer else None

    def refer_to(self, references: Sequence[Source], model: Model | None = None) -> None:
        """Have the arrays, and the model, that the field was compressed with.

        Raises MissingReferenceError or MissingModelError without them; without a model that an enhancer alone
        is in, decoding does, unless values need not be enhanced.
        """
        from lossyzip.guide import guide_of_frame

        header, self._model = self._header, model
        if header.guided is not None:
            self._guide = guide_of_frame(header.guided, references, header.shape, header.native, model)

    @classmethod
    def open(cls, read: frame.Read, size: int) -> Frame:
        return cls(frame.FrameReader(read, size, lambda header: Header.from_bytes(header).tile_count()))

    @classmethod
    def of_bytes(cls, data: bytes) -> Frame:
        view = frame.bytes_view(data)
        return cls.open(lambda offset, length: bytes(view[offset : offset + length]), len(view))

    def tiles(
        self,
        *,
        threads: int | None = None,
        region: tuple[slice, ...] | None = None,
        into: np.ndarray | None = None,
        enhance: bool = True,
    ) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
        """(where it lies, values in the field's dtype) of every tile that ``region`` touches, in order.

        ``into`` is an array of the field's shape and dtype: a tile may be put in its place there, of which
        its values are a view then. ``enhance``: see `lossyzip.decompress`.
        Each tile is checked against the checksum of what passed the door. The calling thread reads.
        """
        for where, decoded in self._decoded(threads, region, into, enhance):
            yield where, decoded.values.astype(self.dtype, copy=False)

    def decode_into(self, array: np.ndarray | Scratch, threads: int | None = None) -> None:
        """Fill ``array``, of the field's shape and native dtype, with what references are made of: values as
        they are enhanced, what is under a mask, too."""
        for where, values in self.tiles(threads=threads):
            array[where] = np.ma.getdata(values)

    def compare(
        self,
        original: Source,
        fill_values: tuple[Number, ...] = (),
        *,
        threads: int | None = None,
        progress: Callable[[int], Any] | None = None,
    ) -> CheckReport:
        """Decode all tiles and compare them with the ``original``, of the frame's shape and dtype.

        ``progress`` is told how many values were done since the last call.
        """
        from lossyzip.field import read, valid_range

        checker = checker_of(self._header, valid_range(original, fill_values), fill_values)
        for where, decoded in self._decoded(threads):
            origin = tuple(s.start for s in where)
            checker.update(read(original, where), decoded.values, origin, decoded.levels)
            if progress is not None:
                progress(decoded.values.size)
        return checker.report()

    @property
    def own_enhancer(self) -> bytes | None:
        """Its bytes, if it is in the frame."""
        enhancer = self._header.enhancer
        return enhancer if isinstance(enhancer, bytes) else None

    def check(self) -> None:
        """Read every tile and compare its checksum; decode nothing. Raises a DecodeError subclass."""
        for number in range(self.tile_count):
            self._reader.tile(number)

    def section_bytes(self) -> dict[str, int]:
        """Bytes of the parts of the frame; they add up to `compressed_bytes`."""
        tiles = sum(record.size for record in self._reader.records)
        header = len(self._reader.header)
        rest = self.compressed_bytes - header - tiles
        within = {"latents": self.latent_bytes, "base": self._header.base_bytes}
        stored = {name: size for name, size in within.items() if size}
        header -= sum(stored.values())
        if self._header.enhancer is None:
            return {"header": header, **stored, "tiles": tiles, "index and framing": rest}
        enhancer = len(self._header.enhancer) if isinstance(self._header.enhancer, bytes) else 0
        payloads = [self._reader.tile(number).payload for number in range(self.tile_count)]
        marks = sum(len(p) - len(split(p)[1]) for p in payloads)
        return {
            "header": header - enhancer,
            **stored,
            "enhancer": enhancer,
            "tiles": tiles - marks,
            "marks": marks,
            "index and framing": rest,
        }

    def _decoded(
        self,
        threads: int | None,
        region: tuple[slice, ...] | None = None,
        into: np.ndarray | None = None,
        enhance: bool = True,
    ) -> Iterator[tuple[tuple[slice, ...], Decoded]]:
        plan = plan_of_header(self._header)
        touched = [
            (number, where)
            for number, where in enumerate(self._header.tile_slices())
            if region is None or all(_overlap(a, b) for a, b in zip(where, region, strict=True))
        ]
        if self.guided is not None and self._guide is None and not self.references:
            self.refer_to((), self._model)
        if self.guided is not None and self._guide is None:
            raise MissingReferenceError(
                f"the field needs the {len(self.references)} references that it was compressed with"
            )
        alike = self._header.part == self._header.coded == self.dtype  # packed ones are unpacked in place
        in_place = alike and self.dtype.isnative and not self.masked
        into = into if in_place else None
        enhancer = self._enhancer() if enhance else None

        def jobs() -> Iterator[tuple[float, Callable[[], tuple[tuple[slice, ...], Decoded]]]]:
            for number, where in touched:
                tile, part = self._reader.tile(number), None
                if into is not None:
                    part = into[where] if where else into  # not a number, of a field without axes
                yield (
                    len(tile.payload),
                    partial(self._decode, tile, number, where, plan, part, enhancer),
                )

        yield from heaviest_first(jobs(), thread_count(threads), at_hand=into is not None)

    def _enhancer(self) -> Enhancer | None:
        from lossyzip.learned.enhancer import Enhancer
        from lossyzip.learned.model import enhancer_in

        where = self._header.enhancer
        if where is None:
            return None
        return Enhancer.from_bytes(where if isinstance(where, bytes) else enhancer_in(self._model, where))

    def _decode(
        self,
        tile: frame.Tile,
        number: int,
        where: tuple[slice, ...],
        plan: Plan | None,
        into: np.ndarray | None,
        enhancer: Enhancer | None,
    ) -> tuple[tuple[slice, ...], Decoded]:
        from lossyzip.carrier import NO_GUIDE
        from lossyzip.enhancement import enhance as enhance_tile
        from lossyzip.tile import decode_tile

        shape, room = tuple(s.stop - s.start for s in where), None
        if into is not None:
            lies_whole = into.flags.c_contiguous
            room = into.reshape(-1) if lies_whole else kept_room("decoded", into.size, into.dtype)
        guide = NO_GUIDE if self._guide is None else self._guide.guiding(where, self._header.specials)
        payload, content, part = tile.payload, tile.content, None
        if self._header.enhancer is not None:
            part, payload = split(payload)
        decoded = decode_tile(payload, shape, self._header, plan, room, guide)
        if part is not None and part.content is not None:
            if enhancer is not None:
                values = enhance_tile(decoded.values, part, self._header, enhancer, guide)
                decoded = decoded._replace(values=values)
            else:
                content = part.content
        if content_checksum(decoded.values) != content:
            raise ContentMismatchError(f"tile {number} does not decode to the values that were checked")
        if into is not None and not np.may_share_memory(decoded.values, into):
            into[...] = decoded.values
            decoded = decoded._replace(values=into)
        return where, decoded


def _overlap(a: slice, b: slice) -> bool:
    return bool(a.start < b.stop and b.start < a.stop)


def plan_of_header(header: Header) -> Plan | None:
    from lossyzip.decompose.families import plan_of  # not to import numba for what `info` needs

    return plan_of(header.family, header.plan, header.raw_guides)


def checker_of(header: Header, span: tuple[Number, Number], fill_values: tuple[Number, ...]) -> Checker:
    from lossyzip.checker import Checker

    levels = [level.eps for level in header.levels]
    return Checker(header.tolerance, *span, fill_values, header.pointwise, levels)


def content_checksum(decoded: np.ndarray) -> int:
    """The low 32 bits of the XXH3 hash of the values as little-endian bytes in C order; of masked arrays the
    mask follows, a byte a value."""
    values = np.ma.getdata(decoded)
    flat = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).reshape(-1)
    if not isinstance(decoded, np.ma.MaskedArray):
        return int(xxhash.xxh3_64_intdigest(flat.view(np.uint8).data)) & 0xFFFFFFFF
    state = xxhash.xxh3_64(flat.view(np.uint8).data)
    state.update(np.ascontiguousarray(np.ma.getmaskarray(decoded)).reshape(-1).view(np.uint8).data)
    return int(state.intdigest()) & 0xFFFFFFFF
