"""A frame, once more: an enhancer is trained on what a decoder makes of it, and each tile gets its marks.

The codes stay as they are. The enhanced values pass the door as the plain ones did: decoded from the very
bytes, and checked. Where the whole field does not gain more than its bytes would, spent on a smaller eps, the
frame is left as it was. Where something else than PSNR should become better (objectives.py), that is what
tiles and the whole field are judged by, and how much values move, too: aimed.py.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from typing import IO, Any

from lossyzip.compressor import COPIED, SPOOLED, Written
from lossyzip.container.header import Header
from lossyzip.decompose.families import write_plan
from lossyzip.enhanced_plan import Plans, other_plan
from lossyzip.enhancing import Enhancing, Ready
from lossyzip.enhancing_pass import Pass
from lossyzip.learned import corrections
from lossyzip.learned import enhancement as training
from lossyzip.learned.enhancer import Enhancer
from lossyzip.learned.terms import UNITS

_SPENT = 0.97  # of what an enhancer gains on a sample
_A_LITTLE_MORE = 0.01  # dB
_NEAR = 0.03  # dB above a PSNR, which is near enough
_ATTEMPTS = 3  # to reach a PSNR


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


def _may_pay(header: Header) -> bool:
    """Whether there is enough to learn from, in steps of eps that floats have."""
    return math.prod(header.shape) >= training.FEWEST and math.isfinite(UNITS / header.eps)


def _copy(spool: IO[bytes], write: Callable[[bytes], Any]) -> None:
    spool.seek(0)
    while part := spool.read(COPIED):
        write(part)
