"""What README.md shows is run as it stands there."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest

from lossyzip.cli import _VERBS
from lossyzip.version import VERSION

ROOT = Path(__file__).parents[1]
TRAINS = re.compile("train|model")  # examples that need torch
CAN_TRAIN = importlib.util.find_spec("torch") is not None
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(<!-- needs: run\.h5 -->\n)?```(\w+)\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder with the file that the examples are about."""
    z, y, x = np.meshgrid(*(np.linspace(0.0, 6.0, 16),) * 3, indexing="ij")
    with h5py.File(tmp_path / "run.h5", "w") as file:
        for name, values in {
            "temperature": 280 + np.sin(x) * y,
            "velocity_x": np.cos(y + z),
            "velocity_y": x * np.sin(z),
        }.items():
            file[name] = values.astype(np.float32)
        file["step"] = 7
        file["density"] = (1.0 + 0.1 * np.cos(x)).astype(np.float64)
    shutil.copy(tmp_path / "run.h5", tmp_path / "later.h5")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python_examples_run(folder):
    names: dict[str, object] = {}
    examples = [code for _, language, code in BLOCKS if language == "python"]
    assert len(examples) >= 4
    for code in examples:
        if TRAINS.search(code) and not CAN_TRAIN:
            continue
        exec(compile(code, "README.md", "exec"), names)
    with h5py.File(folder / "run.h5") as original, h5py.File(folder / "back.h5") as back:
        eps = 1e-3 * np.ptp(original["temperature"][()].astype(np.float64))
        assert np.abs(back["temperature"][()].astype(np.float64) - original["temperature"][()]).max() <= eps
        assert (back["density"][()] == original["density"][()]).all()


def test_shell_examples_run(folder):
    commands = [
        line
        for _, language, block in BLOCKS
        if language == "sh"
        for line in block.splitlines()
        if line.startswith("lossyzip ")
    ]
    assert len(commands) >= 4
    for command in commands:
        if TRAINS.search(command) and not CAN_TRAIN:
            continue
        arguments = [sys.executable, "-m", "lossyzip", *shlex.split(command)[1:]]
        done = subprocess.run(arguments, capture_output=True, text=True, env=_environment())
        assert done.returncode == 0, (command, done.stderr)
    with h5py.File(folder / "back.h5") as back:
        assert back["step"][()] == 7


@pytest.mark.parametrize("verb", _VERBS)
def test_every_verb_is_mentioned(verb):
    assert f"lossyzip {verb}" in README


def test_the_version_is_written_once():
    with open(ROOT / "pyproject.toml", "rb") as file:
        assert tomllib.load(file)["project"]["version"] == VERSION
    assert f"## {VERSION}" in (ROOT / "docs" / "CHANGELOG.md").read_text(encoding="utf-8")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
