"""``lossyzip compress``."""

from __future__ import annotations

from pathlib import Path

import click

from lossyzip.cli import options
from lossyzip.enhancing import OBJECTIVES
from lossyzip.errors import InvalidArgumentError


@click.command()
@click.argument("source", type=options.file_argument)
@options.output_option
@options.bound_option
@options.effort_option
@click.option("--idempotent", is_flag=True, help="Compressing again what was restored changes nothing.")
@click.option("--learned", is_flag=True, help="Fields on one grid help one another.")
@click.option("--autoencoder", is_flag=True, help="For --learned: try latents, too; as much time again.")
@click.option(
    "--enhance",
    is_flag=True,
    help="Better values from a few percent more bytes, still within the bound, where that pays.",
)
@click.option(
    "--objective",
    type=click.Choice(OBJECTIVES),
    help="For --enhance: what should become better.  [default: psnr]",
)
@click.option(
    "--train-seconds",
    type=click.FloatRange(min=0),
    help="For --learned, in all; for --enhance, a field. Default: 60 for 100 MB, 10 or 2 at least.",
)
@click.option("--seed", default=0, show_default=True, help="For both: the same gives the same bytes.")
@options.model_option
@click.option("--embed-model", is_flag=True, help="Put the networks of --model into the output.")
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
    autoencoder: bool,
    enhance: bool,
    objective: str | None,
    train_seconds: float | None,
    seed: int,
    model: Path | None,
    embed_model: bool,
    threads: int | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compress the fields of the HDF5 file SOURCE, each within its bound; keep all else.

    Example: lossyzip compress in.h5 -o out.h5 -b 'temperature=rel:1e-3' -b 'vel_*=abs:0.5'
    """
    if embed_model and model is None:
        raise InvalidArgumentError("--embed-model is for --model; what --learned trains is embedded anyway")
    if objective and not enhance:
        raise InvalidArgumentError("--objective is for --enhance")
    chosen = options.parse_bounds(bounds)
    from lossyzip.cli import table
    from lossyzip.io.hdf5 import compress_file

    known = options.read_model(model)
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
            autoencoder=autoencoder,
            enhance=objective or enhance,
            train_seconds=train_seconds,
            seed=seed,
            model=known,
            embed_model=embed_model,
            progress=progress,
        )
    if not quiet:
        click.echo(table.as_json(report) if as_json else table.coded_table(report))
