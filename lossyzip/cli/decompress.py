"""``lossyzip decompress``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lossyzip.cli import options
from lossyzip.cli.exits import CORRUPT


@click.command()
@click.argument("source", type=options.file_argument)
@options.output_option
@click.option(
    "--keep-going",
    is_flag=True,
    help="Restore what is whole; damaged fields are named, and stay as they are.",
)
@options.model_option
@click.option("--no-enhance", is_flag=True, help="Leave out enhancers; values are within the bound, too.")
@options.threads_option
@options.force_option
@options.json_option
@options.quiet_option
def command(
    source: Path,
    output: Path,
    keep_going: bool,
    model: Path | None,
    no_enhance: bool,
    threads: int | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Restore SOURCE, a file that `lossyzip compress` made."""
    from lossyzip.cli import table
    from lossyzip.io.hdf5 import decompress_file

    known = options.read_model(model)
    with options.progress_bar(quiet) as progress:
        report = decompress_file(
            source,
            output,
            threads=threads,
            force=force,
            keep_going=keep_going,
            model=known,
            enhance=not no_enhance,
            progress=progress,
        )
    if not quiet:
        click.echo(table.as_json(report) if as_json else table.restored_table(report))
    for where in report.damaged.values():
        click.echo(f"lossyzip: {where}", err=True)
    if report.damaged:
        sys.exit(CORRUPT)
