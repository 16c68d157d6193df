"""Options of the command line, and the exit code. Knows no benchmark."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from bench.fields import find
from bench.rows import Row

BOUNDS = "1e-2,1e-3,1e-4"
existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)
existing_folder = click.Path(exists=True, file_okay=False, path_type=Path)
new_file = click.Path(dir_okay=False, path_type=Path)
new_folder = click.Path(file_okay=False, path_type=Path)

Command = Callable[..., None]
csv_option = click.option("--csv", "output", type=new_file, help="Write the rows to this file.")
peers_cache_option = click.option(
    "--peers-cache", type=new_file, help="CSV file that keeps the peers' results."
)


def numbers(kind: type) -> click.ParamType:
    """A list such as 1e-2,1e-3."""

    def parse(text: str) -> list:
        return [kind(word) for word in text.split(",")]

    parse.__name__ = f"{kind.__name__},..."
    return click.types.FuncParamType(parse)


def measuring(
    *,
    effort: str | None = None,
    bounds: str | None = BOUNDS,
    min_values: int | None = 100_000,
    csv: bool = True,
) -> Callable[[Command], Command]:
    """Options of a command that measures ``fields`` at ``bounds`` with ``effort``, and writes to ``output``.

    It gets what these name. The arguments are defaults; options without one are left out.
    """
    options = [
        click.option(
            "--data", type=existing_folder, help="Folder of HDF5 files; generated fields without it."
        ),
        click.option("--fields", "pattern", default="*", help='Only fields like this: "U*", "file/field".'),
    ]
    if effort is not None:
        options.append(click.option("--effort", default=effort, show_default=True))
    if csv:
        options.append(csv_option)
    if bounds is not None:
        of_range = {"default": bounds, "show_default": True, "help": "eps / range."}
        options.append(click.option("--bounds", type=numbers(float), **of_range))
    if min_values is not None:
        least = {"default": min_values, "show_default": True, "help": "Leave smaller fields out."}
        options.append(click.option("--min-values", **least))

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_fields(data: Path | None, pattern: str, min_values: int = 1, **rest: Any) -> None:
            command(find(data, min_values, pattern), **rest)

        return functools.reduce(lambda inner, option: option(inner), reversed(options), with_fields)

    return decorate


def exit_for(rows: Iterable[Row]) -> None:
    """Exit code 1 where one of ours could not be measured, or has values outside its bound."""
    if any(row.get("problem") or row.get("violations", "0") != "0" for row in rows):
        sys.exit(1)
