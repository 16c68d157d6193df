"""One field, both directions, tile by tile: bound -> plan -> frame, and frame -> tiles.

What leaves `compress_field` has been decoded again from the very bytes and checked, value by value,
against the original: that is the door, and it cannot be switched off.
"""

from __future__ import annotations

import math
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from lossyzip.bound import Bound, absolute
from lossyzip.container import frame
from lossyzip.container.enhanced import Objective, objective_told, split
from lossyzip.container.header import Header, InModel, can_be_enhanced
from lossyzip.errors import (
    BoundViolationError,
    ContentMismatchError,
    CorruptError,
    DecodeError,
    InvalidArgumentError,
    MissingReferenceError,
    SelfCheckError,
    UnsupportedDataError,
)
from lossyzip.threads import in_order, thread_count

if TYPE_CHECKING:
    from lossyzip.checker import Checker, CheckReport
    from lossyzip.decompose.families import Plan
    from lossyzip.enhancing import Enhancing
    from lossyzip.field import Number, Source
    from lossyzip.guide import FieldGuide
    from lossyzip.learned.enhancer import Enhancer
    from lossyzip.learned.model import Model
    from lossyzip.levels import Levels
    from lossyzip.tile import Decoded
    from lossyzip.tuning import Effort
    from lossyzip.tuning_psnr import Aim

_ATTEMPTS = 4  # to reach a PSNR; the last one cannot miss
SPOOLED = 1 << 26  # bytes of a frame that wait in memory, and not on the disk, for their PSNR
COPIED = 1 << 22


@dataclass(frozen=True)
class FieldReport:
    """What became of one field. Errors are in the field's units; seconds are summed over threads. ``psnr``
    and ``psnr_floor``: as in a `CheckReport`."""

    shape: tuple[int, ...]
    dtype: str
    bound: str
    eps: float
    max_error: float
    raw_bytes: int
    compressed_bytes: int
    encode_seconds: float
    verify_seconds: float
    families: tuple[str, ...]
    psnr: float
    psnr_floor: float
    enhancer: str = ""  # its kind, if there is one,
    gain: float = 0.0  # and the dB that it adds
    objective: Objective | None = None

    @property
    def ratio(self) -> float:
        return self.raw_bytes / self.compressed_bytes


@dataclass(frozen=True)
class _Encoded:
    """A tile that passed the door."""

    record: bytes
    checked: Checker
    values: int
    encode_seconds: float
    verify_seconds: float


@dataclass(frozen=True)
class Written:
    """A frame that was written. ``checked`` has seen all tiles."""

    header: Header
    size: int
    checked: Checker
    encode_seconds: float
    verify_seconds: float
    gain: float = 0.0  # of PSNR, by an enhancer, in dB
    objective: Objective | None = None


def compress_field(
    source: Source,
    bound: Bound,
    write: Callable[[bytes], Any],
    *,
    effort: str | Effort = "balanced",
    idempotent: bool = False,
    threads: int | None = None,
    fill_values: Iterable[Number] = (),
    guide: FieldGuide | None = None,
    enhancing: Enhancing | None = None,
    progress: Callable[[int], Any] | None = None,
) -> FieldReport:
    """Compress ``source`` (ndarray, masked array or h5py.Dataset, of any shape) into ``write(bytes)``.

    The source is read twice, for a PSNR bound a few times more, tile by tile, from the calling thread; memory
    in use is a few tiles a thread, for a PSNR bound also up to 16 tiles in all, and 64 MiB of the frame.
    ``idempotent``: see `lossyzip.compress`. ``fill_values`` come back bit for bit and do not count as valid
    values. ``guide``: for fields of float32 and float64. ``enhancing``: where it pays, an enhancer is
    added in a second pass, for which the source is read twice more and 128 MiB of frames are in memory.
    ``progress`` is told how many values were done since the last call.

    Raises UnsupportedDataError before anything is written; BoundViolationError, with an unfinished
    frame written, when a tile does not keep the bound: what was written must be thrown away.
    """
    from lossyzip import field, planning, tuning, tuning_psnr
    from lossyzip.carrier import as_coded
    from lossyzip.levels import levels_of

    dtype = field.check_supported(source)
    if not isinstance(effort, tuning.Effort) and effort not in tuning.EFFORTS:
        raise InvalidArgumentError(f"effort {effort!r} is unknown; one of {', '.join(tuning.EFFORTS)}")
    _check_bound(bound, dtype, idempotent)
    if guide is not None:
        _check_guided(bound, dtype, idempotent)
    workers, chosen = thread_count(threads), tuning.EFFORTS[effort] if isinstance(effort, str) else effort
    fill_values = tuple(value if isinstance(value, int) else float(value) for value in fill_values)
    shape = tuple(source.shape)
    started = time.process_time()  # tuning may use several threads; nothing else runs
    summary = field.summarize(
        (field.read(source, where) for where in field.tile_slices(shape)), dtype, fill_values, workers
    )
    span = (summary.low, summary.high) if summary.low <= summary.high else (0.0, 0.0)
    levels = levels_of(bound, shape, *span)
    levels = levels if dtype.kind != "b" else None  # True and False are no numbers: eps is 0

    def drafted(bound: Bound) -> Header:
        draft = planning.draft_header(source, bound, summary, levels, workers, chosen.tile_bytes)
        return draft if guide is None else planning.with_guide(draft, source, guide, workers)

    draft = drafted(bound)
    guide = guide.of(draft.guided) if guide is not None and draft.guided else None
    job = _Job(source, span, fill_values, levels, guide, chosen, workers)

    def at(db: float) -> Callable[..., Written]:
        """What encodes with that PSNR."""
        draft = drafted(replace(bound, value=db))
        coded, coded_header = as_coded(source, draft, None, guide if draft.subtracted else None)
        coded_fills = fill_values if coded is source else ()
        wide = planning.tile_shape_as_coded(draft, tuning_psnr.WAVELET_TILES)
        aim = tuning_psnr.Aim(coded, coded_header, wide, chosen, span, coded_fills, workers)
        return partial(job.reach, aim, draft, db)

    def finer(eps: float) -> Written:
        """The field with a smaller eps, to nowhere: how large that would be."""
        header = planning.with_plans(
            drafted(absolute(eps)), source, levels, guide, chosen, workers, idempotent
        )
        own = guide.of(header.guided) if guide is not None and header.guided is not None else None
        return _Job(source, span, fill_values, levels, own, chosen, workers).encode(
            header, lambda _: None, None
        )

    encode: Callable[..., Written]
    if bound.kind == "psnr":
        encode = at(bound.value)
    else:
        header = planning.with_plans(draft, source, levels, guide, chosen, workers, idempotent)
        guide = guide.of(header.guided) if guide is not None and header.guided is not None else None
        job = _Job(source, span, fill_values, levels, guide, chosen, workers)
        encode = partial(job.encode, header)
    tuned = time.process_time() - started
    if enhancing is None or not can_be_enhanced(dtype, bound) or not draft.coded_eps > 0.0:
        done = encode(write, progress)
    else:
        from lossyzip.second_pass import enhanced

        with tempfile.SpooledTemporaryFile(SPOOLED) as spool:
            plain = encode(spool.write, progress)
            done = enhanced(job, plain, spool, write, enhancing, at if bound.kind == "psnr" else None, finer)
    checked = done.checked.report()
    return FieldReport(
        shape,
        dtype.str,
        str(bound),
        done.header.tolerance,
        checked.max_error,
        math.prod(shape) * dtype.itemsize,
        done.size,
        tuned + done.encode_seconds,
        done.verify_seconds,
        done.header.families,
        checked.psnr,
        checked.psnr_floor,
        done.header.enhancer_kind,
        done.gain,
        done.objective,
    )


class _Job:
    """A field to be encoded, through the door, with one header or several in turn."""

    def __init__(
        self,
        source: Source,
        span: tuple[Number, Number],
        fill_values: tuple[Number, ...],
        levels: Levels | None,
        guide: FieldGuide | None,
        effort: Effort,
        workers: int,
    ) -> None:
        self.source, self.span, self.fill_values, self._levels = source, span, fill_values, levels
        self.guide, self.effort, self.workers = guide, effort, workers

    def encode(
        self,
        header: Header,
        write: Callable[[bytes], Any],
        progress: Callable[[int], Any] | None = None,
    ) -> Written:
        """Write a frame, tile by tile."""
        head = frame.pack_head(header.to_bytes())
        write(head)
        written, sizes, seconds = len(head), [], [0.0, 0.0]
        checked = checker_of(header, self.span, self.fill_values)
        mixed = self.effort.mixes(header.tile_shape)
        door = _Door(header, self.span, self.fill_values, self._levels, self.guide, mixed)
        jobs = (partial(door.encode, *self._tile(w), w) for w in header.tile_slices())
        for result in in_order(jobs, self.workers):
            write(result.record)
            written += len(result.record)
            sizes.append(len(result.record))
            checked.merge(result.checked)
            seconds = [seconds[0] + result.encode_seconds, seconds[1] + result.verify_seconds]
            if progress is not None:
                progress(result.values)
        error = struct.pack("<d", checked.report().max_error)
        end = frame.pack_end(sizes, {"e": error} if header.eps > 0.0 else {})
        write(end)
        return Written(header, written + len(end), checked, seconds[0], seconds[1])

    def _tile(self, where: tuple[slice, ...]) -> tuple[np.ndarray, np.ndarray | None]:
        from lossyzip.field import read

        return read(self.source, where), self._levels.of(where) if self._levels else None

    def reach(
        self,
        aim: Aim,
        draft: Header,
        db: float,
        write: Callable[[bytes], Any],
        progress: Callable[[int], Any] | None,
    ) -> Written:
        """The same for a PSNR of the whole field: nothing is written before it is reached."""
        seconds = [0.0, 0.0]
        for attempt in range(_ATTEMPTS):
            if attempt == _ATTEMPTS - 1:
                aim.settle()
            with tempfile.SpooledTemporaryFile(SPOOLED) as spool:
                header = draft.with_plan_of(aim.header())
                done = self.encode(header, spool.write, None if attempt else progress)
                seconds = [seconds[0] + done.encode_seconds, seconds[1] + done.verify_seconds]
                if done.checked.report().psnr_floor >= db:
                    spool.seek(0)
                    while part := spool.read(COPIED):
                        write(part)
                    return replace(done, encode_seconds=seconds[0], verify_seconds=seconds[1])
            aim.missed(done.checked.mean_square())
        raise BoundViolationError(
            f"the field would come back at {done.checked.report().psnr:.6g} dB, not at {db:g}; "
            "nothing was kept. Please report this"
        )


class _Door:
    """Encodes tiles, decodes them from the bytes alone, and lets pass only what is within the bound.

    ``span`` of the field's valid values, and ``fill_values``: as for a `Checker`.
    """

    def __init__(
        self,
        header: Header,
        span: tuple[Number, Number],
        fill_values: tuple[Number, ...],
        levels: Levels | None,
        guide: FieldGuide | None,
        mixed: bool,
    ) -> None:
        self._header = Header.from_bytes(header.to_bytes())  # as a decoder will see it
        self._plan = plan_of_header(self._header)
        self._span = span
        self._fill_values = fill_values
        self._levels = levels
        self._guide = guide
        self._mixed = mixed
        self._own = threading.local()  # of each thread: room for a decoded tile

    def _room(self, values: int) -> np.ndarray:
        """A flat array of NaN for so many coded values: what is not written is not within any bound."""
        room: np.ndarray | None = getattr(self._own, "room", None)
        if room is None or room.size < values:
            room = self._own.room = np.empty(values, self._header.coded)
        room[:values] = np.nan
        return room[:values]

    def encode(self, tile: np.ndarray, levels: np.ndarray | None, where: tuple[slice, ...]) -> _Encoded:
        from lossyzip.carrier import NO_GUIDE
        from lossyzip.tile import decode_tile, encode_tile

        started = time.thread_time()
        guide = NO_GUIDE if self._guide is None else self._guide.guiding(where, self._header.specials)
        payload = encode_tile(tile, self._header, self._plan, self._mixed, levels, guide)
        encoded = time.thread_time()
        room = self._room(tile.size * (2 if self._header.dtype.kind == "c" else 1))
        try:
            decoded = decode_tile(payload, tile.shape, self._header, self._plan, room, guide)
        except DecodeError as error:
            raise SelfCheckError(
                f"lossyzip cannot decode its own output: {error}; nothing was kept. Please report this"
            ) from error
        values = decoded.values
        if (values.shape, values.dtype) != (tile.shape, self._header.native):
            raise SelfCheckError(
                f"{self._header.native} {tile.shape} would come back as {values.dtype} {values.shape}; "
                "nothing was kept. Please report this"
            )
        checker = checker_of(self._header, self._span, self._fill_values)
        checker.update(tile, values, tuple(s.start for s in where), decoded.levels)
        if self._levels and (decoded.levels is None or not self._levels.keeps(where, decoded.levels)):
            raise BoundViolationError(
                f"values would come back within looser bounds than {self._header.bound} asks of them; "
                "nothing was kept. Please report this"
            )
        report = checker.report()
        if report.violations:
            raise BoundViolationError(
                f"{report.violations} values would come back outside the bound {self._header.bound}, "
                f"the first at {report.first_violation}; nothing was kept. Please report this"
            )
        record = frame.pack_record(payload, content_checksum(values))
        finished = time.thread_time()
        return _Encoded(record, checker, values.size, encoded - started, finished - encoded)


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
        self.tile_shape = self._header.tile_shape
        self.tile_count = self._header.tile_count()
        self.guided = guided = self._header.guided
        self.references = guided.references if guided else ()  # checksums of the arrays that it needs
        in_model = [guided.network if guided else b"", self._header.enhancer]
        named = [f"{where.checksum:016x}" for where in in_model if isinstance(where, InModel)]
        self.model = " ".join(dict.fromkeys(named))  # those that it needs: XXH3
        gain = reader.index.get("g", bytes(8))
        if len(gain) != 8:
            raise CorruptError(f"the gain of PSNR is stored in {len(gain)} bytes")
        self.gain: float = struct.unpack("<d", gain)[0]  # dB, by the enhancer
        self.enhancer = self._header.enhancer_kind
        self.objective = objective_told(reader.index.get("o")) if self.enhancer else None

    def refer_to(self, references: Sequence[np.ndarray], model: Model | None = None) -> None:
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

        ``into`` is an array of the field's shape and dtype: a tile that lies in one piece there may be
        decoded in its place, of which its values are a view then. ``enhance``: see `lossyzip.decompress`.
        Each tile is checked against the checksum of what passed the door. The calling thread reads.
        """
        for where, decoded in self._decoded(threads, region, into, enhance):
            yield where, decoded.values.astype(self.dtype, copy=False)

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
        if self._header.enhancer is None:
            return {"header": header, "tiles": tiles, "index and framing": rest}
        enhancer = len(self._header.enhancer) if isinstance(self._header.enhancer, bytes) else 0
        payloads = [self._reader.tile(number).payload for number in range(self.tile_count)]
        marks = sum(len(p) - len(split(p)[1]) for p in payloads)
        return {
            "header": header - enhancer,
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
        if self.references and self._guide is None:
            raise MissingReferenceError(
                f"the field needs the {len(self.references)} references that it was compressed with"
            )
        alike = self._header.part == self._header.coded == self.dtype
        into = into if alike and not self.masked and not self.references else None
        enhancer = self._enhancer() if enhance else None
        jobs = (
            partial(
                self._decode,
                self._reader.tile(number),
                number,
                where,
                plan,
                _flat_part(into, where),
                enhancer,
            )
            for number, where in touched
        )
        yield from in_order(jobs, thread_count(threads))

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

        shape = tuple(s.stop - s.start for s in where)
        guide = NO_GUIDE if self._guide is None else self._guide.guiding(where, self._header.specials)
        payload, content, part = tile.payload, tile.content, None
        if self._header.enhancer is not None:
            part, payload = split(payload)
        decoded = decode_tile(payload, shape, self._header, plan, into, guide)
        if part is not None and part.content is not None:
            if enhancer is not None:
                values = enhance_tile(decoded.values, part, self._header, enhancer, guide)
                decoded = decoded._replace(values=values)
            else:
                content = part.content
        if content_checksum(decoded.values) != content:
            raise ContentMismatchError(f"tile {number} does not decode to the values that were checked")
        return where, decoded


def _flat_part(array: np.ndarray | None, where: tuple[slice, ...]) -> np.ndarray | None:
    """A part of ``array`` as a flat view, if it lies there in one piece and in this machine's byte order."""
    if array is None or not array.dtype.isnative:
        return None
    part = array[where]
    return part.reshape(-1) if part.flags.c_contiguous else None


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


def warmup(dtypes: Iterable[str] = ("float32", "float64")) -> None:
    """Compile every kernel, or load it from the cache, so that the first real call does not wait."""
    from lossyzip import enhancement
    from lossyzip.bound import relative

    for dtype in dtypes:
        enhancement.warmup(np.dtype(dtype))
        for shape in ((40, 41), (12, 13, 14)):
            wave = np.sin(np.arange(math.prod(shape)) * 0.1).reshape(shape).astype(dtype)
            wave.flat[::50] = np.nan
            parts: list[bytes] = []
            for rel, effort in product((1e-1, 1e-6), ("fast", "balanced", "max")):
                compress_field(wave, relative(rel), parts.append, effort=effort, threads=1)


def _check_bound(bound: Bound, dtype: np.dtype, idempotent: bool) -> None:
    whole = dtype.kind in "biu"
    if whole and bound.kind == "pointwise_relative":
        raise UnsupportedDataError(f"no {bound.kind} bound for {dtype}; name an absolute or a relative one")
    if not idempotent:
        return
    if bound.kind in ("psnr", "pointwise_relative"):
        raise InvalidArgumentError(
            f"no {bound.kind} bound is idempotent: its eps depends on the values; name an absolute eps"
        )
    if bound.regions is not None:
        raise InvalidArgumentError("bounds that differ from value to value are not idempotent")
    if bound.kind != "lossless" and (whole or dtype == np.float16):
        raise UnsupportedDataError(f"no bound is idempotent for {dtype}, but lossless; for float32 it can be")


def _check_guided(bound: Bound, dtype: np.dtype, idempotent: bool) -> None:
    if dtype.kind != "f" or dtype.itemsize < 4:
        raise UnsupportedDataError(f"references are for fields of float32 and float64, not {dtype}")
    if bound.kind == "pointwise_relative" or idempotent:
        raise InvalidArgumentError("references are of no use with pointwise relative or idempotent bounds")


def checker_of(header: Header, span: tuple[Number, Number], fill_values: tuple[Number, ...]) -> Checker:
    from lossyzip.checker import Checker

    levels = [level.eps for level in header.levels]
    return Checker(header.tolerance, *span, fill_values, header.pointwise, levels)


def plan_of_header(header: Header) -> Plan | None:
    from lossyzip.decompose.families import plan_of  # not to import numba for what `info` needs

    return plan_of(header.family, header.plan, header.raw_guides)


def _overlap(a: slice, b: slice) -> bool:
    return bool(a.start < b.stop and b.start < a.stop)
