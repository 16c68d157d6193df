"""Rows of curves -> a PNG for each field: PSNR over bits a value, a line a compressor. Measures nothing."""

from __future__ import annotations

from pathlib import Path

from bench.curve_tables import OUR_NAMES, THEIR_NAMES, by_field, psnr
from bench.rows import Row


def draw(rows: list[Row], folder: Path) -> list[Path]:
    """The files written, named after file and field."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for field, curves in by_field(rows).items():
        figure, axes = pyplot.subplots(figsize=(8, 6), layout="constrained")
        for name in (*OUR_NAMES, *THEIR_NAMES):
            own = sorted(curves.get(name, ()), key=lambda row: float(row["bits"]))
            if own:
                style = "o-" if name in OUR_NAMES else "x--"
                axes.plot([float(row["bits"]) for row in own], [psnr(row) for row in own], style, label=name)
        axes.set(title=field, xlabel="bits a value", ylabel="PSNR (dB)", xscale="log")
        axes.grid(which="both", alpha=0.3)
        axes.legend(fontsize="small")
        paths.append(folder / f"{field.replace('/', '-')}.png")
        figure.savefig(paths[-1], dpi=120)
        pyplot.close(figure)
    return paths
