"""Passes whose points look at those around them: the rows of one step of a band at a time, see band.py.

A row in which each value is predicted from those before it is a chain of dependent operations, in which the
processor would wait most of the time: so it is a chain of vectors across the planes of the band.
docs/FORMAT.md, "Order".
"""

from __future__ import annotations

import numpy as np

from lossyzip._jit import helper, inlined, lean
from lossyzip.decompose.band import (
    HALO,
    SKEW,
    WAVE,
    carry_planes,
    forget_planes,
    put_beside,
    put_natural,
    put_rows,
    put_volume_before,
)
from lossyzip.decompose.batch import (
    append_outliers,
    copy,
    fill,
    magnitudes_of,
    mark_outliers,
    quantize,
    reconstruct,
    reconstruct_zeros,
    take_outliers,
)
from lossyzip.decompose.buffer import Buffer, Pass
from lossyzip.decompose.chains import (
    codes_of_steps,
    quantize_chains,
    quantize_eight,
    quantize_wave,
    reconstruct_chains,
    reconstruct_eight,
    reconstruct_wave,
)
from lossyzip.decompose.lying_rows import (
    quantize_rows,
    reconstruct_rows,
    take_outliers_of_rows,
    transpose,
    transpose_back,
)
from lossyzip.decompose.rows import Quantizer, lattice_of
from lossyzip.decompose.schedule import (
    layout_of,
    parent_of,
    places_in,
    room_of,
    schedule_of,
)
from lossyzip.decompose.step import Place, find_cells, predict_step
from lossyzip.entropy.stream import CodeStream, begin_batch, decode_tokens
from lossyzip.entropy.tokens import (
    Symbols,
    append_tokens,
    codes_of_row,
    end_batch,
    largest_of,
)


def encode_wave(
    passes: tuple[Pass, ...],
    buffer: Buffer,
    rule: Quantizer,
    source: np.ndarray,
    symbols: Symbols,
    outliers: np.ndarray,
    cursor: np.ndarray,
) -> None:
    """As `passes.encode_passes`."""
    schedule, extent = schedule_of(passes, buffer.grid.part_size)
    _encode(
        *(*room_of(extent, buffer.values.dtype), source, buffer.values, buffer.magnitudes),
        *(schedule, rule, symbols, outliers, cursor),
    )


def decode_wave(
    passes: tuple[Pass, ...], buffer: Buffer, rule: Quantizer, codes: CodeStream, outliers: np.ndarray
) -> None:
    """As `passes.decode_passes`."""
    schedule, extent = schedule_of(passes, buffer.grid.part_size)
    _decode(
        *(*room_of(extent, buffer.values.dtype), buffer.values, buffer.magnitudes),
        *(schedule, rule, codes.coder, codes.extra, outliers, codes.cursor),
    )


@lean
def _encode(
    values,
    magnitudes,
    step,
    field,
    natural,
    sizes,
    schedule,
    quantizer,
    symbols,
    outliers,
    cursor,
):
    """Codes are those of ``field`` and go to ``symbols``."""
    blank = np.bool_(True)  # all magnitudes in the band's buffer are 0; as a literal it would be two types
    for k in range(len(schedule.numbers)):
        lattice, layout = lattice_of(schedule.numbers[k]), layout_of(schedule, k)
        parent, places = parent_of(schedule, k), places_in(schedule, k)
        ny, row = lattice.ny, layout.width * layout.lanes
        for t in range(lattice.nt):
            found = False  # in the band before: magnitudes other than 0
            for first in range(0, lattice.nz, layout.planes):
                planes = min(layout.planes, lattice.nz - first)
                _next_band(values, magnitudes, natural, sizes, lattice, layout, t, first, blank)
                blank, found = blank or not found, False
                for s in range(ny + SKEW * (planes - 1)):
                    j0, j1 = max(0, (s - ny + SKEW) // SKEW), min(planes, s // SKEW + 1)
                    if j0 >= j1:
                        continue
                    base = (s + HALO + SKEW * layout.history) * row + HALO * layout.lanes
                    place = Place(t, first, j0, j1, s - SKEW * j0, base)
                    if _encode_rows(
                        step,
                        place,
                        values,
                        magnitudes,
                        field,
                        natural,
                        sizes,
                        lattice,
                        layout,
                        parent,
                        places,
                        quantizer,
                        symbols,
                        outliers,
                        cursor,
                    ):
                        blank, found = False, True
                        _put_magnitudes(step, place, magnitudes, sizes, lattice, layout)
            if not blank:
                fill(magnitudes[: layout.size], np.uint8(0))
                blank = True


@lean
def _decode(
    values,
    magnitudes,
    step,
    natural,
    sizes,
    schedule,
    quantizer,
    coder,
    extra,
    outliers,
    cursor,
):
    """The reverse of `_encode`."""
    blank = np.bool_(True)  # all magnitudes in the band's buffer are 0; as a literal it would be two types
    for k in range(len(schedule.numbers)):
        lattice, layout = lattice_of(schedule.numbers[k]), layout_of(schedule, k)
        parent, places = parent_of(schedule, k), places_in(schedule, k)
        ny, row = lattice.ny, layout.width * layout.lanes
        for t in range(lattice.nt):
            found = False  # in the band before: magnitudes other than 0
            for first in range(0, lattice.nz, layout.planes):
                planes = min(layout.planes, lattice.nz - first)
                _next_band(values, magnitudes, natural, sizes, lattice, layout, t, first, blank)
                blank, found = blank or not found, False
                for s in range(ny + SKEW * (planes - 1)):
                    j0, j1 = max(0, (s - ny + SKEW) // SKEW), min(planes, s // SKEW + 1)
                    if j0 >= j1:
                        continue
                    base = (s + HALO + SKEW * layout.history) * row + HALO * layout.lanes
                    place = Place(t, first, j0, j1, s - SKEW * j0, base)
                    if _decode_rows(
                        step,
                        place,
                        values,
                        magnitudes,
                        natural,
                        sizes,
                        lattice,
                        layout,
                        parent,
                        places,
                        quantizer,
                        coder,
                        extra,
                        outliers,
                        cursor,
                    ):
                        blank, found = False, True
                        _put_magnitudes(step, place, magnitudes, sizes, lattice, layout)
            if not blank:
                fill(magnitudes[: layout.size], np.uint8(0))
                blank = True


@helper
def _next_band(values, magnitudes, natural, sizes, lattice, layout, t, first, blank):
    """Get the buffers of a band ready; ``blank``: that of magnitudes holds nothing but zeros."""
    if layout.tapped:
        if first > 0:
            carry_planes(values, layout, lattice)
        put_volume_before(values, layout, lattice, t, first, natural)
        if layout.beside:
            put_beside(values, layout, lattice, t, first, natural, layout.aside)
    if first > 0 and not blank:
        carry_planes(magnitudes, layout, lattice)
        forget_planes(magnitudes, layout)
    put_volume_before(magnitudes, layout, lattice, t, first, sizes)


@inlined
def _encode_rows(
    step,
    place,
    values,
    magnitudes,
    field,
    natural,
    sizes,
    lattice,
    layout,
    parent,
    places,
    quantizer,
    symbols,
    outliers,
    cursor,
):
    """Code the rows of a step; returns whether there are codes other than 0.

    What nothing predicts, or ``natural`` itself, lies in the field without gaps.
    """
    active, nx, at = place.j1 - place.j0, lattice.nx, cursor[0] + 1
    count = active * nx
    code, tokens = step.code[:count], symbols.tokens[at : at + count]
    if layout.tapped:
        predict_step(step, place, values, layout, places, lattice, quantizer.low)
        _take_wanted(step, place, field, lattice)
        bad = _quantize_step(step, count, active, places, quantizer)
        some = True
    else:
        bad, some = quantize_rows(step, place, field, natural, lattice, layout, quantizer)
        if some:
            transpose(step.code_rows, nx, active, code)
            if bad > 0:
                _take_wanted(step, place, field, lattice)
    if some:
        if bad > 0:
            append_outliers(code, step.wanted[:count], outliers, cursor)
        append_tokens(code, tokens, symbols.large, cursor)
    else:
        fill(tokens, np.uint8(0))
    some = end_batch(count, symbols, places.cell, cursor)
    if some:
        magnitudes_of(code, step.magnitude[:count])
        find_cells(step, place, magnitudes, sizes, layout, parent, places, lattice)
        copy(step.cell, symbols.cells[at : at + count])
    if layout.tapped:
        _put_values(step, place, values, natural, lattice, layout)
    return some


@inlined
def _decode_rows(
    step,
    place,
    values,
    magnitudes,
    natural,
    sizes,
    lattice,
    layout,
    parent,
    places,
    quantizer,
    coder,
    extra,
    outliers,
    cursor,
):
    """The reverse of `_encode_rows`."""
    active, nx = place.j1 - place.j0, lattice.nx
    count = active * nx
    token, code = step.token[:count], step.code[:count]
    some = begin_batch(places.cell, coder, extra, cursor)
    there = np.int64(0)
    if some:
        find_cells(step, place, magnitudes, sizes, layout, parent, places, lattice)
        decode_tokens(token, step.cell[:count], coder, cursor)
        there = codes_of_row(token, largest_of(token), code, extra, cursor)
        magnitudes_of(code, step.magnitude[:count])
        if there > 0:
            mark_outliers(token, step.magnitude[:count])
    elif layout.tapped:
        fill(code, np.int32(0))
    if layout.tapped:
        predict_step(step, place, values, layout, places, lattice, quantizer.low)
        _reconstruct_step(step, count, active, some, there, places, quantizer, outliers, cursor)
        _put_values(step, place, values, natural, lattice, layout)
    else:
        if some:
            transpose_back(code, nx, active, step.code_rows)
        reconstruct_rows(step, place, natural, lattice, layout, quantizer, some)
        if there > 0:
            take_outliers_of_rows(step, place, natural, lattice, outliers, cursor)
    return some


@inlined
def _put_values(step, place, values, natural, lattice, layout):
    recon = step.recon[: (place.j1 - place.j0) * lattice.nx]
    put_rows(values, recon, place.j0, place.j1, place.y0, place.base, layout, place.first, lattice)
    put_natural(natural, recon, place.t, place.first, place.j0, place.j1, place.y0, lattice)


@inlined
def _put_magnitudes(step, place, magnitudes, sizes, lattice, layout):
    magnitude = step.magnitude[: (place.j1 - place.j0) * lattice.nx]
    put_rows(magnitudes, magnitude, place.j0, place.j1, place.y0, place.base, layout, place.first, lattice)
    if layout.kept:  # where nothing is put they are 0
        put_natural(sizes, magnitude, place.t, place.first, place.j0, place.j1, place.y0, lattice)


@helper
def _take_wanted(step, place, field, lattice):
    """Fill the step's values to code from ``field``."""
    active = place.j1 - place.j0
    for k in range(active):
        start = lattice.origin + place.t * lattice.ft + (place.first + place.j0 + k) * lattice.fz
        source, target = np.uint64(start + (place.y0 - SKEW * k) * lattice.fy), np.uint64(k)
        for _ in range(lattice.nx):
            step.wanted[target] = field[source]
            target += np.uint64(active)
            source += np.uint64(lattice.fx)


@inlined
def _quantize_step(step, count, active, places, quantizer):
    """Fill the step's codes and what the decoder will see; returns how many outliers there are."""
    code, recon, wanted = step.code[:count], step.recon[:count], step.wanted[:count]
    if places.stencils.running_weights == 0:
        bad, _ = quantize(step.sums[:count], wanted, code, recon, quantizer)
    else:
        if active == WAVE:
            quantize_eight(step.sums[:count], wanted, step.steps[:count], recon, step.running, quantizer)
        else:
            quantize_wave(step, wanted, active, count, quantizer)
        if codes_of_steps(wanted, recon, step.steps[:count], code, quantizer):
            bad = 0
        else:
            bad = quantize_chains(step, wanted, active, code, quantizer)
    return bad


@inlined
def _reconstruct_step(step, count, active, some, there, places, quantizer, outliers, cursor):
    """The reverse of `_quantize_step`; ``some``: there are codes other than 0; ``there``: outliers."""
    token, code, recon, sums = step.token[:count], step.code[:count], step.recon[:count], step.sums[:count]
    if places.stencils.running_weights == 0:
        if some:
            reconstruct(sums, code, recon, quantizer)
        else:
            reconstruct_zeros(sums, recon, quantizer)
        if there > 0:
            take_outliers(token, recon, outliers, cursor)
    elif there == 0:
        if active == WAVE:
            reconstruct_eight(sums, code, recon, step.running, quantizer)
        else:
            reconstruct_wave(step, active, code, quantizer)
    else:
        take_outliers(token, recon, outliers, cursor)
        reconstruct_chains(step, active, token, code, quantizer)
