"""A field of two gigabytes goes through files in less than half of that memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
SHAPE = (512, 1024, 1024)  # float32: 2 GiB
REL = 1e-3
PEAK = """
import resource, sys
import lossyzip as lz
{code}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(peak, resource.getrusage(resource.RUSAGE_SELF).ru_utime)
"""


def slab(start: int, stop: int) -> np.ndarray:
    """A few planes of a smooth field with a little noise; the same whenever it is asked for."""
    z, y, x = (
        np.arange(start, stop)[:, None, None] * 0.02,
        np.arange(SHAPE[1])[:, None] * 0.01,
        np.arange(SHAPE[2]),
    )
    values = (np.sin(z + 3 * np.cos(y)) + np.cos(0.007 * x + z)).astype(np.float32)
    return values + 0.002 * np.random.default_rng(start).random(values.shape, np.float32)


def peak_of(code: str) -> float:
    """Gigabytes that a fresh process which runs ``code`` needs at most."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK.format(code=code)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    peak, seconds = map(float, done.stdout.split()[-2:])
    print(f"{code}: {peak / 1e9:.3f} GB, {seconds:.0f} s CPU")
    return peak / 1e9


@pytest.mark.slow
def test_two_gigabytes_in_less_than_one(tmp_path):
    original, compressed, back = (
        str(tmp_path / name) for name in ("original.h5", "compressed.h5", "back.h5")
    )
    step = 16
    with h5py.File(original, "w") as file:
        dataset = file.create_dataset("field", SHAPE, np.float32, chunks=(step, 256, 256))
        for start in range(0, SHAPE[0], step):
            dataset[start : start + step] = slab(start, start + step)
    assert peak_of(f"lz.compress_file({original!r}, {compressed!r}, {{'field': lz.relative({REL})}})") < 1.0
    Path(original).unlink()
    assert peak_of(f"lz.decompress_file({compressed!r}, {back!r})") < 1.0
    assert Path(compressed).stat().st_size < 0.5 * Path(back).stat().st_size
    Path(compressed).unlink()
    with h5py.File(back) as file:
        for start in range(0, SHAPE[0], step):
            error = np.abs(file["field"][start : start + step].astype(np.float64) - slab(start, start + step))
            assert error.max() <= REL * 4.002  # the range is at most that
    Path(back).unlink()
