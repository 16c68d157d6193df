"""The command line: verbs, options, reports, exit codes, and how fast it starts."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import lossyzip as lz
from lossyzip import errors
from lossyzip.cli import exits, main

ROOT = Path(__file__).parents[1]
VERBS = ("compress", "decompress", "demo", "info", "train", "tune", "verify", "warmup")


@pytest.fixture
def source(tmp_path: Path, rng: np.random.Generator) -> Path:
    path = tmp_path / "in.h5"
    with h5py.File(path, "w") as file:
        field = rng.standard_normal((30, 40, 50)).cumsum(0).cumsum(1).astype(np.float32)
        file["temperature"] = field
        file["run/vel_x"] = field[::-1] * 10
        file["run/vel_y"] = field[:, ::-1].astype(np.float64)
        file["run/half"] = field[0] > 0
        file["steps"] = np.arange(10)
    return path


@pytest.fixture
def packed(source: Path, run) -> Path:
    path = source.with_name("packed.h5")
    assert run("compress", source, "-o", path, "-b", "temperature=rel:1e-3", "--quiet")[0] == 0
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """run(*arguments) -> (exit code, stdout, stderr), in this process."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lossyzip", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return call


def python(code: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_round_trip(source: Path, run) -> None:
    packed, back = source.with_name("packed.h5"), source.with_name("back.h5")
    code, out, err = run(
        "compress", source, "-o", packed, "-b", "temperature=rel:1e-3", "-b", "vel_*=abs:0.5"
    )
    assert (code, err) == (0, "")
    for word in ("field", "bound", "eps", "max error", "ratio", "MB/s", "rel:0.001", "abs:0.5", "run/vel_y"):
        assert word in out
    assert run("verify", source, packed)[0] == 0
    assert run("decompress", packed, "-o", back)[0] == 0
    with h5py.File(source) as a, h5py.File(back) as b:
        for name, eps in (("run/vel_x", 0.5), ("temperature", 1e-3 * np.ptp(a["temperature"][()]))):
            assert a[name].dtype == b[name].dtype
            assert np.abs(a[name][()].astype(np.float64) - b[name][()]).max() <= eps
        assert (a["steps"][()] == b["steps"][()]).all()
        assert (a["run/half"][()] == b["run/half"][()]).all()


@pytest.mark.parametrize("options", [["--idempotent"], ["--effort", "fast"]], ids=" ".join)
def test_compressing_restored_values_again_changes_nothing(source: Path, run, options: list[str]) -> None:
    first, back, again = (source.with_name(f"{name}.h5") for name in ("first", "back", "again"))
    arguments = ["-b", "*=abs:0.5", *options]
    assert run("compress", source, "-o", first, *arguments)[0] == 0
    lz.decompress_file(first, back)
    assert run("compress", back, "-o", again, *arguments)[0] == 0
    assert run("verify", back, again)[0] == 0
    assert "lattice" in run("info", first)[1]
    with h5py.File(first) as a, h5py.File(again) as b:
        for name in ("temperature", "run/vel_x", "run/vel_y"):
            values = [lz.decompress(file[name][()].tobytes()) for file in (a, b)]
            assert values[0].tobytes() == values[1].tobytes()


@pytest.mark.parametrize("effort", ["fast", "balanced", "max"])
def test_every_effort_keeps_the_bound(source: Path, run, effort: str) -> None:
    packed = source.with_name("packed.h5")
    assert run("compress", source, "-o", packed, "--effort", effort, "-b", "*=rel:1e-3")[0] == 0
    assert run("verify", source, packed)[0] == 0


def test_a_field_that_no_pattern_names_is_lossless_and_said(source: Path, run) -> None:
    packed = source.with_name("packed.h5")
    _, out, _ = run("compress", source, "-o", packed, "-b", "temperature=rel:1e-3")
    assert "no pattern names this field; it is kept lossless" in out
    back = source.with_name("back.h5")
    lz.decompress_file(packed, back)
    with h5py.File(source) as a, h5py.File(back) as b:
        assert a["run/vel_x"][()].tobytes() == b["run/vel_x"][()].tobytes()


def test_the_first_pattern_counts(source: Path, run) -> None:
    packed = source.with_name("packed.h5")
    _, out, _ = run("compress", source, "-o", packed, "--json", "-b", "run/vel_x=abs:1", "-b", "*=rel:1e-2")
    bounds = {row["name"]: row["bound"] for row in json.loads(out)["fields"]}
    assert bounds == {"run/vel_x": "abs:1.0", "run/vel_y": "rel:0.01", "temperature": "rel:0.01"}


def test_of_a_pattern_given_twice_the_first_counts(source: Path, run) -> None:
    target = source.with_name("out.h5")
    _, out, _ = run("compress", source, "-o", target, "--json", "-b", "*=abs:1", "-b", "*=lossless")
    assert {row["bound"] for row in json.loads(out)["fields"]} == {"abs:1.0"}


def test_tables_tell_the_sizes_of_files(source: Path, packed: Path, run) -> None:
    _, out, _ = run("decompress", packed, "-o", source.with_name("out.h5"))
    assert "3 fields: " in out
    assert "; file: " in out
    assert "no compressed fields" in run("info", source)[1]


def test_json(source: Path, packed: Path, run) -> None:
    target = source.with_name("out.h5")
    compressed = json.loads(run("compress", source, "-o", target, "-b", "*=rel:1e-3", "--json")[1])
    assert {row["name"] for row in compressed["fields"]} == {"temperature", "run/vel_x", "run/vel_y"}
    assert all(0 < row["max_error"] <= row["eps"] and row["ratio"] > 1 for row in compressed["fields"])
    assert {"steps", "run/half"} <= set(compressed["copied"])
    verified = json.loads(run("verify", source, packed, "--json")[1])
    assert verified["passed"]
    assert all(row["violations"] == 0 for row in verified["fields"])
    described = json.loads(run("info", packed, "--json")[1])
    assert {row["bound"] for row in described["fields"]} == {"rel:0.001", "lossless"}
    restored = json.loads(run("decompress", packed, "-o", target, "--force", "--json")[1])
    assert len(restored["fields"]) == 3


def test_quiet(source: Path, packed: Path, run) -> None:
    back = source.with_name("back.h5")
    assert run("decompress", packed, "-o", back, "--quiet") == (0, "", "")
    assert run("verify", source, packed, "--quiet") == (0, "", "")


def test_info_reads_bare_frames(tmp_path: Path, run) -> None:
    (tmp_path / "x.lz").write_bytes(lz.compress(np.linspace(0, 1, 1000), lz.absolute(1e-3)))
    code, out, _ = run("info", tmp_path / "x.lz")
    assert code == 0
    assert "abs:0.001" in out


# exit codes


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError("disk"), 1),
        (errors.InvalidArgumentError("x"), 2),
        (errors.BoundViolationError("x"), 3),
        (errors.CorruptError("x"), 4),
        (errors.UnsupportedDataError("x"), 5),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes_of_errors(error: BaseException, code: int) -> None:
    assert exits.code_of(error) == code


def test_usage_errors(source: Path, packed: Path, run) -> None:
    out = source.with_name("out.h5")
    assert run("compress", source, "-o", out)[0] == 2
    assert run("compress", source, "-o", out, "-b", "temperature")[0] == 2
    assert run("compress", source, "-o", out, "-b", "temperature=rel:x")[0] == 2
    assert run("compress", source, "-o", out, "-b", "*=rel:1", "--threads", "0")[0] == 2
    assert run("compress", source.with_name("none.h5"), "-o", out, "-b", "*=rel:1")[0] == 2
    assert run("no-such-verb")[0] == 2
    assert not out.exists()


def test_a_pattern_without_a_field_lists_the_fields(source: Path, run) -> None:
    code, out, err = run("compress", source, "-o", source.with_name("out.h5"), "-b", "tmeperature=rel:1e-3")
    assert (code, out) == (2, "")
    assert "tmeperature" in err
    assert "run/vel_x, run/vel_y, steps, temperature" in err


def test_output_is_never_overwritten_without_force(source: Path, packed: Path, run) -> None:
    before = packed.read_bytes()
    code, _, err = run("compress", source, "-o", packed, "-b", "*=rel:0.1")
    assert code == 2
    assert "--force" in err
    assert packed.read_bytes() == before
    assert run("compress", source, "-o", packed, "-b", "*=rel:0.1", "--force")[0] == 0
    assert packed.read_bytes() != before


def test_failed_verification(source: Path, packed: Path, run) -> None:
    with h5py.File(source, "r+") as file:
        file["temperature"][3, 4, 5] += 1e4
    code, out, _ = run("verify", source, packed)
    assert code == 3
    assert "FAILED" in out
    assert "(3, 4, 5)" in out


def test_a_changed_attribute_or_dataset_fails_verification(source: Path, packed: Path, run) -> None:
    with h5py.File(source, "r+") as file:
        file["steps"][3] = 77
        file["run"].attrs["author"] = "somebody"
    code, out, _ = run("verify", source, packed)
    assert code == 3
    assert "steps: values differ" in out
    assert "run: attribute author" in out


def test_corrupt_input_names_the_field(source: Path, packed: Path, run) -> None:
    with h5py.File(packed, "r+") as file:
        file["run/vel_x"][2000] ^= 1
    code, _, err = run("decompress", packed, "-o", source.with_name("back.h5"))
    assert code == 4
    assert "run/vel_x" in err
    assert not source.with_name("back.h5").exists()
    assert run("verify", source, packed)[0] == 3


def test_files_that_are_not_hdf5(tmp_path: Path, packed: Path, run) -> None:
    text, cut = tmp_path / "text.h5", tmp_path / "cut.h5"
    text.write_text("no HDF5 file at all")
    cut.write_bytes(packed.read_bytes()[:3000])
    for path in (text, cut):
        assert run("info", path)[0] == 4
        assert run("decompress", path, "-o", tmp_path / "back.h5")[0] == 4
        assert run("compress", path, "-o", tmp_path / "back.h5", "-b", "*=rel:1e-3")[0] == 4


def test_unsupported_data(source: Path, run) -> None:
    out = source.with_name("out.h5")
    code, _, err = run("compress", source, "-o", out, "-b", "run/half=rel:1e-3")
    assert code == 5
    assert "run/half" in err


def test_integers_are_compressed_by_name_alone(tmp_path: Path, run) -> None:
    path, packed, back = (tmp_path / name for name in ("in.h5", "packed.h5", "back.h5"))
    smooth = np.sin(np.linspace(0, 5, 40))[:, None] + np.cos(np.linspace(0, 7, 50))
    counts = np.rint(300 * smooth).astype(np.int32)
    with h5py.File(path, "w") as file:
        file["counts"], file["T"] = counts, smooth
    assert run("compress", path, "-o", packed, "-b", "*=rel:1e-3", "-b", "counts=abs:2")[0] == 0
    with h5py.File(packed) as file:
        assert np.array_equal(file["counts"], counts)
    assert run("compress", path, "-o", packed, "--force", "-b", "counts=abs:2", "-b", "*=rel:1e-3")[0] == 0
    assert run("verify", path, packed)[0] == run("decompress", packed, "-o", back)[0] == 0
    with h5py.File(back) as file:
        assert file["counts"].dtype == np.int32
        assert 0 < np.abs(file["counts"][...] - counts).max() <= 2


def test_errors_are_one_line_unless_debugging(source: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("compress", source, "-o", source.with_name("out.h5"), "-b", "run/half=rel:1e-3")
    assert run(*arguments)[2].count("\n") == 1
    monkeypatch.setenv("LOSSYZIP_DEBUG", "1")
    assert "Traceback" in run(*arguments)[2]


# start, progress, documentation


def test_help_is_light() -> None:
    done = python(
        "import sys\n"
        "from lossyzip.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'numba', 'h5py', 'numpy', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert done.returncode == 0, done.stderr
    assert (
        "compress"
        in python(
            "import sys; sys.argv = ['lossyzip', '--help']; from lossyzip.cli import main; main()"
        ).stdout
    )


def test_models(source: Path, run) -> None:
    pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
    model, packed, back = (source.with_name(name) for name in ("run.lzm", "packed.h5", "back.h5"))
    rough = np.random.default_rng(0).standard_normal((30, 40, 50)).astype(np.float32)
    with h5py.File(source, "a") as file:
        file["rough"], file["twice"] = rough, np.sin(2 * rough)
    train = (
        "train",
        source,
        source,
        "-o",
        model,
        "-b",
        "rough=rel:1e-3",
        "-b",
        "twice=rel:1e-3",
        "--train-seconds",
        0.5,
    )
    code, out, err = run(*train)
    assert (code, err) == (0, "")
    assert "networks in" in out
    told = json.loads(run(*train, "--force", "--json")[1])
    assert {"rough", "twice"} & {target["name"] for target in told["targets"]}
    assert "exists" in run(*train)[2]
    described = json.loads(run("info", model, "--json")[1])
    assert described == {**told, "alone": []}
    compress = ("compress", source, "-o", packed, "-b", "*=rel:1e-3", "--force")
    assert f"needs the model {told['model']}" in run(*compress, "--model", model)[1]
    assert f"needs the model {told['model']}" in run("info", packed)[1]
    assert run("verify", source, packed, "--model", model)[0] == 0
    assert run("verify", source, packed)[0] == 3
    code, _, err = run("decompress", packed, "-o", back)
    assert code == 4
    assert told["model"] in err
    assert "--model" in err
    assert run("decompress", packed, "-o", back, "--model", model)[0] == 0
    assert run("decompress", packed, "-o", back, "--model", packed, "--force")[0] == 4
    assert run(*compress, "--model", model, "--embed-model")[0] == 0
    assert run("verify", source, packed)[0] == 0
    assert run(*compress, "--embed-model")[0] == 2
    assert run(*compress, "--model", model, "--learned")[0] == 2


def test_info_does_not_import_numba(packed: Path) -> None:
    code = (
        f"import sys; sys.argv = ['lossyzip', 'info', {str(packed)!r}]\n"
        "from lossyzip.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert 'numba' not in sys.modules"
    )
    assert python(code).returncode == 0


def test_progress_is_for_terminals(source: Path) -> None:
    command = [sys.executable, "-m", "lossyzip", "compress", source, "-b", "*=rel:1e-3", "--force", "-o"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"}
    piped = subprocess.run(
        [*command, source.with_name("a.h5")], capture_output=True, env=environment, check=True
    )
    assert piped.stderr == b""
    terminal, end = pty.openpty()
    shown = subprocess.run(
        [*command, source.with_name("b.h5")], stdout=subprocess.PIPE, stderr=end, env=environment, check=True
    )
    os.close(end)
    drawn = os.read(terminal, 1 << 16)
    os.close(terminal)
    assert b"#" in drawn
    assert b"None" not in drawn
    assert b"#" not in shown.stdout


def test_demo(tmp_path: Path, run) -> None:
    code, out, _ = run("demo", "--size", "32", "--keep", tmp_path / "kept")
    assert code == 0
    assert "fields/scalar" in out
    assert len(list((tmp_path / "kept").iterdir())) == 3


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_are_documented(verb: str, run) -> None:
    code, out, _ = run(verb, "--help")
    assert code == 0
    assert out
    assert f"lossyzip {verb}" in (ROOT / "README.md").read_text()
