"""Lines that tell of rows while these are measured: a function for each kind of rows. Knows no files."""

from __future__ import annotations

from collections.abc import Callable

import click

from bench.rows import Row


def told(line: Callable[[Row], str]) -> Callable[[Row], None]:
    """What prints a row by its ``line``."""
    return lambda row: click.echo(line(row))


def curve(row: Row) -> str:
    parts = [f"{row['file']}/{row['field']}", row["rel"], f"{row['compressor']}:"]
    parts += [f"{row['bits']} bits", f"{row['psnr']} dB", f"spectrum {row['spectrum_error']}"]
    parts += [f"SSIM {row['ssim']}", row["setting"], f"{row['encode']} s", row["problem"]]
    return "  ".join(parts).rstrip()


def ratio(row: Row) -> str:
    parts = [f"{row['file']}/{row['field']}", row["shape"], row["rel"]]
    for name in ("ours", "sz3", "sperr", "zfp"):
        size = row[f"{name}_bytes"]
        parts.append(f"{name} {int(row['raw_bytes']) / int(size):.2f}" if size else f"{name} -")
    parts += [f"gain {row['gain']}", f"violations {row['violations']}", f"{row['seconds']} s"]
    return "  ".join((*parts, row["families"], row["problem"])).rstrip()


def psnr(row: Row) -> str:
    parts = [f"{row['file']}/{row['field']}", row["rel"], f"{row['bits']} bits"]
    parts += [f"{row['best_peer']} {row['peer_psnr']} dB", f"ours {row['ours_psnr']} dB"]
    parts += [f"gain {row['gain']}", row["families"], f"{row['seconds']} s", row["problem"]]
    return "  ".join(parts).rstrip()


def lossless(row: Row) -> str:
    sizes = "  ".join(f"{name.removesuffix('_bytes')} {row[name]}" for name in row if name.endswith("_bytes"))
    return f"{row['file']}/{row['field']}  {sizes}  {row['problem']}".rstrip()


def enhance(row: Row) -> str:
    name = f"{row['file']}/{row['field']} {row['rel']} {row['asked']}"
    return f"{name}: {row['gain_db']} dB for {row['bytes_percent']} % ({row['kind'] or 'none'})"


def all_of(row: Row) -> str:
    return "  ".join(row.values())


def variant(row: Row) -> str:
    where = f"{row['file']}/{row['field']} {row['rel']}"
    return f"{where}  {row['variant']}  {row['bytes']}  {row['relative_size']}  {row['family']}"


def speed(row: Row) -> str:
    times = "  ".join(
        f"{name.removesuffix('_seconds')} {row[name]}"
        for name in row
        if name.endswith(("_cpu", "_wall", "_seconds"))
    )
    where = f"{row['file']}/{row['field']} {row['rel']}"
    return f"{where}  {row['compressor']} x{row['threads']}  {times}  {row['problem']}".rstrip()
