"""``lossyzip warmup``."""

from __future__ import annotations

import click


@click.command()
def command() -> None:
    """Compile all kernels now, so that the first use does not wait."""
    from lossyzip._jit import cache_directory
    from lossyzip.compressor import warmup

    warmup()
    where = cache_directory()
    click.echo(f"kernels are in {where}" if where else "no folder to keep kernels in is writable")
