"""``lossyzip demo``."""

from __future__ import annotations

import contextlib
import importlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from lossyzip.cli import options
from lossyzip.cli.exits import FAILED


@click.command()
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), help="Leave the files in this new folder."
)
@click.option("--size", default=64, show_default=True, help="Points along an edge, a multiple of 4.")
@options.threads_option
def command(keep: Path | None, size: int, threads: int | None) -> None:
    """Make a small turbulent flow, compress it to a thousandth of each field's range, restore and verify."""
    from lossyzip.bound import relative
    from lossyzip.cli import table
    from lossyzip.errors import InvalidArgumentError
    from lossyzip.io.hdf5 import compress_file, decompress_file
    from lossyzip.io.verify import verify_file

    if size < 32 or size % 4:
        raise InvalidArgumentError(f"--size must be a multiple of 4 and at least 32, not {size}")
    with _folder(keep) as folder:
        original, compressed, restored = (folder / f"{name}.h5" for name in ("flow", "flow.lz", "restored"))
        click.echo(f"simulating {size}^3 points of decaying turbulence with a passive dye ...")
        _flow().write_hdf5(original, n=size)
        click.echo("compressing (the first time, kernels are compiled: about 20 s) ...\n")
        with options.progress_bar(quiet=False) as progress:
            report = compress_file(
                original, compressed, {"fields/*": relative(1e-3)}, threads=threads, progress=progress
            )
        click.echo(table.coded_table(report) + "\n")
        decompress_file(compressed, restored, threads=threads)
        verified = verify_file(original, compressed, threads=threads)
        click.echo(table.verified_table(verified))
        if keep is not None:
            click.echo(f"\nthe files are in {keep}")
    if not verified.passed:
        sys.exit(FAILED)


def _flow() -> Any:
    """The generator: a part of the installed package, but the folder datasets/ of a checkout."""
    try:
        return importlib.import_module("lossyzip.datasets.flow")
    except ModuleNotFoundError:
        return importlib.import_module("datasets.flow")


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="lossyzip-demo-") as name:
            yield Path(name)
    else:
        keep.mkdir(parents=True)
        yield keep
