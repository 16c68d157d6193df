"""The decoder fed bytes that a fuzzer makes (libFuzzer, through atheris).

pip install -e '.[fuzz]'
NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=FOLDER python tests/fuzz.py CORPUS -keep_seed=1 -runs=1000000

CORPUS is a folder; small frames of all kinds are put into it if it is empty. With NUMBA_BOUNDSCHECK a kernel
that reaches outside its arrays raises an IndexError (machine code is kept apart, in NUMBA_CACHE_DIR). What is
Python is watched, so that the fuzzer knows what is new. So are kernels with NUMBA_DISABLE_JIT=1 -timeout=120,
which is slow; what that adds to CORPUS is of use later with -keep_seed=1. Results: docs/GUARANTEES.md.
`python tests/fuzz.py FILE` repeats what was found.
"""

from __future__ import annotations

import hashlib
import math
import os
import random
import sys
import types
import warnings
from pathlib import Path

import atheris
import mutator
import numpy as np
import pytest
from plans import FAMILIES, MIXED, NO_MIXING, WAYS, frame_with, random_plan
from small_frames import ARCHIVE, FRAMES

import lossyzip as lz
from lossyzip.container import archive
from lossyzip.decompose.fold import distinct_folds
from lossyzip.entropy import stream

LIMITS = ["-timeout=20", "-rss_limit_mb=4096", "-max_len=16384", "-len_control=0"]
GOLDEN = Path(__file__).parent / "golden"
INTERPRETED = bool(os.environ.get("NUMBA_DISABLE_JIT"))
FEW_VALUES = 400  # of a frame, where kernels are interpreted: each takes a tenth of a millisecond
SHAPES = [(), (7,), (1, 70), (9, 30), (10, 11, 5), (3, 9, 6, 5), (2, 2, 17, 3, 4)]


def main() -> None:
    seeds = [*FRAMES.values(), ARCHIVE, *(path.read_bytes() for path in sorted(GOLDEN.glob("*.lz*")))]
    seeds += planned_frames()
    if INTERPRETED:
        mutator.MOST_VALUES = FEW_VALUES
        seeds = [seed for seed in seeds if values_of(seed) <= FEW_VALUES]
    corpus = Path(sys.argv[1])
    if corpus.is_dir() and not any(corpus.iterdir()):
        for seed in seeds:
            (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    for seed in seeds:  # compiles what decodes
        mutator.read(seed)
    watch()

    def change(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        own = None if rng.random() < 0.5 else (lambda some: atheris.Mutate(some, len(some) + 32))
        changed = mutator.mutate(data, rng, seeds, own)
        return changed if len(changed) <= most else data

    atheris.Setup([sys.argv[0], *LIMITS, *sys.argv[1:]], mutator.read, custom_mutator=change)
    atheris.Fuzz()


def values_of(seed: bytes) -> int:
    frames = archive.unpack_archive(seed).values() if seed[:4] == archive.MAGIC else [seed]
    return sum(math.prod(lz.inspect(bytes(frame)).shape) for frame in frames)


def planned_frames() -> list[bytes]:
    """Frames of every family and fold with all kinds of weights, mixed codes, eight states for few codes."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for number, family in enumerate(FAMILIES * 14):
            rng = np.random.default_rng(number)
            shape = SHAPES[number // 4 % 7]
            array = np.cumsum(rng.standard_normal(shape), axis=-1) if shape else rng.standard_normal(shape)
            array = array.astype("<f4" if number % 3 else "<f8")
            array.flat[:: 7 + number] *= 1e9
            patch.setattr(stream, "_FEW_WORDS", rng.choice([0, 2048]))
            folds = distinct_folds(shape)
            plan = random_plan(family, shape, folds[number % len(folds)], number)
            eps, mixing = float(rng.choice([0.01, 0.3, 5.0])), (*WAYS, MIXED, NO_MIXING)[number % 5]
            found.append(frame_with(array, eps, plan, mixing))
    return found


def watch() -> None:
    """Let the fuzzer see which lines of lossyzip are reached; those of compiled kernels cannot be seen."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] != "lossyzip":
            continue
        for thing in list(vars(module).values()):
            members = vars(thing).values() if isinstance(thing, type) else [thing]
            for member in members:
                if hasattr(member, "py_func"):  # a kernel: a signature that no seed has may be compiled yet
                    continue
                function = getattr(member, "__func__", getattr(member, "fget", None)) or member
                function = getattr(function, "__wrapped__", function)
                if isinstance(function, types.FunctionType) and function.__module__ == name:
                    atheris.instrument_func(function)


if __name__ == "__main__":
    if not INTERPRETED:
        warnings.simplefilter(
            "error", RuntimeWarning
        )  # interpreted kernels warn of what compiled ones may do
    main()
