"""Rows of curves -> comparisons at equal PSNR and at equal bytes, as markdown. Measures nothing.

A curve is interpolated between its points by a monotone cubic (Fritsch and Carlson, 1980), as is customary
for Bjontegaard deltas, in PSNR and the logarithms of bits, spectrum error and 1 - SSIM, and never
extrapolated. Lines would make whoever is interpolated look better: bits grow less than exponentially with
PSNR. Comparisons at equal PSNR are made at our points and at the peers'.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from bench.curves import OURS, THEIRS, WITHOUT_ENHANCER
from bench.peers import PEERS
from bench.ratio import geometric_mean
from bench.rows import Row
from bench.table import markdown

OUR_NAMES = (*(one.name for one in OURS[:-1]), WITHOUT_ENHANCER, OURS[-1].name)
THEIR_NAMES = tuple(one.name for one in THEIRS)
PEER_CURVES = tuple(tuple(one.name for one in THEIRS if one.peer is peer) for peer in PEERS)
"""A peer's modes are one curve: points of one are as good as those of the other."""
NEARLY = 0.02  # logarithm of bits
LEAST = 1e-12  # spectrum error and 1 - SSIM, below which all are alike
SHOWN = ("max", "max, psnr", OURS[-1].name)  # field by field
WHAT = ("bits", "spectrum", "1 - SSIM")
Measure = Callable[[Row], float]
Curves = dict[str, list[Row]]  # of one field, by compressor


def log_bits(row: Row) -> float:
    return math.log(float(row["bits"]))


def psnr(row: Row) -> float:
    return float(row["psnr"])


def log_spectrum_error(row: Row) -> float:
    return math.log(max(float(row["spectrum_error"]), LEAST))


def log_dissimilarity(row: Row) -> float:
    return math.log(max(1.0 - float(row["ssim"]), LEAST))


class Comparison(NamedTuple):
    """At a point of a curve: ours and the other's, as logarithms; the other's is None out of range."""

    row: Row
    ours: float
    other: float | None

    @property
    def ratio(self) -> float:
        assert self.other is not None
        return math.exp(self.ours - self.other)


def interpolated(rows: Iterable[Row], x: Measure, y: Measure, at: float) -> float | None:
    """``y`` where ``x`` is ``at``; None outside the rows' range, and of values that are not finite."""
    from scipy.interpolate import PchipInterpolator

    points: dict[float, float] = {}
    for row in rows:
        if math.isfinite(x(row)) and math.isfinite(y(row)):
            points[x(row)] = min(y(row), points.get(x(row), math.inf))
    if not points or not min(points) <= at <= max(points):
        return None
    if len(points) == 1:
        return points[at]
    return float(PchipInterpolator(*zip(*sorted(points.items()), strict=True))(at))


def least(curves: Curves, groups: Iterable[Iterable[str]], x: Measure, y: Measure, at: float) -> float | None:
    """The smallest ``y`` that any of ``groups`` has at ``at``, each the names of what is one curve."""
    merged = [[row for name in names for row in curves.get(name, ())] for names in groups]
    found = [interpolated(rows, x, y, at) for rows in merged]
    return min((value for value in found if value is not None), default=None)


def by_field(rows: Iterable[Row]) -> dict[str, Curves]:
    """ "file/field" -> its curves; rows with a problem are left out."""
    found: dict[str, Curves] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if not row["problem"]:
            found[f"{row['file']}/{row['field']}"][row["compressor"]].append(row)
    return found


def at_our_points(curves: Curves, name: str, x: Measure, y: Measure) -> list[Comparison]:
    """Ours and, interpolated, the best peer's ``y`` at each of our points."""
    rows = [row for row in curves.get(name, ()) if math.isfinite(x(row)) and math.isfinite(y(row))]
    return [Comparison(row, y(row), least(curves, PEER_CURVES, x, y, x(row))) for row in rows]


def nearly_best(curves: Curves, groups: Sequence[Sequence[str]]) -> Iterator[tuple[Row, float]]:
    """Points of all these curves at whose PSNR no other has clearly fewer bits, and the least bits there."""
    for row in (row for names in groups for name in names for row in curves.get(name, ())):
        if math.isfinite(psnr(row)):
            best = least(curves, groups, psnr, log_bits, psnr(row))
            if best is not None and log_bits(row) - best <= NEARLY:
                yield row, best


def bits_compared(curves: Curves, names: Sequence[str]) -> tuple[list[Comparison], list[Comparison]]:
    """Bits of the best of ``names``, which are ours, beside the best peer's: at the PSNR of our points that
    are nearly the best, and at those of the peers'."""
    groups = [(name,) for name in names]
    ours = [
        Comparison(row, best, least(curves, PEER_CURVES, psnr, log_bits, psnr(row)))
        for row, best in nearly_best(curves, groups)
    ]
    theirs = []
    for row, best in nearly_best(curves, PEER_CURVES):
        own = least(curves, groups, psnr, log_bits, psnr(row))
        theirs.append(Comparison(row, math.nan if own is None else own, None if own is None else best))
    return ours, theirs


def equal_psnr_table(rows: list[Row]) -> str:
    """Geometric means of bits of ours / of the best peer, by bound; in brackets how many are in range."""
    fields = by_field(rows)
    rels = _rels(row for row in rows if row["compressor"] in OUR_NAMES)
    lines = []
    for title, names in (*((name, [name]) for name in OUR_NAMES), ("the best of these", OUR_NAMES)):
        measured = [curves for curves in fields.values() if any(name in curves for name in names)]
        ours: list[Comparison] = []
        theirs: list[Comparison] = []
        for curves in measured:
            for found, more in zip((ours, theirs), bits_compared(curves, names), strict=True):
                found += more
        for where, points in (("ours", ours), ("peers'", theirs)):
            if points:
                groups = [points, *([c for c in points if c.row["rel"] == rel] for rel in rels)]
                lines.append([title, where, *map(_mean, groups)])
    header = ["lossyzip", "points", "bits / best peer's", *rels]
    return markdown(header, lines, left=2)


def own_best_table(rows: list[Row], rel: str = "0.01") -> str:
    """Bits of what is enhanced at ``rel`` over our own without enhancer at the same PSNR, by field.

    Over the best without references of the same kind of bound, over that with the same references, and over
    the best of all; "-" where what it is compared with is out of range.
    """
    plain = [one for one in OURS if not one.enhance]
    lines, ratios = [], defaultdict(list)
    for field, curves in by_field(rows).items():
        enhanced = [(one, row) for one in OURS if one.enhance for row in curves.get(one.name, ())]
        for one, row in enhanced:
            if row["rel"] != rel:
                continue
            alone = [(other.name,) for other in plain if other.by_psnr == one.by_psnr]
            alike = [(WITHOUT_ENHANCER,)] if one.together else alone
            at = partial(least, curves, x=psnr, y=log_bits, at=psnr(row))
            same, others = at(alike), at([(other.name,) for other in plain])
            best = min(same, same if others is None else others) if same is not None else None
            cells = []
            for place, other in enumerate((at(alone), same, best)):
                cells.append("-" if other is None else f"{math.exp(log_bits(row) - other):.3f}")
                if other is not None:
                    ratios[one.name, place].append(math.exp(log_bits(row) - other))
            lines.append([field, one.name, row["setting"], row["bits"], f"{psnr(row):.2f}", *cells])
    for name in (one.name for one in OURS if one.enhance):
        means = [ratios[name, place] for place in range(3)]
        if any(means):
            cells = [f"{geometric_mean(some):.3f} ({len(some)})" if some else "-" for some in means]
            lines.append(["all", name, "", "", "", *cells])
    header = [
        "field",
        "lossyzip",
        "how",
        "bits",
        "PSNR",
        "/ own best alone",
        "/ same without",
        "/ best of all",
    ]
    return markdown(header, lines, left=3)


def quality_table(rows: list[Row]) -> str:
    """How often spectrum error and 1 - SSIM are below the best peer's at equal bytes: points and fields."""
    fields = by_field(rows)
    lines = []
    for name in OUR_NAMES:
        cells = []
        for measure in (log_spectrum_error, log_dissimilarity):
            each = [at_our_points(curves, name, log_bits, measure) for curves in fields.values()]
            inside = [[c.ratio for c in some if c.other is not None] for some in each]
            inside = [ratios for ratios in inside if ratios]
            points = [ratio for ratios in inside for ratio in ratios]
            better = sum(ratio < 1.0 for ratio in points)
            most = sum(2 * sum(ratio < 1.0 for ratio in ratios) > len(ratios) for ratios in inside)
            mean = f"{geometric_mean(points):.3f}" if points else "-"
            cells += [f"{better} of {len(points)}", f"{most} of {len(inside)}", mean]
        if cells[0] != "0 of 0":
            lines.append([name, *cells])
    header = ["lossyzip", "spectrum: points", "fields", "error / best peer's"]
    header += ["SSIM: points", "fields", "(1 - SSIM) / best peer's"]
    return markdown(header, lines, left=1)


def field_table(rows: list[Row], names: Sequence[str] = SHOWN) -> str:
    """Ours / best peer, field by field: geometric means over the bounds that are in range of bits at equal
    PSNR, and of spectrum error and 1 - SSIM at equal bytes."""
    measured = [name for name in names if any(row["compressor"] == name for row in rows)]
    lines = []
    for field, curves in by_field(rows).items():
        cells = []
        for name in measured:
            for x, y in ((psnr, log_bits), (log_bits, log_spectrum_error), (log_bits, log_dissimilarity)):
                compared = at_our_points(curves, name, x, y)
                inside = [comparison.ratio for comparison in compared if comparison.other is not None]
                cells.append(f"{geometric_mean(inside):.3f}" if inside else "-")
        lines.append([field, *cells])
    header = ["ours / best peer", *(f"{name}: {what}" for name in measured for what in WHAT)]
    return markdown(header, lines, left=1)


def tables(rows: list[Row]) -> str:
    """All of them."""
    parts = [equal_psnr_table(rows), own_best_table(rows), quality_table(rows), field_table(rows)]
    failed = [row for row in rows if row["problem"] or row["violations"] not in ("", "0")]
    ours = sum(row["compressor"] in OUR_NAMES for row in failed)
    return "\n".join(
        [*parts, f"{len(rows)} rows; {len(failed)} failed or are outside, {ours} of them ours.\n"]
    )


def _rels(rows: Iterable[Row]) -> list[str]:
    return sorted({row["rel"] for row in rows}, key=float, reverse=True)


def _mean(some: list[Comparison]) -> str:
    ratios = [comparison.ratio for comparison in some if comparison.other is not None]
    return (
        f"{geometric_mean(ratios):.3f} ({len(ratios)} of {len(some)})" if ratios else f"- (0 of {len(some)})"
    )
