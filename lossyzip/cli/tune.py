"""``lossyzip tune``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lossyzip.cli import options
from lossyzip.cli.exits import ERROR


@click.command()
@click.argument("source", type=options.file_argument)
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="PATTERN",
    help="Fields that match. May be repeated. Default: all fields, but integers.",
)
@click.option("--psnr", type=float, metavar="DB", help="At least this PSNR, 20 log10(range / rmse).")
@click.option("--ratio", type=float, help="At least this ratio of raw to compressed bytes.")
@click.option("--max-error", type=float, metavar="E", help="No error larger than this, in a field's units.")
@options.effort_option
@options.threads_option
@options.json_option
@options.quiet_option
def command(
    source: Path,
    fields: tuple[str, ...],
    psnr: float | None,
    ratio: float | None,
    max_error: float | None,
    effort: str,
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find the bounds that make fields of the HDF5 file SOURCE meet a PSNR, a ratio or a largest error.

    For --psnr and --max-error it is the loosest bound that meets all that are given; with --ratio
    it is the tightest that still has it. The figures are those of the whole field, compressed and
    decoded with this --effort. Exits with 1 when there is no such bound for a field. Nothing is written.

    Example: lossyzip tune run.h5 --field 'T*' --psnr 60
    """
    from lossyzip.bound_search import Targets
    from lossyzip.cli import table
    from lossyzip.io.tune import tune_file

    targets = Targets(psnr, ratio, max_error)
    with options.progress_bar(quiet) as progress:
        report = tune_file(
            source, fields or ("*",), targets, effort=effort, threads=threads, progress=progress
        )
    if not quiet:
        click.echo(table.as_json(report) if as_json else table.tuned_table(report))
    for why in report.unmet.values():
        click.echo(f"lossyzip: {why}", err=True)
    if report.unmet:
        sys.exit(ERROR)
