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
    lossless,
    previous_step,
    rate_distortion,
    ratio,
    robustness,
    speed,
    table,
)
from bench.fields import find, prepared_fields
from bench.peer_cache import PeerCache
from bench.peer_curves import PeerCurves
from bench.rows import Row, read
from lossyzip.dataset import Learning

CURVE = "1e-2,3e-3,1e-3,3e-4,1e-4"

existing_folder = click.Path(exists=True, file_okay=False, path_type=Path)
existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)
new_file = click.Path(dir_okay=False, path_type=Path)
new_folder = click.Path(file_okay=False, path_type=Path)


def numbers(kind: type) -> click.ParamType:
    """A list such as 1e-2,1e-3."""

    def parse(text: str) -> list:
        return [kind(word) for word in text.split(",")]

    parse.__name__ = f"{kind.__name__},..."
    return click.types.FuncParamType(parse)


data_option = click.option(
    "--data", type=existing_folder, help="Folder of HDF5 files; generated fields without it."
)
fields_option = click.option(
    "--fields", "pattern", default="*", help='Only fields like this: "U*", "file/field".'
)
bounds_option = click.option(
    "--bounds", type=numbers(float), default="1e-2,1e-3,1e-4", show_default=True, help="eps / range."
)
min_values_option = click.option(
    "--min-values", default=100_000, show_default=True, help="Leave smaller fields out."
)
effort_option = click.option("--effort", default="balanced", show_default=True)
csv_option = click.option("--csv", "output", type=new_file, help="Write the rows to this file.")


@click.group()
def main() -> None:
    """Benchmarks of lossyzip beside SZ3, SPERR and ZFP."""


@main.command("peers")
@data_option
@fields_option
@bounds_option
@min_values_option
@click.argument("peers_cache", type=new_file)
def peers_command(
    data: Path | None, pattern: str, bounds: list[float], min_values: int, peers_cache: Path
) -> None:
    """Measure the peers alone and keep the results in the CSV file PEERS_CACHE."""
    cache = PeerCache(peers_cache)
    try:
        for field, prepared in prepared_fields(find(data, min_values, pattern)):
            cache.rows(field, prepared, bounds)
            click.echo(f"{field.file}/{field.name}")
    finally:
        cache.close()


@main.command("ratio")
@data_option
@fields_option
@effort_option
@csv_option
@bounds_option
@min_values_option
@click.option("--peers-cache", type=new_file, help="CSV file that keeps the peers' results.")
def ratio_command(
    data: Path | None,
    pattern: str,
    effort: str,
    output: Path | None,
    bounds: list[float],
    min_values: int,
    peers_cache: Path | None,
) -> None:
    """Ratios at the same bound, every value of ours checked; exit code 1 if any is outside."""
    cache = PeerCache(peers_cache)
    try:
        rows = ratio.run(find(data, min_values, pattern), bounds, effort, cache, output, _tell_ratio)
    finally:
        cache.close()
    click.echo(table.ratio_summary(rows))
    if any(row["problem"] or row["violations"] != "0" for row in rows):
        sys.exit(1)


@main.command("speed")
@data_option
@fields_option
@effort_option
@csv_option
@click.option("--bounds", type=numbers(float), default="1e-3", show_default=True, help="eps / range.")
@click.option("--threads", type=numbers(int), default="1,2", show_default=True)
@click.option("--min-megabytes", default=16.0, show_default=True, help="Leave smaller fields out.")
@click.option("--repeats", default=2, show_default=True, help="After one that warms up; the best counts.")
def speed_command(
    data: Path | None,
    pattern: str,
    effort: str,
    output: Path | None,
    bounds: list[float],
    threads: list[int],
    min_megabytes: float,
    repeats: int,
) -> None:
    """MB/s of CPU and wall time, verification apart."""
    fields = [field for field in find(data, 1, pattern) if field.raw_bytes >= min_megabytes * 1e6]
    rows = speed.run(fields, bounds, effort, threads, repeats, output, _tell_speed)
    click.echo(table.one_thread_table(rows))
    click.echo(table.threads_table(rows))
    if any(row["problem"] for row in rows):
        sys.exit(1)


@main.command("rate-distortion")
@data_option
@fields_option
@csv_option
@click.option(
    "--bounds",
    type=numbers(float),
    default="1e-2,3e-3,1e-3,3e-4,1e-4",
    show_default=True,
    help="eps / range.",
)
@min_values_option
@click.option("--compressors", "pattern_of_names", default="*", help='Only those like this: "max*".')
@click.option("--jobs", default=1, show_default=True, help="Processes that measure.")
@click.option("--plots", type=new_folder, help="Write a PNG for each field to this folder.")
def rate_distortion_command(
    data: Path | None,
    pattern: str,
    output: Path | None,
    bounds: list[float],
    min_values: int,
    pattern_of_names: str,
    jobs: int,
    plots: Path | None,
) -> None:
    """Curves beside the peers': bytes, PSNR, power spectrum and structural similarity.

    Rows that --csv has are not measured again. Exit code 1 if ours failed, or is outside its bound.
    """
    contestants = [one for one in (*curves.THEIRS, *curves.OURS) if fnmatchcase(one.name, pattern_of_names)]
    fields = find(data, min_values, pattern)
    note = partial(click.echo, err=True)
    rows = curves.run(fields, bounds, contestants, output, jobs, _tell_curve, note)
    _show_curves(rows, plots)
    ours = [row for row in rows if row["compressor"] in curve_tables.OUR_NAMES]
    if any(row["problem"] or row["violations"] != "0" for row in ours):
        sys.exit(1)


@main.command("psnr")
@data_option
@fields_option
@effort_option
@csv_option
@bounds_option
@click.option(
    "--min-values", default=1_000_000, show_default=True, help="Leave smaller fields out: PSNR is a mean."
)
@click.option("--peers-cache", type=new_file, help="CSV file that keeps the peers' results.")
def psnr_command(
    data: Path | None,
    pattern: str,
    effort: str,
    output: Path | None,
    bounds: list[float],
    min_values: int,
    peers_cache: Path | None,
) -> None:
    """PSNR at the bits a value of the smallest peer; exit code 1 if ours could not be measured."""
    curves = PeerCurves(peers_cache)
    try:
        fields = find(data, min_values, pattern)
        rows = rate_distortion.run(fields, bounds, effort, curves, output, _tell_psnr)
    finally:
        curves.close()
    click.echo(table.psnr_table(rows))
    click.echo(table.psnr_summary(rows))
    if any(row["problem"] for row in rows):
        sys.exit(1)


@main.command("lossless")
@data_option
@fields_option
@csv_option
@click.option("--min-values", default=1, show_default=True, help="Leave smaller fields out.")
def lossless_command(data: Path | None, pattern: str, output: Path | None, min_values: int) -> None:
    """Sizes without loss beside byte shuffle + zstd; exit code 1 if a bit is another one."""
    rows = lossless.run(find(data, min_values, pattern), output, _tell_lossless)
    click.echo(table.lossless_table(rows))
    if any(row["problem"] for row in rows):
        sys.exit(1)


@main.command("generations")
@data_option
@fields_option
@csv_option
@click.option("--rel", default=1e-3, show_default=True, help="eps / range.")
@min_values_option
def generations_command(
    data: Path | None, pattern: str, output: Path | None, rel: float, min_values: int
) -> None:
    """Errors of values that are compressed again and again: the smallest field of each file."""
    first = {field.file: field for field in reversed(find(data, min_values, pattern))}
    contestants = generations.lossyzips() | generations.peers()
    rows = generations.run(list(first.values()), rel, contestants, output, _tell_generations)
    click.echo(table.generations_table(rows))


@main.command("robustness")
@click.option("--situations", "pattern", default="*", help='Only rows like this: "damage*".')
@click.option("--only", default="*", help="Only compressors like this.")
@csv_option
def robustness_command(pattern: str, only: str, output: Path | None) -> None:
    """What odd inputs and damaged streams lead to; exit code 1 if ours let anything pass."""
    contestants = [one for one in robustness.installed() if fnmatchcase(one.name, only)]
    rows = robustness.run(pattern, contestants, output, partial(click.echo, err=True))
    if not rows:
        raise click.UsageError(f"no row is like {pattern!r}, or no compressor like {only!r}")
    click.echo(table.robustness_table(rows))
    if any(row["compressor"] == "lossyzip" and row["outcome"] in robustness.FAILURES for row in rows):
        sys.exit(1)


@main.command("enhance")
@data_option
@fields_option
@click.option("--effort", default="max", show_default=True)
@csv_option
@click.option("--bounds", type=numbers(float), default="1e-2,1e-3", show_default=True, help="eps / range.")
@click.option("--min-values", default=1_000_000, show_default=True, help="Leave smaller fields out.")
@click.option("--kinds", type=numbers(str), default="offsets,network,best", show_default=True)
@click.option("--train-seconds", type=float, help="Of each field. Default: 60 for 100 MB.")
def enhance_command(
    data: Path | None,
    pattern: str,
    effort: str,
    output: Path | None,
    bounds: list[float],
    min_values: int,
    kinds: list[str],
    train_seconds: float | None,
) -> None:
    """Better values from a few more bytes, by kind of enhancer; exit code 1 if any is outside its bound."""
    rows = enhance.run(
        find(data, min_values, pattern), bounds, effort, kinds, train_seconds, output, _tell_enhance
    )
    click.echo(enhance.table(rows))
    if any(row["violations"] != "0" for row in rows):
        sys.exit(1)


@main.command("enhance-related")
@data_option
@fields_option
@click.option("--effort", default="balanced", show_default=True)
@csv_option
@click.option("--bounds", type=numbers(float), default="1e-2,1e-3", show_default=True, help="eps / range.")
@click.option("--min-values", default=1_000_000, show_default=True, help="Leave smaller fields out.")
@click.option("--train-seconds", type=float, help="Of networks for guides. Default: 60 for 100 MB.")
def enhance_related_command(
    data: Path | None,
    pattern: str,
    effort: str,
    output: Path | None,
    bounds: list[float],
    min_values: int,
    train_seconds: float | None,
) -> None:
    """What enhancers gain when they see references; exit code 1 if a value is outside its bound."""
    fields, learning = find(data, min_values, pattern), Learning(train_seconds)
    rows = enhance_related.run(fields, bounds, effort, learning, output, _tell_enhance_related)
    click.echo(enhance_related.table(rows))
    if any(row["violations"] != "0" for row in rows):
        sys.exit(1)


@main.command("learned")
@data_option
@fields_option
@csv_option
@click.option("--bounds", type=numbers(float), default="1e-2,1e-3", show_default=True, help="eps / range.")
@click.option("--effort", default="max", show_default=True)
@click.option("--train-seconds", type=float, help="For each set and bound, in all. Default: 60 for 100 MB.")
@click.option("--autoencoder", is_flag=True, help="With latents, too: prints what these gain.")
@click.option("--peers-cache", type=new_file, help="CSV file that keeps the peers' results.")
@min_values_option
def learned_command(
    data: Path | None,
    pattern: str,
    output: Path | None,
    bounds: list[float],
    effort: str,
    train_seconds: float | None,
    autoencoder: bool,
    peers_cache: Path | None,
    min_values: int,
) -> None:
    """Fields with and without references; exit code 1 if any value is outside its bound."""
    cache, learning = PeerCache(peers_cache), Learning(train_seconds, autoencoder=autoencoder)
    try:
        fields = find(data, min_values, pattern)
        peers = None if autoencoder else cache  # what latents gain has nothing to do with them
        rows = learned.run(fields, bounds, effort, learning, peers, output, _tell_learned)
    finally:
        cache.close()
    click.echo((table.latents_table if autoencoder else table.learned_table)(rows))
    if any(row["violations"] != "0" for row in rows):
        sys.exit(1)


@main.command("given")
@data_option
@fields_option
@csv_option
@click.option("--targets", type=numbers(str), default=[], help="Only these fields.  [default: all]")
@click.option("--bounds", type=numbers(float), default="1e-2,1e-3", show_default=True, help="eps / range.")
@click.option("--others", type=float, help="Of the others: eps / range.  [default: the same]")
@click.option("--references", type=numbers(str), help="Only these are the others; '-' for none.")
@click.option("--autoencoder", is_flag=True, help="With latents, too.")
@click.option("--effort", default="max", show_default=True)
@min_values_option
def given_command(
    data: Path | None,
    pattern: str,
    output: Path | None,
    targets: list[str],
    bounds: list[float],
    others: float | None,
    references: list[str] | None,
    autoencoder: bool,
    effort: str,
    min_values: int,
) -> None:
    """Each field given all others of its set; exit code 1 for a value outside its bound."""
    fields, about = find(data, min_values, pattern), (references, autoencoder)
    rows = given.run(fields, targets, bounds, others, effort, output, _tell_learned, *about)
    click.echo(table.given_table(rows))
    if any(row["violations"] != "0" for row in rows):
        sys.exit(1)


@main.command("previous-step")
@data_option
@fields_option
@csv_option
@click.option("--bounds", type=numbers(float), default="1e-2,1e-3", show_default=True, help="eps / range.")
@click.option("--effort", default="max", show_default=True)
@min_values_option
def previous_step_command(
    data: Path | None, pattern: str, output: Path | None, bounds: list[float], effort: str, min_values: int
) -> None:
    """Steps along the leading axis, each with the one before; exit code 1 for a value outside its bound."""
    rows = previous_step.run(find(data, min_values, pattern), bounds, effort, output, _tell_learned)
    click.echo(table.previous_step_table(rows))
    if any(row["violations"] != "0" for row in rows):
        sys.exit(1)


@main.command("ablation")
@data_option
@fields_option
@csv_option
@bounds_option
@min_values_option
def ablation_command(
    data: Path | None, pattern: str, output: Path | None, bounds: list[float], min_values: int
) -> None:
    """Sizes without one part or another, relative to `balanced`."""
    rows = ablation.run(find(data, min_values, pattern), bounds, output, _tell_variant)
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


def _tell_curve(row: Row) -> None:
    parts = [f"{row['file']}/{row['field']}", row["rel"], f"{row['compressor']}:"]
    parts += [f"{row['bits']} bits", f"{row['psnr']} dB", f"spectrum {row['spectrum_error']}"]
    parts += [f"SSIM {row['ssim']}", row["setting"], f"{row['encode']} s", row["problem"]]
    click.echo("  ".join(parts).rstrip())


def _tell_ratio(row: Row) -> None:
    parts = [f"{row['file']}/{row['field']}", row["shape"], row["rel"]]
    for name in ("ours", "sz3", "sperr", "zfp"):
        size = row[f"{name}_bytes"]
        parts.append(f"{name} {int(row['raw_bytes']) / int(size):.2f}" if size else f"{name} -")
    parts += [f"gain {row['gain']}", f"violations {row['violations']}", f"{row['seconds']} s"]
    click.echo("  ".join((*parts, row["families"], row["problem"])).rstrip())


def _tell_psnr(row: Row) -> None:
    parts = [f"{row['file']}/{row['field']}", row["rel"], f"{row['bits']} bits"]
    parts += [f"{row['best_peer']} {row['peer_psnr']} dB", f"ours {row['ours_psnr']} dB"]
    parts += [f"gain {row['gain']}", row["families"], f"{row['seconds']} s", row["problem"]]
    click.echo("  ".join(parts).rstrip())


def _tell_lossless(row: Row) -> None:
    sizes = "  ".join(f"{name.removesuffix('_bytes')} {row[name]}" for name in row if name.endswith("_bytes"))
    click.echo(f"{row['file']}/{row['field']}  {sizes}  {row['problem']}".rstrip())


def _tell_enhance(row: Row) -> None:
    name = f"{row['file']}/{row['field']} {row['rel']} {row['asked']}"
    click.echo(f"{name}: {row['gain_db']} dB for {row['bytes_percent']} % ({row['kind'] or 'none'})")


def _tell_enhance_related(row: Row) -> None:
    click.echo("  ".join(row.values()))


def _tell_learned(row: Row) -> None:
    click.echo("  ".join(row.values()))


def _tell_generations(row: Row) -> None:
    click.echo("  ".join(row.values()))


def _tell_variant(row: Row) -> None:
    where = f"{row['file']}/{row['field']} {row['rel']}"
    click.echo(f"{where}  {row['variant']}  {row['bytes']}  {row['relative_size']}  {row['family']}")


def _tell_speed(row: Row) -> None:
    times = "  ".join(
        f"{name.removesuffix('_seconds')} {row[name]}"
        for name in speed.COLUMNS
        if name.endswith(("_cpu", "_wall", "_seconds"))
    )
    where = f"{row['file']}/{row['field']} {row['rel']}"
    click.echo(f"{where}  {row['compressor']} x{row['threads']}  {times}  {row['problem']}".rstrip())


if __name__ == "__main__":
    main()
