"""One field, tile by tile: bound -> plan -> frame.

What leaves `compress_field` has been decoded again from the very bytes and checked, value by value,
against the original: that is the door, and it cannot be switched off.
"""

from __future__ import annotations

import math
import struct
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from lossyzip.bound import Bound, absolute
from lossyzip.container import frame
from lossyzip.container.enhanced import Objective, can_be_enhanced
from lossyzip.container.header import Header
from lossyzip.container.packing import may_be_packed
from lossyzip.decompressor import checker_of, content_checksum, plan_of_header
from lossyzip.effort import EFFORTS, Effort, Mixing
from lossyzip.errors import (
    BoundViolationError,
    DecodeError,
    InvalidArgumentError,
    SelfCheckError,
    UnsupportedDataError,
)
from lossyzip.kept import in_one_piece, kept_room
from lossyzip.threads import heaviest_first, thread_count

if TYPE_CHECKING:
    from lossyzip.checker import Checker
    from lossyzip.enhancing import Enhancing
    from lossyzip.field import Number, Source
    from lossyzip.guide import FieldGuide
    from lossyzip.levels import Levels
    from lossyzip.tuning_psnr import Aim

_ATTEMPTS = 4  # to reach a PSNR; the last one cannot miss
SPOOLED = 1 << 26  # bytes of a frame that wait in memory, and not on the disk, for their PSNR
COPIED = 1 << 22
_LOOKS = 128  # at values of a tile, before it is begun


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
    latent_bytes: int = 0
    step: float = 0.0  # as in an `Inspection`

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

    The source is read twice, with a sentinel and where a base promises something once more each, and for a
    PSNR bound a few times more, tile by tile, from the calling thread; memory in use is a few tiles a thread,
    for a PSNR bound also up to 16 tiles in all, and 64 MiB of the frame.
    ``idempotent``: see `lossyzip.compress`. ``fill_values`` come back bit for bit and do not count as valid
    values. ``guide``: for fields of float32 and float64. ``enhancing``: where it pays, an enhancer is
    added in a second pass, for which the source is read three times more and 192 MiB of frames are in memory.
    ``progress`` is told how many values were done since the last call.

    Raises UnsupportedDataError before anything is written; BoundViolationError, with an unfinished
    frame written, when a tile does not keep the bound: what was written must be thrown away.
    """
    from lossyzip import field, planning, tuning_psnr
    from lossyzip.base_search import find_base, may_have_base
    from lossyzip.carrier import as_coded
    from lossyzip.extent import Extent
    from lossyzip.levels import levels_of
    from lossyzip.packing_search import Sampler
    from lossyzip.sentinel import sentinel_of, with_sentinel

    dtype = field.check_supported(source)
    if not isinstance(effort, Effort) and effort not in EFFORTS:
        raise InvalidArgumentError(f"effort {effort!r} is unknown; one of {', '.join(EFFORTS)}")
    _check_bound(bound, dtype, idempotent)
    if guide is not None:
        _check_guided(bound, dtype, idempotent)
    workers, chosen = thread_count(threads), EFFORTS[effort] if isinstance(effort, str) else effort
    fill_values = tuple(value if isinstance(value, int) else float(value) for value in fill_values)
    shape = tuple(source.shape)
    started = time.process_time()  # tuning may use several threads; nothing else runs
    tiles: Iterable[np.ndarray] = (field.read(source, where) for where in field.tile_slices(shape))
    alone = guide is None and enhancing is None and not idempotent
    sampler = Sampler(math.prod(shape), dtype, fill_values) if alone and may_be_packed(dtype, bound) else None
    extent = Extent(shape) if dtype.kind in "fiu" and guide is None else None
    watchers = [watcher for watcher in (sampler, extent) if watcher is not None]
    summary = field.summarize(tiles, dtype, fill_values, workers, watchers)
    sample = None if sampler is None else sampler.values()
    sentinel = None if sample is None else sentinel_of(sample, summary.low, summary.high)
    if sample is not None and sentinel is not None:
        tiles = (field.read(source, where) for where in field.tile_slices(shape))
        summary = with_sentinel(summary, sentinel, tiles, dtype, fill_values, workers)
        sample = sample[sample != sentinel]
    span = (summary.low, summary.high) if summary.low <= summary.high else (0.0, 0.0)
    levels = levels_of(bound, shape, *span)
    levels = levels if dtype.kind != "b" else None  # True and False are no numbers: eps is 0

    def drafted(bound: Bound) -> Header:
        draft = planning.draft_header(source, bound, summary, chosen.tile_bytes, levels, workers, sample)
        return draft if guide is None else planning.with_guide(draft, source, guide, workers)

    draft, search = drafted(bound), None
    if alone and levels is None and may_have_base(source, bound, chosen):
        guide, draft, search = find_base(source, draft, fill_values, chosen, workers)
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
        header = planning.with_plans(
            *(draft, source, levels, guide, chosen, workers, idempotent, extent, search)
        )
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
            if bound.kind == "psnr":
                done = enhanced(job, plain, spool, write, enhancing, at, finer)
            else:
                plans = partial(planning.other_plans, plain.header, source, chosen, workers)
                done = enhanced(job, plain, spool, write, enhancing, None, finer, plans)
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
        done.header.latent_bytes,
        done.header.step,
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
        mixing = self.effort.mixing(header.shape, header.tile_shape)
        door = _Door(header, self.span, self.fill_values, self._levels, self.guide, mixing)
        at_hand = isinstance(self.source, np.ndarray)
        for result in heaviest_first(self._jobs(door, header), self.workers, at_hand):
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

    def _jobs(self, door: _Door, header: Header) -> Iterator[tuple[float, Callable[[], _Encoded]]]:
        """(about how much of it is not quiet, what encodes it) of each tile."""
        for where in header.tile_slices():
            tile, levels = self._tile(where)
            weight = _variety(tile, header.eps) if self.workers > 1 else 0.0
            yield weight, partial(door.encode, tile, levels, where)

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


def _variety(tile: np.ndarray, eps: float) -> float:
    """The part of some of the values that is farther than ``eps`` from one of them."""
    places = round(_LOOKS ** (1 / max(tile.ndim, 1)))
    apart = tuple(slice(None, None, max(1, n // places)) for n in tile.shape)
    some = np.ma.getdata(tile)[apart].reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):  # of infinities, and of signalling NaN
        some = some.astype(np.result_type(some.dtype, np.float64))
        far = np.count_nonzero(np.abs(some - some[some.size // 2]) > eps)
    return round(float(far) / some.size, 1)


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
        mixing: Mixing,
    ) -> None:
        self._header = Header.from_bytes(header.to_bytes())  # as a decoder will see it
        self._plan = plan_of_header(self._header)
        self._span = span
        self._fill_values = fill_values
        self._levels = levels
        self._guide = guide
        self._mixing = mixing

    def encode(self, tile: np.ndarray, levels: np.ndarray | None, where: tuple[slice, ...]) -> _Encoded:
        from lossyzip.carrier import NO_GUIDE
        from lossyzip.tile import decode_tile, encode_tile

        started = time.thread_time()
        tile = tile if np.ma.isMaskedArray(tile) else in_one_piece(tile)
        guide = NO_GUIDE if self._guide is None else self._guide.guiding(where, self._header.specials)
        payload = encode_tile(tile, self._header, self._plan, self._mixing, levels, guide)
        encoded = time.thread_time()
        coded = self._header.coded
        room = kept_room("decoded", tile.size * (2 if self._header.dtype.kind == "c" else 1), coded)
        room[:] = np.nan  # what is not written is not within any bound
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
        rough, steps = np.cos(np.arange(400.0) ** 2).reshape(20, 20), np.arange(12.0)[:, None, None]
        compress_field((rough + 0.01 * steps).astype(dtype), relative(1e-3), parts.append)  # it has a base


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
