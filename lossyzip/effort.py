"""How long to look for a plan. For the encoder alone, never part of the format."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

USUAL_STEP, FINE_STEP = 48, 35  # of the wavelet, in sixteenths of eps
_FEW_BITS, _FEW_BITS_OF_A_ROW = 0.3, 1.5  # a value; a row has no other beside it, to be a context
_RARE = 1 / 128  # of all codes: where fewer are not 0, mixing with flags takes little beside all else
MANY = 1 << 20  # values, from which on it matters how long each takes


class Mixing(NamedTuple):
    """When the codes of a tile are mixed, if that is smaller: below so many bits a value; and with flags,
    which is fast, where a smaller part of them is not 0."""

    below: float = 0.0
    rare: float = 0.0


NO_MIXING = Mixing()


@dataclass(frozen=True)
class Effort:
    """How long to look.

    Every candidate is tried on about ``scouted`` values, if there are many more; then those that came
    close to the best, and the best of each family, if it came within ``leeway``, on ``blocks`` blocks of
    up to ``block`` values each, or on the whole field where that is no more. A stencil is fitted to
    ``scout_points``, then to ``points`` values. Codes of tiles
    of up to ``mixed`` values are mixed, where that makes them worth it, and plans judged by that; those of
    fields of one tile of up to ``mixed_if_few`` values where they take next to nothing, or little if it is
    one row, which is where mixing may halve it; and those of any tile of which less than the part
    ``mixed_if_rare`` is not 0.
    If ``brief``, smaller fields than MANY values are not scouted: all candidates are tried on the blocks.
    Others are scouted with those stencils fitted alone that serve most values, and with one step of the
    wavelet, whose rate says which of ``steps`` is tried on.
    """

    scouted: int
    scout_points: int
    leeway: float
    block: int
    blocks: int
    points: int
    mixed: int
    steps: tuple[int, ...] = (USUAL_STEP,)  # of the wavelet
    brief: bool = False
    lattice: bool = False  # no other family is looked at
    tile_bytes: int = 1 << 23  # of floats, at most
    mixed_if_few: int = 0
    mixed_if_rare: float = 0.0
    bases: bool = False  # are looked for: base.py
    times: float = 1.0  # as many values are in the field that weights are to pay their way in

    def mixes(self, tile_shape: tuple[int, ...]) -> bool:
        """Whether tiles of this shape are to be mixed."""
        return math.prod(tile_shape) <= self.mixed

    def mixing(self, shape: tuple[int, ...], tile_shape: tuple[int, ...]) -> Mixing:
        """When tiles of this shape, of a field of ``shape``, are to be mixed."""
        few = shape == tile_shape and math.prod(shape) <= self.mixed_if_few
        bits = _FEW_BITS_OF_A_ROW if math.prod(shape) == max(shape, default=1) else _FEW_BITS
        below = math.inf if self.mixes(tile_shape) else bits if few else 0.0
        return Mixing(below, self.mixed_if_rare)


_STEPS = (FINE_STEP, USUAL_STEP)
EFFORTS = {
    "fast": Effort(1 << 15, 2_000, 1.1, 1 << 14, 4, 4_000, mixed=0, lattice=True),
    "balanced": Effort(
        *(1 << 15, 2_000, 1.2, 1 << 16, 4, 3_000),
        mixed=1 << 18,
        steps=_STEPS,
        brief=True,
        mixed_if_few=1 << 21,
        mixed_if_rare=_RARE,
        bases=True,
    ),
    "max": Effort(
        *(1 << 17, 10_000, 1.5, 1 << 18, 4, 25_000),
        mixed=1 << 62,
        steps=(*_STEPS, 64),
        tile_bytes=1 << 24,
        mixed_if_rare=_RARE,
        bases=True,
    ),
}
ROUGH = Effort(1 << 15, 2_000, 1.2, 1 << 16, 4, 3_000, mixed=1 << 62)  # to compare fields' sizes alone
