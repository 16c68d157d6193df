"""A frame, once more: an enhancer is trained on what a decoder makes of it, and each tile gets its marks.

The codes stay as they are. The enhanced values pass the door as the plain ones did: decoded from the very
bytes, and checked. Where the whole field does not gain more than its bytes would, spent on a smaller eps, the
frame is left as it was. Where something else than PSNR should become better (objectives.py), that is what
tiles and the whole field are judged by, and how much values move, too: aimed.py.
"""

from __future__ import annotations

import math
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Any

import numpy as np

from lossyzip import enhancement, field
from lossyzip.bound import Bound
from lossyzip.carrier import NO_GUIDE, Guiding
from lossyzip.compressor import COPIED, SPOOLED, Written
from lossyzip.container import frame
from lossyzip.container.enhanced import Objective, Part, join, objective_section, split
from lossyzip.container.header import Header
from lossyzip.container.in_model import InModel
from lossyzip.decompose.families import Plan, write_plan
from lossyzip.decompressor import checker_of, content_checksum, plan_of_header
from lossyzip.enhanced_plan import Plans, other_plan
from lossyzip.enhancing import Enhancing, Ready
from lossyzip.errors import BoundViolationError, DecodeError, SelfCheckError
from lossyzip.guide import FieldGuide
from lossyzip.learned import corrections, observations
from lossyzip.learned import enhancement as training
from lossyzip.learned.enhancer import MOST_ZOOM, Enhancer
from lossyzip.learned.terms import UNITS
from lossyzip.objectives import objective_of
from lossyzip.threads import in_order
from lossyzip.tile import decode_tile, encode_tile

SECONDS_PER_BYTE = 60 / 100e6  # of training, if nothing is said
_TILES = 16  # that are sampled
_TIGHTER = 0.9  # eps, to see what bytes are worth
_SPENT = 0.97  # of what an enhancer gains on a sample
_A_LITTLE_MORE = 0.01  # dB
_NEAR = 0.03  # dB above a PSNR, which is near enough
_ATTEMPTS = 3  # to reach a PSNR
_RULE = 20.0 * math.log10(2.0)  # dB a bit, at least: what bits are worth where codes are many and alike


@dataclass(frozen=True)
class _Tile:
    """An enhanced tile that passed the door."""

    record: bytes
    plain: Any  # Checkers
    enhanced: Any
    sums: np.ndarray  # of the objective: of plain and of enhanced values
    seconds: float


def enhanced(
    job: Any,
    plain: Written,
    spool: IO[bytes],
    write: Callable[[bytes], Any],
    asked: Enhancing,
    at: Callable[[float], Callable[..., Written]] | None = None,
    finer: Callable[[float], Written] | None = None,
    plans: Plans | None = None,
) -> Written:
    """Write the frame in ``spool``, which is ``plain``, with an enhancer where it pays, as it is otherwise.

    ``job``: the `compressor._Job` that made it. ``at``, for a PSNR bound: what encodes at another PSNR. What
    an enhancer gains is spent there: the field is coded again, at a PSNR that is so much lower. ``finer``,
    for other bounds: what becomes of the field with another eps. That has the last word: a plan of its own
    may make it cheaper than a tile with the same plan has told. It is not asked where the objective is not
    PSNR; with a PSNR bound it always is. ``plans``: others that the enhanced frame may have, where that has
    the fewest bytes at equal PSNR (enhanced_plan.py).
    """
    if asked.objective != "psnr" and at is None:
        return _aimed(job, plain, spool, write, asked)
    own = Pass(job, plain, spool)
    if asked.ready is not None and at is None:
        return _taken(own, plain, spool, write, asked.ready, finer)
    passes, seconds = [own] if _may_pay(plain.header) else [], 0.0
    with tempfile.SpooledTemporaryFile(SPOOLED) as other, tempfile.SpooledTemporaryFile(SPOOLED) as better:
        if passes and plans is not None and asked.any_plan:
            started = time.process_time()
            plan = other_plan(own, plans, asked.seed)
            seconds += time.process_time() - started
            if plan is not None:
                header = replace(plain.header, family=plan.name, plan=write_plan(plan))
                recoded = job.encode(header, other.write)
                seconds += recoded.encode_seconds
                passes.insert(0, Pass(job, replace(recoded, encode_seconds=plain.encode_seconds), other))

        def made(pass_: Pass, judged: corrections.Judged) -> Written | None:
            if at is not None:
                return _spent(job, plain, judged.gain, better, asked, at)
            better.seek(0)
            better.truncate()
            done = pass_.encode(judged.enhancer, better.write)
            return done if done is not None and (finer is None or _cheaper(plain, done, finer)) else None

        for pass_ in passes:
            done, trained = _of_kinds(pass_, asked, made)
            seconds += trained
            if done is not None:
                _copy(better, write)
                return replace(done, encode_seconds=done.encode_seconds + seconds)
    _copy(spool, write)
    return replace(plain, encode_seconds=plain.encode_seconds + seconds)


def _of_kinds(
    pass_: Pass, asked: Enhancing, made: Callable[[Pass, corrections.Judged], Written | None]
) -> tuple[Written | None, float]:
    """What is ``made`` of an enhancer of any kind that is asked for, or of the first kind where that is
    nothing; and the seconds of training."""
    seconds = 0.0
    for kinds in dict.fromkeys((asked.kinds, asked.kinds[:1])):
        started = time.process_time()
        judged = pass_.train(asked._replace(kinds=kinds))
        seconds += time.process_time() - started
        if judged is None:
            continue
        done = made(pass_, judged)
        if done is not None or not judged.enhancer.hidden:  # it was of the first kind
            return done, seconds
    return None, seconds


def _taken(
    pass_: Pass,
    plain: Written,
    spool: IO[bytes],
    write: Callable[[bytes], Any],
    ready: Ready,
    finer: Callable[[float], Written] | None,
) -> Written:
    """As `enhanced`, with an enhancer that is there."""
    pass_.look(pass_.middle())
    with tempfile.SpooledTemporaryFile(SPOOLED) as better:
        done = None
        if _may_pay(plain.header):
            done = pass_.encode(Enhancer.from_bytes(ready.enhancer), better.write, where=ready.where)
        if done is not None and (finer is None or _cheaper(plain, done, finer)):
            _copy(better, write)
            return done
    _copy(spool, write)
    return plain


def _aimed(
    job: Any, plain: Written, spool: IO[bytes], write: Callable[[bytes], Any], asked: Enhancing
) -> Written:
    from lossyzip.aimed import Aimed

    started, seconds = time.process_time(), 0.0
    if _may_pay(plain.header):
        pass_ = Aimed(job, plain, spool, asked)
        candidates = pass_.candidates()
        seconds = time.process_time() - started
        for enhancer in candidates:
            with tempfile.SpooledTemporaryFile(SPOOLED) as better:
                done = pass_.encode(enhancer, better.write, where=asked.ready and asked.ready.where)
                if done is not None:
                    _copy(better, write)
                    return replace(done, encode_seconds=done.encode_seconds + seconds)
    _copy(spool, write)
    return replace(plain, encode_seconds=plain.encode_seconds + seconds)


def _cheaper(plain: Written, done: Written, finer: Callable[[float], Written]) -> bool:
    """Whether ``done`` has fewer bytes than ``plain`` with a smaller eps, at the same PSNR."""
    before = plain.checked.report().psnr
    gain = done.checked.report().psnr - before
    if not gain > 0.0:  # another plan's, whose values are not as near
        return False
    rival = finer(plain.header.eps * 10.0 ** (-gain / 20.0))
    reached = rival.checked.report().psnr - before
    share = gain / reached if reached > 0.0 else math.inf
    grown = math.log(rival.size / plain.size)
    return math.log(done.size / plain.size) < share * grown if grown > 0.0 else False


def _spent(
    job: Any,
    plain: Written,
    gain: float,
    better: IO[bytes],
    asked: Enhancing,
    at: Callable[[float], Callable[..., Written]],
) -> Written | None:
    """Fill ``better`` with a smaller frame that is enhanced to the bound's PSNR; None if there is none."""
    db = plain.header.bound.value
    lower, found = db - _SPENT * gain, None
    for _ in range(_ATTEMPTS):
        with tempfile.SpooledTemporaryFile(SPOOLED) as spool, tempfile.SpooledTemporaryFile(SPOOLED) as next_:
            pass_ = Pass(job, at(lower)(spool.write, None), spool)
            judged = pass_.train(asked)
            done = None if judged is None else pass_.encode(judged.enhancer, next_.write, plain.header.bound)
            if done is None:
                break
            over = done.checked.report().psnr_floor - db
            if over >= 0.0 and done.size < (found or plain).size:
                found = done
                better.seek(0)
                better.truncate()
                _copy(next_, better.write)
        if 0.0 <= over < _NEAR or (over < 0.0 and found is not None):
            break
        lower -= _SPENT * over if over >= 0.0 else over - _A_LITTLE_MORE
    return found


class Pass:
    """A frame in ``spool``, to be enhanced; ``objective``: the name of what shall become better."""

    def __init__(self, job: Any, plain: Written, spool: IO[bytes], objective: str = "psnr") -> None:
        self._job, self._written = job, plain

        def read(offset: int, length: int) -> bytes:
            spool.seek(offset)
            return spool.read(length)

        self._reader = frame.FrameReader(read, plain.size, lambda data: Header.from_bytes(data).tile_count())
        self._header = Header.from_bytes(self._reader.header)
        self._plan = plan_of_header(self._header)
        self._where = self._header.tile_slices()
        self._objective = objective_of(objective, self._header.tile_shape)
        self._price: corrections.Price | None = None
        self._finer: tuple[float, np.ndarray] | None = None  # see `_priced`
        self._zoom = 0

    def train(self, asked: Enhancing) -> corrections.Judged | None:
        """An enhancer that pays on a sample."""
        sample, seconds = self._sample(asked)
        if self._price is None:
            return None
        judged = training.train(sample, self._price, asked.kinds, seconds, asked.seed)
        if judged is None or not self._zoom:
            return judged
        return judged._replace(enhancer=replace(judged.enhancer, zoom=self._zoom))

    @property
    def plan(self) -> Plan | None:
        return self._plan

    @property
    def price(self) -> corrections.Price | None:
        """What bytes are worth, once the middle tile was looked at."""
        return self._price

    def middle(self) -> int:
        """The tile that trials are made with."""
        chosen = self._chosen()
        return chosen[len(chosen) // 2]

    def _chosen(self) -> list[int]:
        count = len(self._where)
        return list(map(int, np.unique(np.linspace(0, count - 1, min(count, _TILES)).round())))

    def _sample(self, asked: Enhancing) -> tuple[observations.Sample, float]:
        """Points of up to `_TILES` tiles, and the seconds to learn from them."""
        rng = np.random.default_rng(asked.seed)
        chosen = self._chosen()
        samples = []
        middle = self.middle()  # first: it tells how large errors are
        chosen.remove(middle)
        for number in [middle, *chosen]:
            seen = self.look(number)
            if number == middle:
                view = observations.view_of(seen, rng)
            samples.append(observations.draw(seen, view, -(-observations.POINTS // (len(chosen) + 1)), rng))
        size = sum(where_size(where) for where in self._where) * self._header.dtype.itemsize
        seconds = SECONDS_PER_BYTE * size if asked.seconds is None else asked.seconds
        return observations.joined(samples, rng), seconds

    def look(self, number: int) -> observations.Seen:
        """A tile, as an enhancer sees it; the middle one tells what bytes are worth."""
        original, guiding = self._original(number), self._guide(number)
        decoded = self._decoded(number, guiding)
        seen = self._seen(original, decoded, guiding)
        if number == self.middle() and self._price is None:
            self._price = self._priced(number, original, seen.original, seen.decoded, seen.void, guiding)
            self._zoom = 0 if self._price.marked else self._zoom_of(seen.original, seen.decoded, seen.void)
        return seen._replace(eps=math.ldexp(self._header.eps, -self._zoom))

    def look_with(self, plan: Plan) -> tuple[float, observations.Seen]:
        """(times that the middle tile is larger with ``plan`` than it is, what an enhancer sees then)"""
        number = self.middle()
        original, guiding, before = self._original(number), self._guide(number), self._reader.tile(number)
        header = replace(self._header, family=plan.name, plan=write_plan(plan))
        mixed = self._job.effort.mixes(header.tile_shape)
        payload = encode_tile(original, header, plan, mixed, None, guiding)
        decoded = decode_tile(payload, original.shape, header, plan, None, guiding).values
        return len(payload) / len(before.payload), self._seen(original, decoded, guiding)

    def _seen(self, original: np.ndarray, decoded: np.ndarray, guiding: Guiding) -> observations.Seen:
        values, void = np.ma.getdata(decoded), enhancement.void_of(decoded, self._header)
        whole = field.native(np.ma.getdata(original)).reshape(original.shape)
        guides = enhancement.guides_of(guiding, self._header)
        return observations.Seen(values, whole, void, self._header.low, self._header.eps, guides)

    def _zoom_of(self, whole: np.ndarray, values: np.ndarray, void: Any) -> int:
        """That with which the scale is about the largest of errors that are as even as quantization's."""
        left_out = ~np.isfinite(whole) if void is None else ~np.isfinite(whole) | void
        seen = max(values.size - int(np.count_nonzero(left_out)), 1)
        square = _square(whole, values, left_out, self._header.eps) / seen
        return min(max(round(-0.5 * math.log2(3.0 * square)), 0), MOST_ZOOM) if square > 0.0 else 0

    def _priced(
        self,
        number: int,
        original: np.ndarray,
        whole: np.ndarray,
        values: np.ndarray,
        void: Any,
        guide: Guiding,
    ) -> corrections.Price:
        """What bytes are worth, found by coding a tile with a smaller eps; no less than `_RULE`.

        `_finer` has that tile then: its bytes over those that it had, and its values.
        """
        total = sum(where_size(where) for where in self._where)
        rule = _RULE * 8.0 * self._written.size / total / 100.0
        marked = self._header.bound.kind != "psnr"
        if not marked:  # an enhancer costs next to nothing
            return corrections.Price(rule, self._written.size, total, len(self._where), marked)
        payload = self._reader.tile(number).payload
        tighter = replace(self._header, eps=_TIGHTER * self._header.eps)
        mixed = self._job.effort.mixes(self._header.tile_shape)
        finer = encode_tile(original, tighter, self._plan, mixed, None, guide)
        seen = decode_tile(finer, original.shape, tighter, self._plan, None, guide).values
        left_out = ~np.isfinite(whole) if void is None else ~np.isfinite(whole) | void
        before, after = (_square(whole, v, left_out, self._header.eps) for v in (values, np.ma.getdata(seen)))
        self._finer = len(finer) / len(payload), seen
        more = 100.0 * (len(finer) / len(payload) - 1.0)
        found = 10.0 * math.log10(before / after) / more if more > 0.0 and before > after > 0.0 else 0.0
        return corrections.Price(max(found, rule), self._written.size, total, len(self._where))

    def encode(
        self,
        enhancer: Enhancer,
        write: Callable[[bytes], Any],
        bound: Bound | None = None,
        where: InModel | None = None,
    ) -> Written | None:
        """Write the frame with ``enhancer``; None, with something useless written, if it does not pay.

        ``bound``: what was asked, if it was another one than the frame's. ``where``: the model that has it.
        """
        own = enhancer.to_bytes()
        header = replace(self._header, enhancer=where or own, bound=bound or self._header.bound)
        head = frame.pack_head(header.to_bytes())
        write(head)
        seen = Header.from_bytes(header.to_bytes())  # as a decoder will see it
        read = Enhancer.from_bytes(own)
        plain, better = (checker_of(header, self._job.span, self._job.fill_values) for _ in range(2))
        sizes, seconds, sums = [], 0.0, np.zeros(())
        jobs = (
            partial(self._tile, number, self._reader.tile(number), self._original(number), seen, read)
            for number in range(len(self._where))
        )
        for tile in in_order(jobs, self._job.workers):
            write(tile.record)
            sizes.append(len(tile.record))
            plain.merge(tile.plain)
            better.merge(tile.enhanced)
            seconds += tile.seconds
            sums = sums + tile.sums
        gain = better.report().psnr - plain.report().psnr
        before, after = (self._objective.value(some) for some in sums)
        index = {"e": struct.pack("<d", better.report().max_error), "g": struct.pack("<d", gain)}
        told = self._told(before, after)
        end = frame.pack_end(sizes, index if told is None else index | {"o": objective_section(told)})
        write(end)
        size = len(head) + sum(sizes) + len(end)
        if not self._pays(gain, before, after, size):
            return None
        return replace(
            self._written,
            header=header,
            size=size,
            checked=better,
            encode_seconds=self._written.encode_seconds + seconds,
            gain=gain,
            objective=told,
        )

    def _pays(self, gain: float, before: float, after: float, size: int) -> bool:
        """Whether it does to have so many bytes for so many dB; ``before`` and ``after``: the objective."""
        return self._price is not None and gain > max(self._price.of(size - self._written.size), 0.0)

    def _told(self, before: float, after: float) -> Objective | None:
        """What the index says of the objective."""
        return None

    def _tile(
        self, number: int, tile: frame.Tile, original: np.ndarray, header: Header, enhancer: Enhancer
    ) -> _Tile:
        started = time.thread_time()
        guiding = self._guide(number)
        decoded = self._decoded(number, guiding, tile)
        part, sums = self._part(decoded, original, header, enhancer, guiding)
        payload = join(part, tile.payload)
        try:
            found, inner = split(payload)
            values = enhancement.enhance(decoded, found, header, enhancer, guiding)
        except DecodeError as error:
            raise SelfCheckError(
                f"lossyzip cannot decode its own output: {error}; nothing was kept. Please report this"
            ) from error
        if inner != tile.payload:
            raise SelfCheckError("a tile changed when it was enhanced; nothing was kept. Please report this")
        checkers = []
        origin = tuple(s.start for s in self._where[number])
        for array in (decoded, values):
            checker = checker_of(header, self._job.span, self._job.fill_values)
            checker.update(original, array, origin)
            report = checker.report()
            if report.violations:
                raise BoundViolationError(
                    f"{report.violations} values would be enhanced to outside the bound {header.bound}, the "
                    f"first at {report.first_violation}; nothing was kept. Please report this"
                )
            checkers.append(checker)
        record = frame.pack_record(payload, content_checksum(values))
        return _Tile(record, checkers[0], checkers[1], sums, time.thread_time() - started)

    def _part(
        self, decoded: np.ndarray, original: np.ndarray, header: Header, enhancer: Enhancer, guiding: Guiding
    ) -> tuple[Part, np.ndarray]:
        """The marks of a tile, nothing for one that would not be better; and the objective's sums."""
        moves = enhancement.Moves(decoded, header, enhancer, guiding)
        wanted = field.native(np.ma.getdata(original))
        patterns = field.special_patterns(header.part, self._job.fill_values)
        marks = enhancement.mark(moves, wanted, header.eps, patterns)
        values = enhancement.apply(decoded, moves, marks)
        sums = np.stack([self._sums(original, some) for some in (decoded, values)])
        plain, enhanced = map(self._objective.value, sums)
        if not enhanced < plain:
            return Part(None, b""), sums[[0, 0]]
        return Part(content_checksum(decoded), enhancement.pack_marks(moves, marks)), sums

    def _sums(self, original: np.ndarray, decoded: np.ndarray) -> np.ndarray:
        """The objective's, of a tile or a part of one."""
        wanted = field.native(np.ma.getdata(original)).reshape(original.shape)
        left_out = ~np.isfinite(wanted) | np.ma.getmaskarray(decoded)
        return self._objective.sums(wanted, np.ma.getdata(decoded), left_out, self._header.eps)

    def _original(self, number: int) -> np.ndarray:
        return field.read(self._job.source, self._where[number])

    def _guide(self, number: int) -> Guiding:
        guide: FieldGuide | None = self._job.guide
        return NO_GUIDE if guide is None else guide.guiding(self._where[number], self._header.specials)

    def _decoded(self, number: int, guiding: Guiding, tile: frame.Tile | None = None) -> np.ndarray:
        tile = self._reader.tile(number) if tile is None else tile
        shape = tuple(s.stop - s.start for s in self._where[number])
        values = decode_tile(tile.payload, shape, self._header, self._plan, None, guiding).values
        if content_checksum(values) != tile.content:
            raise SelfCheckError(f"tile {number} decodes to other values than before. Please report this")
        return values


def _may_pay(header: Header) -> bool:
    """Whether there is enough to learn from, in steps of eps that floats have."""
    return math.prod(header.shape) >= training.FEWEST and math.isfinite(UNITS / header.eps)


def where_size(where: tuple[slice, ...]) -> int:
    return math.prod(s.stop - s.start for s in where)


def _square(a: np.ndarray, b: np.ndarray, left_out: np.ndarray, eps: float) -> float:
    """The sum of squares of differences, in units of eps."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = (a.astype(np.float64) - b.astype(np.float64)) / eps
    difference[left_out] = 0.0
    return float(np.square(difference).sum())


def _copy(spool: IO[bytes], write: Callable[[bytes], Any]) -> None:
    spool.seek(0)
    while part := spool.read(COPIED):
        write(part)
