"""``lossyzip info``."""

from __future__ import annotations

from pathlib import Path

import click

from lossyzip.cli import options


@click.command()
@click.argument("source", type=options.file_argument)
@options.json_option
def command(source: Path, as_json: bool) -> None:
    """Say what the compressed file SOURCE, or a model, holds; nothing is decoded."""
    from lossyzip.cli import table
    from lossyzip.io.hdf5 import describe_file
    from lossyzip.learned.model import MAGIC

    with open(source, "rb") as file:
        start = file.read(len(MAGIC))
    if start == MAGIC:
        from lossyzip.io.train import describe_model

        model = describe_model(source)
        click.echo(table.as_json(model) if as_json else table.trained_table(model))
        return
    report = describe_file(source)
    click.echo(table.as_json(report) if as_json else table.restored_table(report))
