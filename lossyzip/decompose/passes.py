"""One pass over the points of a lattice, static coding: in which order rows are coded, and by which kernels.

Every family is a sequence of passes. A pass predicts each of its points by a stencil, a linear
combination of reconstructed values, codes the difference in steps, and says for each code which
context cell it belongs to. Encoding and decoding differ only in where the code comes from.
docs/FORMAT.md, "Passes".
"""

from __future__ import annotations

import numpy as np

from lossyzip._jit import kernel
from lossyzip.decompose.band import SKEW, WAVE
from lossyzip.decompose.buffer import Buffer, Pass
from lossyzip.decompose.planes import decode_planes, encode_planes
from lossyzip.decompose.rows import Lattice, Quantizer
from lossyzip.decompose.wave import decode_wave, encode_wave
from lossyzip.entropy.stream import CodeStream
from lossyzip.entropy.tokens import OUTLIER, Symbols


def encode_passes(
    passes: tuple[Pass, ...],
    buffer: Buffer,
    rule: Quantizer,
    source: np.ndarray,
    symbols: Symbols,
    outliers: np.ndarray,
    cursor: np.ndarray,
) -> None:
    """Code the points of ``passes``; append to ``symbols`` and ``outliers``, arrays with room for all.

    A NaN in ``source`` is a value that nobody will look at: it gets code 0. The buffer receives
    what the decoder will see. ``cursor`` holds how many codes, outliers and large codes there are; when
    ``outliers`` is full its count goes on, which the caller checks.
    """
    encode = encode_planes if passes[0].around is None else encode_wave
    encode(passes, buffer, rule, source, symbols, outliers, cursor)


def decode_passes(
    passes: tuple[Pass, ...], buffer: Buffer, rule: Quantizer, codes: CodeStream, outliers: np.ndarray
) -> None:
    """Put what `encode_passes` put into ``buffer``; the codes come from ``codes``, whose cursor goes on.

    The cursor holds how many codes, outliers, words and extra bits are used up, and becomes negative in
    its last place when one of them ends too early.
    """
    decode = decode_planes if passes[0].around is None else decode_wave
    decode(passes, buffer, rule, codes, outliers)


def rows_in_turn(codes: np.ndarray, outliers: np.ndarray, lattice: Lattice) -> tuple[np.ndarray, np.ndarray]:
    """``codes`` and ``outliers`` of a pass coded side by side, in C order of the points."""
    place = np.empty(codes.size, np.int64)
    _places(lattice, place)
    in_turn = np.empty_like(codes)
    in_turn[place] = codes
    return in_turn, outliers[np.argsort(place[codes == OUTLIER])]


@kernel
def _places(lattice, place):
    """The number in C order of each point, in the order of `_encode_side_by_side`."""
    position = 0
    for t in range(lattice.nt):
        for first in range(0, lattice.nz, WAVE):
            planes = min(WAVE, lattice.nz - first)
            for step in range(lattice.ny + SKEW * (planes - 1)):
                for x in range(lattice.nx):
                    for j in range(planes):
                        y = step - SKEW * j
                        if 0 <= y < lattice.ny:
                            row = (t * lattice.nz + first + j) * lattice.ny + y
                            place[position] = row * lattice.nx + x
                            position += 1
