"""``python -m bench``: measure, and render what was measured. See docs/BENCHMARKS.md."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import click

from bench import (
    ablation,
    curve_plots,
    curve_tables,
    curves,
    enhance,
    enhance_related,
    generations,
    given,
    learned,
    lines,
    lossless,
    previous_step,
    rate_distortion,
    ratio,
    robustness,
    speed,
    table,
)
from bench.fields import Field, prepared_fields
from bench.lines import told
from bench.options import (
    csv_option,
    existing_file,
    exit_for,
    measuring,
    new_file,
    new_folder,
    numbers,
    peers_cache_option,
)
from bench.peer_cache import PeerCache
from bench.peer_curves import PeerCurves
from bench.rows import Row, read
from lossyzip.dataset import Learning

CURVE = "1e-2,3e-3,1e-3,3e-4,1e-4"
ENDS = "1e-2,1e-3"
MILLION = 1_000_000

note = partial(click.echo, err=True)
plots_option = click.option("--plots", type=new_folder, help="Write a PNG for each field to this folder.")


@click.group()
def main() -> None:
    """Benchmarks of lossyzip beside SZ3, SPERR and ZFP."""


@main.command("peers")
@measuring(csv=False)
@click.argument("peers_cache", type=new_file)
def peers_command(fields: list[Field], bounds: list[float], peers_cache: Path) -> None:
    """Measure the peers alone and keep the results in the CSV file PEERS_CACHE."""
    cache = PeerCache(peers_cache)
    try:
        for field, prepared in prepared_fields(fields):
            cache.rows(field, prepared, bounds)
            click.echo(f"{field.file}/{field.name}")
    finally:
        cache.close()


@main.command("ratio")
@measuring(effort="balanced")
@peers_cache_option
def ratio_command(
    fields: list[Field], effort: str, output: Path | None, bounds: list[float], peers_cache: Path | None
) -> None:
    """Ratios at the same bound, every value of ours checked; exit code 1 if any is outside."""
    cache = PeerCache(peers_cache)
    try:
        rows = ratio.run(fields, bounds, effort, cache, output, told(lines.ratio))
    finally:
        cache.close()
    click.echo(table.ratio_summary(rows))
    exit_for(rows)


@main.command("speed")
@measuring(effort="balanced", bounds="1e-3", min_values=None)
@click.option("--threads", type=numbers(int), default="1,2", show_default=True)
@click.option("--min-megabytes", default=16.0, show_default=True, help="Leave smaller fields out.")
@click.option("--repeats", default=2, show_default=True, help="Rounds, all in turn; the best counts.")
def speed_command(
    fields: list[Field],
    effort: str,
    output: Path | None,
    bounds: list[float],
    threads: list[int],
    min_megabytes: float,
    repeats: int,
) -> None:
    """MB/s of CPU and wall time, verification apart."""
    large = [field for field in fields if field.raw_bytes >= min_megabytes * 1e6]
    rows = speed.run(large, bounds, effort, threads, repeats, output, told(lines.speed))
    click.echo(table.one_thread_table(rows))
    click.echo(table.threads_table(rows))
    exit_for(rows)


@main.command("rate-distortion")
@measuring(bounds=CURVE)
@click.option("--compressors", "wanted", default="*", help='Only those like this: "max*".')
@click.option("--jobs", default=1, show_default=True, help="Processes that measure.")
@plots_option
def rate_distortion_command(
    fields: list[Field],
    output: Path | None,
    bounds: list[float],
    wanted: str,
    jobs: int,
    plots: Path | None,
) -> None:
    """Curves beside the peers': bytes, PSNR, power spectrum and structural similarity.

    Rows that --csv has are not measured again. Exit code 1 if ours failed, or is outside its bound.
    """
    contestants = [one for one in (*curves.THEIRS, *curves.OURS) if fnmatchcase(one.name, wanted)]
    rows = curves.run(fields, bounds, contestants, output, jobs, told(lines.curve), note)
    _show_curves(rows, plots)
    exit_for(row for row in rows if row["compressor"] in curve_tables.OUR_NAMES)


@main.command("psnr")
@measuring(effort="balanced", min_values=MILLION)
@peers_cache_option
def psnr_command(
    fields: list[Field], effort: str, output: Path | None, bounds: list[float], peers_cache: Path | None
) -> None:
    """PSNR at the bits a value of the smallest peer; exit code 1 if ours could not be measured.

    A PSNR is a mean: small fields tell little.
    """
    curves = PeerCurves(peers_cache)
    try:
        rows = rate_distortion.run(fields, bounds, effort, curves, output, told(lines.psnr))
    finally:
        curves.close()
    click.echo(table.psnr_table(rows))
    click.echo(table.psnr_summary(rows))
    exit_for(rows)


@main.command("lossless")
@measuring(bounds=None, min_values=1)
def lossless_command(fields: list[Field], output: Path | None) -> None:
    """Sizes without loss beside byte shuffle + zstd; exit code 1 if a bit is another one."""
    rows = lossless.run(fields, output, told(lines.lossless))
    click.echo(table.lossless_table(rows))
    exit_for(rows)


@main.command("generations")
@measuring(bounds=None)
@click.option("--rel", default=1e-3, show_default=True, help="eps / range.")
def generations_command(fields: list[Field], output: Path | None, rel: float) -> None:
    """Errors of values that are compressed again and again: the smallest field of each file."""
    first = {field.file: field for field in reversed(fields)}
    contestants = generations.lossyzips() | generations.peers()
    rows = generations.run(list(first.values()), rel, contestants, output, told(lines.all_of))
    click.echo(table.generations_table(rows))


@main.command("robustness")
@click.option("--situations", "pattern", default="*", help='Only rows like this: "damage*".')
@click.option("--only", default="*", help="Only compressors like this.")
@csv_option
def robustness_command(pattern: str, only: str, output: Path | None) -> None:
    """What odd inputs and damaged streams lead to; exit code 1 if ours let anything pass."""
    contestants = [one for one in robustness.installed() if fnmatchcase(one.name, only)]
    rows = robustness.run(pattern, contestants, output, note)
    if not rows:
        raise click.UsageError(f"no row is like {pattern!r}, or no compressor like {only!r}")
    click.echo(table.robustness_table(rows))
    if any(row["compressor"] == "lossyzip" and row["outcome"] in robustness.FAILURES for row in rows):
        sys.exit(1)


@main.command("enhance")
@measuring(effort="max", bounds=ENDS, min_values=MILLION)
@click.option("--kinds", type=numbers(str), default="offsets,network,best", show_default=True)
@click.option("--train-seconds", type=float, help="Of each field. Default: 60 for 100 MB.")
def enhance_command(
    fields: list[Field],
    effort: str,
    output: Path | None,
    bounds: list[float],
    kinds: list[str],
    train_seconds: float | None,
) -> None:
    """Better values from a few more bytes, by kind of enhancer; exit code 1 if any is outside its bound."""
    rows = enhance.run(fields, bounds, effort, kinds, train_seconds, output, told(lines.enhance))
    click.echo(enhance.table(rows))
    exit_for(rows)


@main.command("enhance-related")
@measuring(effort="balanced", bounds=ENDS, min_values=MILLION)
@click.option("--train-seconds", type=float, help="Of networks for guides. Default: 60 for 100 MB.")
def enhance_related_command(
    fields: list[Field],
    effort: str,
    output: Path | None,
    bounds: list[float],
    train_seconds: float | None,
) -> None:
    """What enhancers gain when they see references; exit code 1 if a value is outside its bound."""
    learning = Learning(train_seconds)
    rows = enhance_related.run(fields, bounds, effort, learning, output, told(lines.all_of))
    click.echo(enhance_related.table(rows))
    exit_for(rows)


@main.command("learned")
@measuring(effort="max", bounds=ENDS)
@click.option("--train-seconds", type=float, help="For each set and bound, in all. Default: 60 for 100 MB.")
@click.option("--autoencoder", is_flag=True, help="With latents, too: prints what these gain.")
@peers_cache_option
def learned_command(
    fields: list[Field],
    effort: str,
    output: Path | None,
    bounds: list[float],
    train_seconds: float | None,
    autoencoder: bool,
    peers_cache: Path | None,
) -> None:
    """Fields with and without references; exit code 1 if any value is outside its bound."""
    cache, learning = PeerCache(peers_cache), Learning(train_seconds, autoencoder=autoencoder)
    try:
        peers = None if autoencoder else cache  # what latents gain has nothing to do with them
        rows = learned.run(fields, bounds, effort, learning, peers, output, told(lines.all_of))
    finally:
        cache.close()
    click.echo((table.latents_table if autoencoder else table.learned_table)(rows))
    exit_for(rows)


@main.command("given")
@measuring(effort="max", bounds=ENDS)
@click.option("--targets", type=numbers(str), help="Only these fields.  [default: all]")
@click.option("--others", type=float, help="Of the others: eps / range.  [default: the same]")
@click.option("--references", type=numbers(str), help="Only these are the others; '-' for none.")
@click.option("--autoencoder", is_flag=True, help="With latents, too.")
def given_command(
    fields: list[Field],
    effort: str,
    output: Path | None,
    bounds: list[float],
    targets: list[str] | None,
    others: float | None,
    references: list[str] | None,
    autoencoder: bool,
) -> None:
    """Each field given all others of its set; exit code 1 for a value outside its bound."""
    about = references, autoencoder
    rows = given.run(fields, targets or [], bounds, others, effort, output, told(lines.all_of), *about)
    click.echo(table.given_table(rows))
    exit_for(rows)


@main.command("previous-step")
@measuring(effort="max", bounds=ENDS)
def previous_step_command(fields: list[Field], effort: str, output: Path | None, bounds: list[float]) -> None:
    """Steps along the leading axis, each with the one before; exit code 1 for a value outside its bound."""
    rows = previous_step.run(fields, bounds, effort, output, told(lines.all_of))
    click.echo(table.previous_step_table(rows))
    exit_for(rows)


@main.command("ablation")
@measuring()
def ablation_command(fields: list[Field], output: Path | None, bounds: list[float]) -> None:
    """Sizes without one part or another, relative to `balanced`."""
    rows = ablation.run(fields, bounds, output, told(lines.variant))
    click.echo(table.ablation_table(rows))


@main.command("table")
@click.option("--ratio", "ratio_csv", type=existing_file, help="Rows of `python -m bench ratio --csv`.")
@click.option("--speed", "speed_csv", type=existing_file, help="Rows of `python -m bench speed --csv`.")
@click.option(
    "--curves", "curves_csv", type=existing_file, help="Rows of `python -m bench rate-distortion --csv`."
)
@click.option("--plots", type=new_folder, help="With --curves: write a PNG for each field to this folder.")
@click.option("--psnr", "psnr_csv", type=existing_file, help="Rows of `python -m bench psnr --csv`.")
@click.option(
    "--ablation", "ablation_csv", type=existing_file, help="Rows of `python -m bench ablation --csv`."
)
def table_command(
    ratio_csv: Path | None,
    speed_csv: Path | None,
    curves_csv: Path | None,
    plots: Path | None,
    psnr_csv: Path | None,
    ablation_csv: Path | None,
) -> None:
    """Markdown of measured rows, on standard output."""
    if ratio_csv is not None:
        rows = read(ratio_csv)
        click.echo(table.ratio_summary(rows))
        click.echo(table.ratio_table(rows))
    if speed_csv is not None:
        rows = read(speed_csv)
        click.echo(table.one_thread_table(rows))
        click.echo(table.threads_table(rows))
    if curves_csv is not None:
        _show_curves(read(curves_csv), plots)
    if psnr_csv is not None:
        rows = read(psnr_csv)
        click.echo(table.psnr_table(rows))
        click.echo(table.psnr_summary(rows))
    if ablation_csv is not None:
        click.echo(table.ablation_table(read(ablation_csv)))


def _show_curves(rows: list[Row], plots: Path | None) -> None:
    click.echo(curve_tables.tables(rows))
    if plots is not None:
        curve_plots.draw(rows, plots)


if __name__ == "__main__":
    main()
