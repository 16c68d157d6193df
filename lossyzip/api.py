"""An array in, bytes out, and back: what `import lossyzip` offers for one field; archive.py does for many.

The work is in compressor.py and decompressor.py; files are in io/.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lossyzip.bound import Bound
from lossyzip.compressor import compress_field
from lossyzip.decompressor import Frame
from lossyzip.enhancing import asked_for
from lossyzip.errors import DecodeError, InvalidArgumentError
from lossyzip.region import resolve, shared

if TYPE_CHECKING:
    from lossyzip.bound_search import Tuned
    from lossyzip.field import Number
    from lossyzip.learned.model import Model


@dataclass(frozen=True)
class Inspection:
    """What a frame says of itself. ``max_error`` was measured when it was made; ``sections`` are bytes.

    ``model``: the checksum of the one that it needs, or "". ``enhancer``: "offsets" or "network", and the dB
    that it adds to PSNR; "" and 0.0 where there is none. ``objective``: what it was chosen by, "psnr",
    "spectrum" or "gradient", and for the latter two how far values are off in that, without and with it: see
    `compress`. ``step``: what the values are whole multiples of, an offset apart, where that makes the frame
    smaller; or 0.0.
    """

    bound: str
    eps: float
    max_error: float
    dtype: str
    shape: tuple[int, ...]
    ratio: float
    compressed_bytes: int
    families: tuple[str, ...]
    tile_shape: tuple[int, ...]
    tile_count: int
    version: str
    sections: dict[str, int]
    model: str
    enhancer: str
    psnr_gain: float
    objective: str
    objective_errors: tuple[float, float] | None
    step: float


@dataclass(frozen=True)
class Verification:
    """How a frame's values differ from the original. See `lossyzip.checker.CheckReport`.

    ``passed``: there are no violations, and a PSNR that was asked for is reached.
    """

    max_error: float
    violations: int
    first_violation: tuple[int, ...] | None
    psnr: float
    ratio: float
    passed: bool


def compress(
    array: np.ndarray,
    bound: Bound,
    *,
    effort: str = "balanced",
    idempotent: bool = False,
    threads: int | None = None,
    fill_value: Number | Iterable[Number] | None = None,
    references: Sequence[np.ndarray] = (),
    autoencoder: bool = False,
    enhance: bool | str = False,
    train_seconds: float | None = None,
    seed: int = 0,
) -> bytes:
    """``array`` as bytes, every value within ``bound``.

    It may be of floats (16 to 64 bits), complex numbers (64 and 128 bits), integers or bool, of any shape,
    strides and byte order, and a masked array. Both parts of a complex number are within the bound; integers
    come back as integers, True and False as they are. A mask comes back as it is, and what is under it as the
    array's fill value.

    The bytes are decoded again and every value is checked in exact arithmetic before they are returned.
    NaN (payloads too), infinities, -0.0 and ``fill_value`` come back bit for bit, and do not count for the
    range of a relative bound, nor for a PSNR. ``effort`` is "fast", "balanced" or "max"; ``threads`` defaults
    to the cores at hand, and never changes the bytes.

    ``idempotent``: what was decompressed comes back bit for bit when it, or a part of it, is compressed
    again with the same absolute eps, however often. It costs a few percent at tight bounds, and up to
    half of the ratio at loose ones. There is no such thing for a PSNR.

    ``references`` are arrays that a decoder has, other fields or time steps, of the same shape or on a
    staggered grid (one value more or fewer along an axis): what they tell of a field of float32 or float64 is
    learned in about ``train_seconds`` (60 s for 100 MB, 10 s at least, if nothing is said), and left out
    where it would not pay. `decompress` needs them, bit for bit.

    ``autoencoder``: latents are tried, too: a few small grids of integers in the frame, from which, and from
    ``references``, a network makes an estimate of the field. They are trained by torch in as much time again,
    and left out where they do not pay; that is nearly everywhere without references.

    ``enhance``: what quantization left is estimated once the field is decoded, by what is learned for it in
    about ``train_seconds`` (60 s for 100 MB, 2 s at least). Values come nearer to the original's, each still
    within ``bound``, for a few percent more bytes; where a smaller eps would gain as much for these, nothing
    is done, nor for other dtypes than float32 and float64, nor for lossless, pointwise relative and regional
    bounds. With a PSNR bound the field takes fewer bytes instead. "offsets" and "network" name one kind of
    enhancers; the latter is trained by torch, and left out where that is missing. What shall become better is
    PSNR, the default; or "gradient", the mean square error of central differences along each axis; or
    "spectrum", the mean over wavenumbers, up to half of Nyquist's, of |P' / P - 1|, where P and P' are the
    radially averaged power spectra of the array and of what comes back. Both are taken tile by tile. They are
    never worse than without an enhancer; PSNR may be. With a PSNR bound it is PSNR in any case.

    Raises UnsupportedDataError (for other dtypes, or integers with a pointwise relative bound);
    InvalidArgumentError; BoundViolationError if lossyzip has a bug.
    """
    if not isinstance(bound, Bound):
        raise InvalidArgumentError(
            "the bound must be absolute(), relative(), pointwise_relative(), psnr() or lossless(), "
            f"not {bound!r}"
        )
    options: dict[str, Any] = {
        "effort": effort,
        "idempotent": idempotent,
        "threads": threads,
        "fill_values": fill_values_of(fill_value),
        "enhancing": asked_for(enhance, train_seconds, seed, idempotent),
    }
    if len(references) or autoencoder:
        from lossyzip.dataset import Learning, compress_referring

        learning = Learning(train_seconds, seed, autoencoder=autoencoder)
        return compress_referring(as_array(array), bound, references, learning, **options)
    frame = io.BytesIO()  # of which getvalue() makes no copy
    compress_field(as_array(array), bound, frame.write, **options)
    return frame.getvalue()


def decompress(
    blob: bytes,
    *,
    region: Any = None,
    threads: int | None = None,
    references: Sequence[np.ndarray] = (),
    model: Model | None = None,
    enhance: bool = True,
) -> np.ndarray:
    """The array in ``blob``: same shape, dtype, byte order and mask as what was compressed.

    ``region`` is a basic index (integers, slices, ``...``), as in ``array[region]``; only the tiles that
    it touches are decoded. ``references``: those that it was compressed with are among them; ``model``: the
    one that it was compressed with. ``enhance=False`` leaves out the enhancer, if there is one: values are
    within the bound without it, too, but for a PSNR, which needs the enhancer; and a model may be missing
    if nothing else is in it. Raises a DecodeError subclass for bytes that `compress` did not make;
    MissingReferenceError without one of the references, MissingModelError without the model;
    InvalidArgumentError for a region that does not fit.
    """
    frame = Frame.of_bytes(blob)
    if len(references) or not frame.references:
        frame.refer_to(references, model)
    return whole(frame, threads, enhance) if region is None else part_of(frame, region, threads, enhance)


def part_of(frame: Frame, region: Any, threads: int | None, enhance: bool) -> np.ndarray:
    """What ``frame`` has of ``region``, a basic index; its references are known."""
    box, rest = resolve(region, frame.shape)
    result = _empty(tuple(s.stop - s.start for s in box), frame)
    if result.size:
        for where, values in frame.tiles(threads=threads, region=box, enhance=enhance):
            of_box, of_tile = shared(where, box)
            result[of_box] = values[of_tile]
    inner: np.ndarray = _with_fill(result, frame)[rest]
    return inner


def whole(frame: Frame, threads: int | None, enhance: bool) -> np.ndarray:
    """All of ``frame``, whose references are known."""
    result = _empty(frame.shape, frame)
    for where, values in frame.tiles(threads=threads, into=result, enhance=enhance):
        if not np.may_share_memory(result, values):
            result[where] = values
    return _with_fill(result, frame)


def _empty(shape: tuple[int, ...], frame: Frame) -> np.ndarray:
    try:
        array: np.ndarray = np.ma.empty(shape, frame.dtype) if frame.masked else np.empty(shape, frame.dtype)
        return array
    except MemoryError:
        size = math.prod(shape) * frame.dtype.itemsize
        raise DecodeError(f"shape {shape} takes {size} bytes, more than can be had; read a region") from None


def inspect(blob: bytes) -> Inspection:
    """What ``blob`` says of itself, without decoding it. Raises a DecodeError subclass for other bytes."""
    frame = Frame.of_bytes(blob)
    return Inspection(
        frame.bound,
        frame.eps,
        frame.max_error,
        frame.dtype.str,
        frame.shape,
        frame.raw_bytes / frame.compressed_bytes,
        frame.compressed_bytes,
        frame.families,
        frame.tile_shape,
        frame.tile_count,
        frame.version,
        frame.section_bytes(),
        frame.model,
        frame.enhancer,
        frame.gain,
        *_objective(frame),
        frame.step,
    )


def _objective(frame: Frame) -> tuple[str, tuple[float, float] | None]:
    if frame.objective is None:
        return "psnr" if frame.enhancer else "", None
    return frame.objective.name, (frame.objective.plain, frame.objective.enhanced)


def verify(
    array: np.ndarray,
    blob: bytes,
    *,
    fill_value: Number | Iterable[Number] | None = None,
    threads: int | None = None,
    references: Sequence[np.ndarray] = (),
    model: Model | None = None,
) -> Verification:
    """Decode ``blob``, with its ``references`` and ``model``, and compare it with ``array``, exactly.

    Raises InvalidArgumentError when shape or dtype differ, a DecodeError subclass for damaged bytes.
    """
    array = as_array(array)
    frame = Frame.of_bytes(blob)
    if array.shape != frame.shape or array.dtype != frame.dtype:
        raise InvalidArgumentError(
            f"the array is {array.dtype.str} {array.shape}, the frame's {frame.dtype.str} {frame.shape}"
        )
    if len(references) or not frame.references:
        frame.refer_to(references, model)
    report = frame.compare(array, fill_values_of(fill_value), threads=threads)
    return Verification(
        report.max_error,
        report.violations,
        report.first_violation,
        report.psnr,
        frame.raw_bytes / frame.compressed_bytes,
        not report.violations and report.psnr_floor >= frame.least_psnr,
    )


def tune(
    array: np.ndarray,
    *,
    psnr: float | None = None,
    ratio: float | None = None,
    max_error: float | None = None,
    effort: str = "balanced",
    threads: int | None = None,
    fill_value: Number | Iterable[Number] | None = None,
) -> Tuned:
    """The bound to give to `compress` for ``array`` where something else is what counts.

    ``psnr`` (dB) and ``max_error`` (the field's units): the loosest absolute bound that meets all of them
    that are named. ``ratio`` (raw / compressed bytes): the tightest that still has it, and meets the others.
    The figures of the result are those of the whole array, compressed and decoded with this ``effort``, and
    meet the targets: by at most 0.1 dB or 2 %, unless they leap from one eps to the next, as where another
    family becomes the best. An eps has three decimal digits. It takes a few times as long as `compress`.

    `lossless()` is the answer where only that will do, or where it has the ratio. Without valid values the
    PSNR is NaN, and met. Raises InvalidArgumentError without a target, or for one out of range;
    UnreachableTargetError, with the nearest figures, where no bound meets all; and what `compress` raises.
    """
    from lossyzip.bound_search import Targets, find_bound

    targets = Targets(psnr, ratio, max_error)
    fills = fill_values_of(fill_value)
    return find_bound(as_array(array), targets, effort=effort, threads=threads, fill_values=fills)


def as_array(array: Any) -> np.ndarray:
    return array if isinstance(array, np.ma.MaskedArray) else np.asarray(array)


def _with_fill(result: np.ndarray, frame: Frame) -> np.ndarray:
    if isinstance(result, np.ma.MaskedArray):
        result.fill_value = frame.fill_value
    return result


def fill_values_of(fill_value: Number | Iterable[Number] | None) -> tuple[Number, ...]:
    if fill_value is None:
        return ()
    try:
        values = np.atleast_1d(np.asarray(fill_value)).tolist()
        return tuple(value if isinstance(value, int) else float(value) for value in values)
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"fill values are numbers, not {fill_value!r}") from None
