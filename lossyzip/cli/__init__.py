"""The command line: one file a verb, loaded when it is called, so that ``--help`` is instant."""

from __future__ import annotations

import importlib

import click

from lossyzip.cli.exits import run
from lossyzip.version import VERSION

_VERBS = {
    "compress": "Compress the fields of an HDF5 file, each within its bound.",
    "decompress": "Restore a compressed HDF5 file.",
    "demo": "Make a small turbulent flow, compress, restore and verify it.",
    "info": "Say what a compressed file holds, without decoding it.",
    "train": "Train a model on snapshots, for `compress --model`.",
    "tune": "Find the bound that meets a PSNR, a ratio or a largest error.",
    "verify": "Check a compressed file against its original, value by value.",
    "warmup": "Compile all kernels now, so that the first use does not wait.",
}


class _Verbs(click.Group):
    """Knows the verbs' names and summaries; loads the module of the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        command: click.Command = importlib.import_module(f"lossyzip.cli.{cmd_name}").command
        command.help = command.help or _VERBS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="lossyzip")
def lossyzip() -> None:
    """Error-bounded lossy compression of scientific fields.

    Exit codes: 0 done, 1 error, 2 usage, 3 bound or verification failed, 4 corrupt input,
    5 unsupported data, 130 interrupted.
    """


def main() -> None:
    """What the installed command calls; never returns."""
    run(lossyzip)
