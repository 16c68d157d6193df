"""``lossyzip compress``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lossyzip.cli import options
from lossyzip.errors import InvalidArgumentError

if TYPE_CHECKING:
    from lossyzip.bound import Bound


@click.command()
@click.argument("source", type=options.file_argument)
@options.output_option
@click.option(
    "-b",
    "--bound",
    "bounds",
    multiple=True,
    required=True,
    metavar="PATTERN=BOUND",
    help="abs:EPS, rel:R (of the field's range), pwrel:R (of each value), psnr:DB or lossless, for fields "
    "that match. May be repeated; the first that matches counts.",
)
@options.effort_option
@click.option("--idempotent", is_flag=True, help="Compressing again what was restored changes nothing.")
@click.option("--learned", is_flag=True, help="Fields of one shape help one another.")
@click.option(
    "--enhance",
    is_flag=True,
    help="Better values from a few percent more bytes, still within the bound, where that pays.",
)
@click.option(
    "--train-seconds",
    type=click.FloatRange(min=0),
    help="For --learned, in all; for --enhance, a field. Default: 60 for 100 MB.",
)
@click.option("--seed", default=0, show_default=True, help="For both: the same gives the same bytes.")
@options.threads_option
@options.force_option
@options.json_option
@options.quiet_option
def command(
    source: Path,
    output: Path,
    bounds: tuple[str, ...],
    effort: str,
    idempotent: bool,
    learned: bool,
    enhance: bool,
    train_seconds: float | None,
    seed: int,
    threads: int | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compress the fields of the HDF5 file SOURCE, each within its bound; keep all else.

    Example: lossyzip compress in.h5 -o out.h5 -b 'temperature=rel:1e-3' -b 'vel_*=abs:0.5'
    """
    chosen = _parse(bounds)
    from lossyzip.cli import table
    from lossyzip.io.hdf5 import compress_file

    with options.progress_bar(quiet) as progress:
        report = compress_file(
            source,
            output,
            chosen,
            effort=effort,
            idempotent=idempotent,
            threads=threads,
            force=force,
            learned=learned,
            enhance=enhance,
            train_seconds=train_seconds,
            seed=seed,
            progress=progress,
        )
    if not quiet:
        click.echo(table.as_json(report) if as_json else table.coded_table(report))


def _parse(bounds: tuple[str, ...]) -> dict[str, Bound]:
    from lossyzip.bound import parse

    chosen: dict[str, Bound] = {}
    for text in bounds:
        pattern, equals, bound = text.rpartition("=")
        if not (pattern and equals):
            raise InvalidArgumentError(
                f"bound {text!r} is not of the form PATTERN=BOUND, such as 'T*=rel:1e-3'"
            )
        chosen.setdefault(pattern, parse(bound))
    return chosen
