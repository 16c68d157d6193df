"""``lossyzip train``."""

from __future__ import annotations

from pathlib import Path

import click

from lossyzip.cli import options


@click.command()
@click.argument("sources", type=options.file_argument, nargs=-1, required=True)
@options.output_option
@options.bound_option
@click.option(
    "--train-seconds",
    type=click.FloatRange(min=0),
    help="In all. Default: 60 for 100 MB of what is looked at, up to 2**23 values a field; 10 at least.",
)
@click.option("--seed", default=0, show_default=True, help="The same gives the same model.")
@click.option("--enhance", is_flag=True, help="Train enhancers, too, for `compress --model --enhance`.")
@options.threads_option
@options.force_option
@options.json_option
@options.quiet_option
def command(
    sources: tuple[Path, ...],
    output: Path,
    bounds: tuple[str, ...],
    train_seconds: float | None,
    seed: int,
    enhance: bool,
    threads: int | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train a model on SOURCES, HDF5 files with the same fields, for `compress --model`. Needs torch.

    Bounds are about those at which fields will be compressed; fields that no pattern names are left out.

    Example: lossyzip train run_*.h5 -o run.lzm -b '*=rel:1e-3'
    """
    chosen = options.parse_bounds(bounds)
    from lossyzip.cli import table
    from lossyzip.io.train import train_files

    with options.progress_bar(quiet) as progress:
        report = train_files(
            sources,
            output,
            chosen,
            train_seconds=train_seconds,
            seed=seed,
            threads=threads,
            force=force,
            enhance=enhance,
            progress=progress,
        )
    if not quiet:
        click.echo(table.as_json(report) if as_json else table.trained_table(report))
