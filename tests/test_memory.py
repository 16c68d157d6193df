"""Fields of two gigabytes go through files in half of that memory or less: one, and two of which one helps
the other."""

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


EACH = (256, 1024, 1024)  # float32: 1 GiB


def rough(start: int, stop: int) -> np.ndarray:
    values = slab(start, stop)
    return values + np.float32(0.02) * np.random.default_rng(start + 2).random(values.shape, np.float32)


def follows(start: int, stop: int) -> np.ndarray:
    """From the rough field, point by point, but for some noise."""
    values = rough(start, stop)
    noise = np.random.default_rng(start + 1).random(values.shape, np.float32)
    return values * values + np.float32(0.5) * values + np.float32(0.0005) * noise


@pytest.mark.slow
def test_two_fields_that_help_each_other(tmp_path):
    """What a process needs at most: scratch files are written and read, never mapped, so that no page of
    theirs counts."""
    pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
    original, compressed, back, few = (
        str(tmp_path / name) for name in ("original.h5", "compressed.h5", "back.h5", "few.h5")
    )
    step, makers = 16, {"rough": rough, "follows": follows}
    for path, planes in ((original, EACH[0]), (few, 2 * step)):
        with h5py.File(path, "w") as file:
            for name, make in makers.items():
                shape = (planes, *EACH[1:])
                dataset = file.create_dataset(name, shape, np.float32, chunks=(step, 256, 256))
                for start in range(0, planes, step):
                    dataset[start : start + step] = make(start, start + step)
    call = (
        "lz.compress_file({0!r}, {1!r}, {{'*': lz.relative({2})}}, learned=True, train_seconds=2, force=True)"
    )
    peak_of(call.format(few, compressed, REL))  # compiles, which takes 0.3 GB
    assert peak_of(call.format(original, compressed, REL)) < 1.3
    Path(original).unlink()
    with h5py.File(compressed) as file:
        assert file["follows"].attrs["lossyzip_references"] == '["rough"]'
    assert peak_of(f"lz.decompress_file({compressed!r}, {back!r})") < 1.0
    with h5py.File(back) as file:
        for name, make in makers.items():
            eps = REL * (4.03 if name == "rough" else 5.2)  # the range is at most that
            for start in range(0, EACH[0], step):
                decoded, wanted = file[name][start : start + step], make(start, start + step)
                assert np.abs(decoded.astype(np.float64) - wanted).max() <= eps
    Path(back).unlink()
