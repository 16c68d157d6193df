"""What it costs to start: nothing is imported that is not needed, and compiled kernels are kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SLOWNESS = float(os.environ.get("LOSSYZIP_SLOWNESS", "3"))  # how much slower than at home a machine may be

REPORT = """
import sys, time
heavy = sorted({"numba", "llvmlite", "h5py", "torch", "zstandard"} & set(sys.modules))
print("\\nCOST", time.process_time(), *heavy)
"""
COMPRESS = """
import numpy as np, lossyzip as lz
array = np.sin(np.arange(262144.0) * 0.01).reshape(64, 64, 64).astype(np.float32)
assert lz.decompress(lz.compress(array, lz.relative(1e-3))).shape == array.shape
"""


def run(code: str, **environment: str) -> tuple[float, list[str]]:
    """CPU seconds (of all threads) and heavy imports of a fresh interpreter that runs ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", "import atexit\n" + code + REPORT],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    seconds, *heavy = done.stdout.split("COST")[1].split()
    return float(seconds), heavy


def command(*arguments: str) -> str:
    return f"""
import sys
sys.argv = ["lossyzip", *{arguments!r}]
from lossyzip.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.mark.parametrize(
    "code",
    ["import lossyzip", command("--help"), command("--version")],
    ids=["import", "--help", "--version"],
)
def test_starting_imports_nothing_heavy_and_is_quick(code):
    seconds, heavy = run(code)
    assert heavy == []
    assert seconds < 0.2 * SLOWNESS


def test_bounds_and_errors_need_no_numpy_kernels():
    _, heavy = run("import lossyzip as lz\nlz.relative(1e-3), lz.absolute(0.5), lz.CorruptError")
    assert heavy == []


def test_looking_into_a_frame_compiles_nothing():
    import lossyzip as lz

    blob = lz.compress(__import__("numpy").zeros((4, 5)), lz.absolute(1.0))
    seconds, heavy = run(f"import lossyzip as lz\nprint(lz.inspect({blob!r}))")
    assert "numba" not in heavy
    assert seconds < 0.5 * SLOWNESS


def test_a_warm_compress_is_quick():
    run(COMPRESS)
    assert run(COMPRESS)[0] < 2.0 * SLOWNESS


@pytest.mark.parametrize("collecting", [True, False])
def test_compiling_leaves_the_garbage_collector_as_it_was(collecting):
    import gc

    import numba

    import lossyzip._jit  # noqa: F401

    seen = []

    def twice(x):
        return 2 * x

    twice.__module__ = "lossyzip.test"
    compiled = numba.njit(twice)
    infer = compiled._compiler._compile_core
    compiled._compiler._compile_core = lambda *args: (seen.append(gc.isenabled()), infer(*args))[1]
    try:
        if not collecting:
            gc.disable()
        assert compiled(4) == 8
        assert gc.isenabled() == collecting
    finally:
        gc.enable()
    assert seen == [False]


@pytest.mark.slow
def test_the_first_run_compiles_in_time(tmp_path):
    assert run(COMPRESS, NUMBA_CACHE_DIR=str(tmp_path))[0] < 25.0 * SLOWNESS
    assert run(COMPRESS, NUMBA_CACHE_DIR=str(tmp_path))[0] < 2.0 * SLOWNESS  # what it compiled was kept
