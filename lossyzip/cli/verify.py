"""``lossyzip verify``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lossyzip.cli import options
from lossyzip.cli.exits import FAILED


@click.command()
@click.argument("original", type=options.file_argument)
@click.argument("compressed", type=options.file_argument)
@options.model_option
@options.threads_option
@options.json_option
@options.quiet_option
def command(
    original: Path, compressed: Path, model: Path | None, threads: int | None, as_json: bool, quiet: bool
) -> None:
    """Check COMPRESSED against ORIGINAL: every field within its bound, everything else equal.

    Exits with 3 when that is not so.
    """
    from lossyzip.cli import table
    from lossyzip.io.verify import verify_file

    known = options.read_model(model)
    with options.progress_bar(quiet) as progress:
        report = verify_file(original, compressed, threads=threads, model=known, progress=progress)
    if not quiet:
        click.echo(table.as_json(report) if as_json else table.verified_table(report))
    if not report.passed:
        sys.exit(FAILED)
