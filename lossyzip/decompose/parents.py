"""The magnitudes that a band of coefficients expects: those at the same places of the next coarser band.

docs/FORMAT.md, "Wavelet".
"""

from __future__ import annotations

from typing import NamedTuple

from lossyzip._jit import lean, merged


class Parent(NamedTuple):
    """A box of the buffer, as long as the band along t and z."""

    base: int  # of its first point
    ny: int
    nx: int


@merged
def parents_of_row(parent, lattice, t, z, y):
    """Where those of the band's row (t, z, y) lie; that of x: x >> `parent_shift`, or the last one."""
    above = min(y >> 1, parent.ny - 1) if lattice.ny > parent.ny else min(y, parent.ny - 1)
    return parent.base + t * lattice.st + z * lattice.sz + above * lattice.sy


@merged
def parent_shift(parent, lattice):
    """1 where the band has more columns than its parent, else 0."""
    return 1 if lattice.nx > parent.nx else 0


@lean
def magnify(magnitudes, parent, lattice, aside):
    """Put what is expected of all points of a band ``aside`` from their own magnitudes."""
    shift, last = parent_shift(parent, lattice), parent.nx - 1
    for t in range(lattice.nt):
        for z in range(lattice.nz):
            for y in range(lattice.ny):
                source = parents_of_row(parent, lattice, t, z, y)
                start = lattice.base + aside + t * lattice.st + z * lattice.sz + y * lattice.sy
                row = magnitudes[start : start + lattice.nx]
                for x in range(lattice.nx):
                    row[x] = magnitudes[source + min(x >> shift, last)]
