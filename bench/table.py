"""Rows of measurements -> markdown for docs/BENCHMARKS.md. Measures nothing."""

from __future__ import annotations

from collections.abc import Iterator

from bench import generations, previous_step, robustness
from bench.ablation import VARIANTS
from bench.lossless import LEVELS
from bench.peers import PEERS
from bench.ratio import geometric_mean
from bench.rows import Row

MARKS = {"yes": "", "": "", "rounded": "°", "no": "\\*"}
MARKS_EXPLAINED = """\
° outside the bound by the rounding to the field's dtype (half an ulp at most).
\\* outside the bound by more than that. Both count as the peer's ratio all the same.
"""


def ratio_table(rows: list[Row]) -> str:
    names = [peer.name for peer in PEERS]
    header = ["file", "field", "shape", "rel", "lossyzip", *map(str.upper, names), "gain", "violations"]
    lines = [
        [
            *(row["file"], row["field"], row["shape"], row["rel"]),
            _ratio(row, "ours"),
            *(_ratio(row, name) + MARKS[row[f"{name}_within"]] for name in names),
            row["gain"] and f"{float(row['gain']):.2f}",
            row["violations"] if not row["problem"] else row["problem"],
        ]
        for row in rows
    ]
    return markdown(header, lines, left=3) + "\n" + MARKS_EXPLAINED


def lossless_table(rows: list[Row]) -> str:
    """Ratios without loss, and sizes relative to shuffle + zstd; their geometric means."""
    header = ["file", "field", "shape", "lossyzip"]
    header += [f"size / shuffle + zstd -{level}" for level in LEVELS]
    lines = []
    relative: dict[int, list[float]] = {level: [] for level in LEVELS}
    for row in rows:
        ours = int(row["ours_bytes"])
        for level in LEVELS:
            relative[level].append(ours / int(row[f"zstd{level}_bytes"]))
        sizes = [f"{relative[level][-1]:.3f}" for level in LEVELS]
        lines.append([row["file"], row["field"], row["shape"], f"{int(row['raw_bytes']) / ours:.3f}", *sizes])
    if rows:
        means = [f"{geometric_mean(relative[level]):.3f}" for level in LEVELS]
        lines.append(["all", f"{len(rows)} fields", "", "", *means])
    return markdown(header, lines, left=3)


def learned_table(rows: list[Row]) -> str:
    """Ratios without references, with taps into them, and with all that they tell; geometric means of what
    taps and all gain, of each set and of all."""
    header = ["set", "field", "rel", "references", "alone", "taps", "all", "taps gain", "gain", "best peer"]
    header += ["network bytes", "search s", "trained s", "Mvalues/s", "decoded s"]
    lines = []
    for row in rows:
        raw = int(row["raw_bytes"])
        ratios = [f"{raw / int(row[f'{how}_bytes']):.2f}" for how in ("plain", "tapped", "learned")]
        taps = f"{int(row['plain_bytes']) / int(row['tapped_bytes']):.4f}"
        peer = f"{raw / int(row['peer_bytes']):.2f}" if row["peer_bytes"] else ""
        names = [row["file"], row["field"], row["rel"], row["references"].replace(" ", ", ")]
        speed = f"{float(row['values_a_second']) / 1e6:.1f}" if row["values_a_second"] else ""
        rest = [
            row["network_bytes"],
            row["search_seconds"],
            row["train_seconds"],
            speed,
            row["decompress_wall"],
        ]
        lines.append([*names, *ratios, taps, row["gain"], peer, *rest])
    for name in (*dict.fromkeys(row["file"] for row in rows), "all"):
        some = [row for row in rows if name in (row["file"], "all")]
        taps = geometric_mean([int(row["plain_bytes"]) / int(row["tapped_bytes"]) for row in some])
        gain = geometric_mean([float(row["gain"]) for row in some])
        lines.append([name, f"{len(some)} rows", *[""] * 5, f"{taps:.3f}", f"{gain:.3f}", *[""] * 6])
    return markdown(header, lines, left=4)


def latents_table(rows: list[Row]) -> str:
    """Ratios of all that references tell, without latents and with, of the fields that have some; geometric
    means over all."""
    header = [
        "set",
        "field",
        "rel",
        "references",
        "alone",
        "without",
        "with latents",
        "gain",
        "latents",
        "network",
    ]
    lines = []
    for row in rows:
        if row["latent_bytes"] != "0":
            raw = int(row["raw_bytes"])
            ratios = [f"{raw / int(row[f'{how}_bytes']):.2f}" for how in ("plain", "guided", "learned")]
            names = [row["file"], row["field"], row["rel"], row["references"].replace(" ", ", ")]
            own = [_gain_of_latents(row), row["latent_bytes"], row["network_bytes"]]
            lines.append([*names, *ratios, f"{own[0]:.4f}", *own[1:]])
    for name in (*dict.fromkeys(row["file"] for row in rows), "all"):
        some = [_gain_of_latents(row) for row in rows if name in (row["file"], "all")]
        lines.append([name, f"{len(some)} rows", *[""] * 5, f"{geometric_mean(some):.3f}", "", ""])
    return markdown(header, lines, left=4)


def _gain_of_latents(row: Row) -> float:
    return int(row["guided_bytes"]) / int(row["learned_bytes"])


def given_table(rows: list[Row]) -> str:
    """Ratios of fields alone, given others of their set, and with latents beside these."""
    lines = []
    for row in rows:
        plain, given = (int(row["raw_bytes"]) / int(row[f"{how}_bytes"]) for how in ("plain", "given"))
        ratios = [f"{plain:.2f}", f"{given:.2f}", f"{given / plain:.4f}"]
        latents = int(row["latents_bytes"] or 0)
        ratios += (
            [f"{int(row['raw_bytes']) / latents:.2f}", f"{int(row['given_bytes']) / latents:.4f}"]
            if latents
            else ["", ""]
        )
        lines.append([row["file"], row["field"], row["rel"], row["others_rel"], *ratios])
    header = [
        "set",
        "field",
        "rel",
        "rel of the others",
        "alone",
        "given others",
        "gain",
        "with latents",
        "gain of these",
    ]
    return markdown(header, lines, left=4)


def previous_step_table(rows: list[Row]) -> str:
    """Sizes of steps, alone and with the one before as a reference, over that of the field in one piece."""
    lines = []
    for row in rows:
        whole, *others = (int(row[f"{how}_bytes"]) for how in previous_step.HOW)
        shares = [f"{size / whole:.3f}" for size in others]
        lines.append([row["file"], row["field"], row["rel"], str(whole), *shares])
    header = [
        "set",
        "field",
        "rel",
        "whole, bytes",
        "steps alone",
        "+ taps into the step before",
        "+ network",
    ]
    return markdown(header, lines, left=3)


def generations_table(rows: list[Row]) -> str:
    """The largest error / eps over all fields, for each compressor."""
    columns = [name for name in generations.COLUMNS if name.startswith(("after", "in_parts"))]
    fields = {row["field"] for row in rows}
    header = [f"largest error / eps over {len(fields)} fields", *(name.replace("_", " ") for name in columns)]
    lines = [
        [name, *(f"{max(float(row[c]) for row in rows if row['compressor'] == name):.2f}" for c in columns)]
        for name in dict.fromkeys(row["compressor"] for row in rows)
    ]
    return markdown(header, lines, left=1)


def ratio_summary(rows: list[Row]) -> str:
    """Geometric means of the gain over the best peer: overall and for each bound; the smallest gain."""
    counted = [row for row in rows if row["gain"]]
    lines = [_summary_line("all", counted)] if counted else []
    for rel in sorted({row["rel"] for row in counted}, key=float, reverse=True):
        lines.append(_summary_line(rel, [row for row in counted if row["rel"] == rel]))
    header = ["rel", "rows", "gain (geometric mean)", "smallest", "at", "below 1", "gain over refolded peers"]
    failed = [row for row in rows if row["problem"] or row["violations"] not in ("", "0")]
    text = markdown(header, lines, left=0)
    return text + f"\n{len(rows)} rows, {len(failed)} of them failed or with violations.\n"


def _summary_line(name: str, rows: list[Row]) -> list[str]:
    gains = [float(row["gain"]) for row in rows]
    least = min(rows, key=lambda row: float(row["gain"]))
    refolded = geometric_mean([float(row["refolded_gain"]) for row in rows])
    return [
        name,
        str(len(rows)),
        f"{geometric_mean(gains):.3f}",
        f"{min(gains):.3f}",
        f"{least['file']}/{least['field']} {least['rel']}",
        str(sum(gain < 1 for gain in gains)),
        f"{refolded:.3f}",
    ]


def psnr_table(rows: list[Row]) -> str:
    header = ["file", "field", "shape", "rel", "bits/value", "best peer", "its dB", "lossyzip dB", "gain"]
    lines = [
        [
            *(row["file"], row["field"], row["shape"], row["rel"], row["bits"]),
            *(f"{row['best_peer'].upper()} ({row['setting'].split()[0]})", row["peer_psnr"]),
            *(row["ours_psnr"], f"{float(row['gain']):+.2f}" if not row["problem"] else row["problem"]),
        ]
        for row in rows
    ]
    return markdown(header, lines, left=3)


def psnr_summary(rows: list[Row]) -> str:
    """Mean of the gains in dB, and the smallest: overall and for each bound."""
    counted = [row for row in rows if row["gain"]]
    names = sorted({row["rel"] for row in counted}, key=float, reverse=True)
    groups = [("all", counted), *((rel, [row for row in counted if row["rel"] == rel]) for rel in names)]
    lines = []
    for name, group in groups:
        if group:
            gains = [float(row["gain"]) for row in group]
            least = min(group, key=lambda row: float(row["gain"]))
            where = f"{least['file']}/{least['field']} {least['rel']}"
            mean = sum(gains) / len(gains)
            lines.append(
                [
                    name,
                    str(len(gains)),
                    f"{mean:+.2f}",
                    f"{min(gains):+.2f}",
                    where,
                    str(sum(g < 0 for g in gains)),
                ]
            )
    return markdown(["rel", "rows", "gain in dB (mean)", "smallest", "at", "below 0"], lines, left=0)


def robustness_table(rows: list[Row]) -> str:
    """How many cases of a situation had which outcome, the worst first."""
    header, *lines = robustness.cells(rows)
    return markdown(header, lines, left=len(header))


def ablation_table(rows: list[Row]) -> str:
    """Geometric means of the size relative to `balanced`, overall and for each bound; and the extremes."""
    names = sorted({row["rel"] for row in rows}, key=float, reverse=True)
    lines = []
    for variant, what in VARIANTS.items():
        own = [row for row in rows if row["variant"] == variant]
        if not own:
            continue
        groups = [own, *([row for row in own if row["rel"] == rel] for rel in names)]
        means = [geometric_mean([float(row["relative_size"]) for row in group]) for group in groups]
        least, most = (end(own, key=lambda row: float(row["relative_size"])) for end in (min, max))
        extremes = [
            f"{row['relative_size']} {row['file']}/{row['field']} {row['rel']}" for row in (least, most)
        ]
        lines.append([variant, what, *extremes, str(len(own)), *(f"{mean:.3f}" for mean in means)])
    header = ["variant", "what it is", "smallest", "largest", "rows", "size", *names]
    return markdown(header, lines, left=4)


def one_thread_table(rows: list[Row]) -> str:
    """MB/s of CPU time on one core; lossyzip's compression without and with its verification."""
    header = ["file", "field", "rel", "MB", "lossyzip in", "verified", "out"]
    header += ["SZ3 in", "out", "ZFP in", "out", "in / SZ3", "out / SZ3", "in / ZFP", "out / ZFP"]
    lines = []
    for ours, peers in _grouped(rows):
        if ours["threads"] != "1" or ours["processes"] != "1":
            continue
        numbers = [_speed(ours, column) for column in ("encode_seconds", "compress_cpu", "decompress_cpu")]
        for name in ("sz3", "zfp"):
            numbers += [_speed(peers.get(name), column) for column in ("compress_cpu", "decompress_cpu")]
        shares = [numbers[0 if k % 2 else 2] / numbers[k] for k in (3, 4, 5, 6)]
        lines.append(
            [
                *(ours["file"], ours["field"], ours["rel"], f"{int(ours['raw_bytes']) / 1e6:.1f}"),
                *(f"{number:.0f}" for number in numbers),
                *(f"{share:.2f}" for share in shares),
            ]
        )
    return markdown(header, lines, left=2)


def threads_table(rows: list[Row]) -> str:
    """With more than one thread: MB/s of wall time; how many times that of one thread it is, and what part of
    that of as many processes at once; CPU time over wall time."""
    header = ["file", "field", "rel", "threads"]
    header += [name for way in ("in", "out") for name in (way, "of one", "of processes", "CPU / wall")]
    lines = []
    for ours in rows:
        if ours["compressor"] != "lossyzip" or ours["threads"] == "1":
            continue
        same = [row for row in rows if _field_and_bound(row) == _field_and_bound(ours)]
        of = {(row["threads"], row["processes"]): row for row in same if row["compressor"] == "lossyzip"}
        line = [ours["file"], ours["field"], ours["rel"], ours["threads"]]
        for way in ("compress", "decompress"):
            column = f"{way}_wall"
            one, side_by_side = (
                _speed(ours, column) / _speed(of.get(("1", processes)), column)
                for processes in ("1", ours["threads"])
            )
            shares = one, side_by_side / int(ours["threads"]), _busy(ours, way)
            line += [f"{_speed(ours, column):.0f}", *(f"{share:.2f}" for share in shares)]
        lines.append(line)
    return markdown(header, lines, left=2)


def _field_and_bound(row: Row) -> tuple[str, str, str]:
    return row["file"], row["field"], row["rel"]


def _grouped(rows: list[Row]) -> Iterator[tuple[Row, dict[str, Row]]]:
    """Each of our rows with its peers' rows by name."""
    for ours in rows:
        if ours["compressor"] == "lossyzip":
            same = [row for row in rows if _field_and_bound(row) == _field_and_bound(ours)]
            yield ours, {row["compressor"]: row for row in same}


def _speed(row: Row | None, column: str) -> float:
    if row is None or row["problem"] or float(row[column]) == 0:
        return float("nan")
    return int(row["raw_bytes"]) / 1e6 / float(row[column])


def _busy(row: Row, way: str) -> float:
    wall = float(row[f"{way}_wall"])
    return float(row[f"{way}_cpu"]) / wall if wall else float("nan")


def _ratio(row: Row, name: str) -> str:
    if not row[f"{name}_bytes"]:
        return "-"
    ratio = int(row["raw_bytes"]) / int(row[f"{name}_bytes"])
    return f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.3g}"


def markdown(header: list[str], lines: list[list[str]], left: int) -> str:
    """``left``: how many columns are text; the others are aligned to the right."""
    rule = [":--" if column < left else "--:" for column in range(len(header))]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in (header, rule, *lines))
