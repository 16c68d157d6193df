"""Options that several verbs take, and what they turn into."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lossyzip.errors import InvalidArgumentError

if TYPE_CHECKING:
    from lossyzip.bound import Bound
    from lossyzip.learned.model import Model

file_argument = click.Path(exists=True, dir_okay=False, path_type=Path)
output_option = click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The file to write."
)
force_option = click.option("--force", is_flag=True, help="Replace the output if it exists.")
effort_option = click.option(
    "--effort", type=click.Choice(["fast", "balanced", "max"]), default="balanced", show_default=True
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Default: as many as there are cores. Never changes the bytes.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print a report for programs, not a table."
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")

bound_option = click.option(
    "-b",
    "--bound",
    "bounds",
    multiple=True,
    required=True,
    metavar="PATTERN=BOUND",
    help="abs:EPS, rel:R (of the field's range), pwrel:R (of each value), psnr:DB or lossless, for fields "
    "that match. May be repeated; the first that matches counts.",
)
model_option = click.option(
    "--model", type=file_argument, help="What `lossyzip train` wrote, and fields were compressed with."
)


def parse_bounds(bounds: tuple[str, ...]) -> dict[str, Bound]:
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


def read_model(path: Path | None) -> Model | None:
    if path is None:
        return None
    from lossyzip.learned.model import Model

    return Model.from_bytes(path.read_bytes())


@contextlib.contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[str, int, int], Any] | None]:
    """A callback for `lossyzip.io` that draws a bar on standard error; None where that is no terminal."""
    stream = sys.stderr
    if quiet or not stream.isatty():
        yield None
        return
    bars: list[Any] = []

    def tell(field: str, done: int, total: int) -> None:
        if not bars:
            bar: Any = click.progressbar(length=total, file=stream, item_show_func=lambda name: name or "")
            bars.append(bar.__enter__())
        bars[0].current_item = field
        bars[0].update(done)
        if not done:  # what click would not draw
            bars[0].render_progress()

    try:
        yield tell
    finally:
        for bar in bars:
            bar.render_finish()
