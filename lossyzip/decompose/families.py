"""The families of decomposition: array -> codes and outliers, and back. One more family is one more entry.

A plan is what a family needs to know beside the quantizer: it is made by tuning, written in the
header, and the same for all tiles of a field.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossyzip.decompose import interpolation, lattice, regression, wavelet
from lossyzip.decompose.buffer import Buffer, Pass
from lossyzip.decompose.interpolation import Multigrid
from lossyzip.decompose.lattice import Lattice
from lossyzip.decompose.regression import Raster
from lossyzip.decompose.rows import CELL_OF_ACTIVITY, CELLS, Quantizer, decode_pass, encode_pass
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.entropy.bits import BitReader, BitWriter
from lossyzip.entropy.stream import CodeStream, encode_codes, estimated_size

Plan = Multigrid | Raster | Wavelet | Lattice
# Families of passes, which `encode_pass` and `decode_pass` go through; the lattice has kernels of its own.
_FAMILIES: dict[str, Any] = {Multigrid.name: interpolation, Raster.name: regression, Wavelet.name: wavelet}


@dataclass(frozen=True)
class Codes:
    """A tile, decomposed: ``codes`` and their ``cells`` in the order of decoding; ``outliers`` in that order.

    ``outliers`` is None when there were more than a quarter of all values: this is not worth it.
    """

    codes: np.ndarray
    cells: np.ndarray
    outliers: np.ndarray | None
    groups: int

    def to_bytes(self) -> bytes:
        """The codes; the outliers are stored beside them."""
        return encode_codes(self.codes, self.cells, self.groups, CELLS)

    def estimated_size(self) -> float:
        """About how many bytes that makes."""
        return estimated_size(self.codes, self.cells, self.groups, CELLS)


def write_plan(plan: Plan) -> bytes:
    writer = BitWriter()
    plan.write(writer)
    return writer.finish()


def read_plan(family: str, data: bytes) -> Plan:
    """Raises DecodeError when ``data`` is no plan of ``family``."""
    reader = BitReader(data)
    kinds: dict[str, type[Plan]] = {kind.name: kind for kind in (Multigrid, Raster, Wavelet, Lattice)}
    return kinds[family].read(reader)


def quantizer(dtype: np.dtype, eps: float, low: float, high: float) -> Quantizer | None:
    """The quantizer for a field of ``dtype`` whose coded values span ``low`` to ``high``.

    Its step is an ulp or so short of 2 eps, so that rounding a reconstructed value to the field's dtype
    does not carry it over the bound. None when eps is too small for the dtype's arithmetic.
    """
    number = dtype.type
    largest = number(np.finfo(dtype).max / 64)
    with np.errstate(over="ignore"):
        rounded = number(min(eps, float(largest)))
    if float(rounded) > eps:
        rounded = np.nextafter(rounded, number(0))
    margin = np.spacing(number(max(abs(low), abs(high))))
    step = number(2) * (rounded - margin) if rounded > number(8) * margin else number(2) * rounded
    if not step > np.finfo(dtype).tiny:
        return None
    return Quantizer(step, number(1) / step, rounded, number(low), number(high))


def decompose(
    coded: np.ndarray,
    shape: tuple[int, ...],
    plan: Plan,
    quantizer: Quantizer,
    fitter: interpolation.Fitter | None = None,
) -> Codes:
    """Codes of the flat array ``coded`` (native order, NaN where nobody will look), a tile of ``shape``."""
    if isinstance(plan, Lattice):
        codes, cells, outliers = lattice.decompose(coded, shape, plan, quantizer)
        return Codes(codes, cells, outliers, lattice.GROUPS)
    family = _FAMILIES[plan.name]
    codes = np.empty(coded.size * family.CODES, np.int32)
    cells = np.empty(coded.size * family.CODES, np.uint8)
    outliers = np.empty(coded.size // 4 + 1, coded.dtype)
    cursor = np.zeros(5, np.int64)

    def visit(buffer: Buffer, here: Pass) -> None:
        encode_pass(
            here.source,
            buffer.values,
            buffer.magnitudes,
            here.lattice,
            here.stencils,
            here.contexts,
            here.rule,
            CELL_OF_ACTIVITY,
            codes,
            cells,
            outliers,
            cursor,
        )

    family.sweep(plan, shape, quantizer, visit, coded, fitter)
    count = int(cursor[1])
    return Codes(codes, cells, outliers[:count].copy() if count <= outliers.size else None, family.GROUPS)


def lossless_stand_in(values: np.ndarray, coded: np.ndarray, plan: Plan, quantizer: Quantizer) -> np.ndarray:
    """What to store where a tile of ``values`` is better stored as it is: for most families just that.

    A lattice moves each value as it does everywhere: what becomes of it must not depend on the tile it is in.
    ``coded`` are the values that `decompose` was given.
    """
    return lattice.snapped(values, coded, quantizer) if isinstance(plan, Lattice) else values


def recompose(
    data: bytes, outliers: np.ndarray, shape: tuple[int, ...], plan: Plan, quantizer: Quantizer
) -> np.ndarray:
    """The tile of ``shape`` whose codes are ``data``. Raises DecodeError when they are not just that."""
    if isinstance(plan, Lattice):
        stream = CodeStream(data, lattice.GROUPS, CELLS)
        values = lattice.recompose(stream, outliers, shape, plan, quantizer)
        stream.check_used_up(values.size, outliers.size)
        return values
    family = _FAMILIES[plan.name]
    stream = CodeStream(data, family.GROUPS, CELLS)

    def visit(buffer: Buffer, here: Pass) -> None:
        decode_pass(
            buffer.values,
            buffer.magnitudes,
            here.lattice,
            here.stencils,
            here.contexts,
            here.rule,
            CELL_OF_ACTIVITY,
            stream.coder,
            stream.extra,
            outliers,
            stream.cursor,
        )

    values = family.sweep(plan, shape, quantizer, visit)
    stream.check_used_up(math.prod(shape) * family.CODES, outliers.size)
    return np.ascontiguousarray(values).reshape(shape)
