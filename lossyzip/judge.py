"""About how many bytes a field takes with one plan or another: blocks of it are coded, or mixed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from lossyzip.blocks import Block
from lossyzip.decompose.families import (
    Codes,
    Plan,
    decompose,
    estimated_size,
    mix,
    used_guides,
    write_plan,
)
from lossyzip.decompose.lattice import Lattice
from lossyzip.decompose.rows import Quantizer
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.entropy import lossless
from lossyzip.threads import results_of

_GUIDE_BYTES = 16  # that a guide takes in the header
Attempt = partial[tuple[float, Plan]]  # of a function that takes a judge


@dataclass(frozen=True)
class Judge:
    """Codes ``blocks`` of one shape with one plan after the other. ``served`` values are in the field;
    ``points`` of those of ``near`` are enough to fit a stencil that reads values before it. If ``brief``,
    only those stencils are fitted that serve most values; ``sparse`` ones are preferred to the best."""

    blocks: list[Block]
    near: list[Block]
    rule: Quantizer
    served: int
    points: int
    brief: bool = False
    sparse: bool = False

    @property
    def values(self) -> int:
        return sum(block.size for block in self.blocks)

    @property
    def scale(self) -> float:
        """How many times the sample's values the field has."""
        return self.served / self.values

    def size(self, plan: Plan) -> tuple[float, Plan]:
        """(about the bytes that the field takes with ``plan``, plan)."""
        shape = self.blocks[0].shape
        if isinstance(plan, Wavelet | Lattice):  # whose volumes are apart
            codes = [decompose(self.together, shape, plan, self.rule, guides=self.guides())]
        else:
            codes = [
                decompose(block.flat(), shape, plan, self.rule, guides=block.guides) for block in self.blocks
            ]
        return self.size_of(codes, plan), plan

    @cached_property
    def together(self) -> np.ndarray:
        """The values of all blocks, flat."""
        return np.concatenate([block.flat() for block in self.blocks])

    def guides(self) -> np.ndarray | None:
        """Those of all blocks."""
        found = [block.guides for block in self.blocks if block.guides is not None]
        return np.concatenate(found, axis=1) if found else None

    def size_of(self, codes: Sequence[Codes], plan: Plan) -> float:
        """The same, of all blocks' codes."""
        outliers = [code.outliers for code in codes if code.outliers is not None]
        if len(outliers) < len(codes):
            return math.inf
        sample = estimated_size(codes) + sum(array.nbytes for array in outliers)
        return sample * self.scale + _written(plan)

    def lossless_size(self) -> float:
        """About the bytes that the field takes without loss."""
        return self.scale * sum(len(lossless.pack(block.values)) for block in self.blocks)

    def mixed_size(self, plan: Plan, block: Block) -> float:
        """Bytes of one of the blocks, by mixed coding, if the plan's codes can be mixed."""
        codes = decompose(block.flat(), block.shape, plan, self.rule, guides=block.guides)
        if isinstance(plan, Lattice) and codes.outliers is not None:
            return float(len(codes.to_bytes()) + len(lossless.pack(codes.outliers)))
        mixed = mix(codes, block.shape, plan, self.rule, block.guides)
        share = _written(plan) * block.size / self.served
        size = math.inf if mixed is None else float(len(mixed.data) + len(lossless.pack(mixed.outliers)))
        return size + share


def judge_all(
    candidates: Sequence[Attempt], judge: Judge, threads: int, longest: Sequence[Attempt] = ()
) -> list[tuple[float, Plan]]:
    """What each of the candidates gives, in their order. Several threads begin with the ``longest`` ones."""
    jobs = [(float(candidate in longest), partial(candidate, judge)) for candidate in candidates]
    return results_of(jobs, threads)


def _written(plan: Plan) -> int:
    """Bytes of a plan, and of its guides, in the header."""
    return len(write_plan(plan)) + _GUIDE_BYTES * len(used_guides(plan))
