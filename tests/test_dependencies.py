"""What is not always needed: decoding goes without torch, and what cannot go without it says so."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import lossyzip as lz
from lossyzip.learned import device
from lossyzip.learned.training import train

ROOT = Path(__file__).parents[1]
FIELDS = {name: np.random.default_rng(k).standard_normal((20, 30, 40)) for k, name in enumerate("ab")}


@pytest.fixture
def no_torch(monkeypatch):
    """As if it were not installed."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        device.importlib.util, "find_spec", lambda name: None if name == "torch" else found(name)
    )


def test_training_says_what_it_needs(no_torch):
    a, b = FIELDS.values()
    bound = {"*": lz.relative(1e-2)}
    for call in (
        lambda: train(a, [b], 0.1),
        lambda: lz.compress_fields(FIELDS, bound, learned=True),
        lambda: lz.compress(a, lz.relative(1e-2), references=[b]),
    ):
        with pytest.raises(lz.MissingDependencyError, match=r"torch.*lossyzip\[learned\]"):
            call()
    assert lz.decompress_fields(lz.compress_fields(FIELDS, bound)).keys() == FIELDS.keys()


def test_the_command_line_says_so(tmp_path):
    with h5py.File(tmp_path / "in.h5", "w") as file:
        for name, values in FIELDS.items():
            file[name] = values
    program = (
        "import importlib.util as u, sys; f = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'torch' else f(name, *rest)\n"
        "sys.argv = ['lossyzip', 'compress', 'in.h5', '-o', 'out.h5', '-b', '*=rel:1e-2', '--learned']\n"
        "from lossyzip.cli import main; main()"
    )
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "lossyzip: training needs torch: pip install 'lossyzip[learned]'\n"
    assert [path.name for path in tmp_path.iterdir()] == ["in.h5"]
