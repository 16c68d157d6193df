"""Outputs are complete or absent: overwriting, interrupts, a full disk."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from lossyzip.errors import InvalidArgumentError
from lossyzip.io.interrupt import Stop, interruptible
from lossyzip.io.output import Output, written_whole

FULL = 4 << 20  # bytes that a "full disk" takes


@pytest.fixture
def source(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A field, and more integers than a "full disk" takes."""
    path = tmp_path / "in.h5"
    with h5py.File(path, "w") as file:
        file["field"] = rng.standard_normal((64, 64, 64)).cumsum(0).astype(np.float32)
        file["integers"] = rng.integers(0, 1 << 60, FULL // 4)
    return path


def start(source: Path, target: Path, **options: object) -> subprocess.Popen[str]:
    arguments = ["compress", str(source), "-o", str(target), "-b", "*=rel:1e-3", "--force"]
    return subprocess.Popen(
        [sys.executable, "-m", "lossyzip", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        **options,  # type: ignore[call-overload]
    )


def test_output_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with written_whole(target, force=False) as output:
        output.write(memoryview(b"whole"))
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_keeps_the_old_file_and_leaves_no_debris(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")

    def write() -> None:
        with written_whole(target, force=True) as output:
            output.write(memoryview(b"new"))
            raise error

    with pytest.raises(error):
        write()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out"]


def test_an_existing_file_needs_force(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with pytest.raises(InvalidArgumentError, match="force"), written_whole(target, force=False):
        pass
    assert target.read_bytes() == b"old"


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with pytest.raises(InvalidArgumentError), written_whole(target, force=False):
        target.write_bytes(b"theirs")
    assert target.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["out"]


def test_links_and_permissions_survive(tmp_path: Path) -> None:
    target, link = tmp_path / "out", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    with written_whole(link, force=True) as output:
        output.write(memoryview(b"new"))
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("target", ["folder", "missing/out"])
def test_impossible_targets_are_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidArgumentError), written_whole(tmp_path / target, force=True):
        pass


def test_hdf5_never_sees_a_failing_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = Output(tmp_path / "out")
    output.write(memoryview(b"before"))
    with monkeypatch.context() as patch, open("/dev/full", "r+b", buffering=0) as full:
        patch.setattr(output, "_file", full)
        assert output.write(memoryview(b"after")) == 5
    assert output.write(memoryview(b"later")) == 5
    with pytest.raises(OSError, match="No space left"):
        output.sync()
    output.close()
    assert (tmp_path / "out").read_bytes() == b"before"


def test_an_interrupt_waits_for_the_work_to_clean_up() -> None:
    events = []

    def work(stop: Stop) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000):
                stop.check()
                time.sleep(0.01)
        finally:
            events.append("cleaned")

    with pytest.raises(KeyboardInterrupt):
        interruptible(work)
    assert events == ["cleaned"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_keeps_the_old_file_and_leaves_no_debris(source: Path, number: int) -> None:
    target = source.with_name("out.h5")
    target.write_bytes(b"old")
    process = start(source, target)
    while not list(source.parent.glob(".out.h5*")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == "lossyzip: interrupted; nothing was kept"
    assert target.read_bytes() == b"old"
    assert sorted(os.listdir(source.parent)) == ["in.h5", "out.h5"]


def test_a_full_disk_keeps_the_old_file_and_leaves_no_debris(source: Path) -> None:
    target = source.with_name("out.h5")
    target.write_bytes(b"old")
    process = start(
        source, target, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (FULL, FULL))
    )
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1  # and no crash in HDF5 at exit
    assert errors.count("\n") == 1
    assert "File too large" in errors
    assert target.read_bytes() == b"old"
    assert sorted(os.listdir(source.parent)) == ["in.h5", "out.h5"]
