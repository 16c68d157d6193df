"""Reports of files as tables for people, and as JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossyzip.io.report import FieldRow, FileReport
    from lossyzip.io.train import TrainReport
    from lossyzip.io.tune import TuneReport
    from lossyzip.io.verify import VerifyReport


def as_json(report: Any) -> str:
    """A report as JSON; infinities and NaN, which JSON does not have, as strings."""
    content = dataclasses.asdict(report)
    for row, item in zip(content.get("fields", ()), getattr(report, "fields", ()), strict=True):
        row["ratio"] = item.ratio
    if hasattr(report, "passed"):
        content["passed"] = report.passed
    return json.dumps(_plain(content), indent=2, allow_nan=False)


def coded_table(report: FileReport) -> str:
    """What `compress` did."""
    head = ("field", "bound", "eps", "max error", "ratio", "MB/s", "verified MB/s", "family")
    lines = [
        (
            row.name,
            row.bound + ("" if row.named else " *"),
            _number(row.eps),
            _number(row.max_error),
            f"{row.ratio:.2f}",
            _speed(row.raw_bytes, row.seconds),
            _speed(row.raw_bytes, row.verify_seconds),
            _family(row),
        )
        for row in report.fields
    ]
    text = [_table(head, lines), _total(report)]
    if any(not row.named for row in report.fields):
        text.append("* no pattern names this field; it is kept lossless")
    return "\n".join(text + _copied(report))


def restored_table(report: FileReport) -> str:
    """What `decompress` did, and what `info` found."""
    head = ("field", "shape", "type", "bound", "eps", "max error", "ratio", "family")
    lines = [
        (
            row.name,
            "x".join(map(str, row.shape)) or "scalar",
            row.dtype,
            row.bound,
            _number(row.eps),
            _number(row.max_error),
            f"{row.ratio:.2f}",
            _family(row),
        )
        for row in report.fields
    ]
    return "\n".join([_table(head, lines), _total(report), *_copied(report)])


def verified_table(report: VerifyReport) -> str:
    """What `verify` found. PSNR = 20 log10((max - min) / rmse) over valid values."""
    head = ("field", "bound", "eps", "max error", "violations", "PSNR dB", "ratio", "")
    lines = [
        (
            row.name,
            row.bound,
            _number(row.eps),
            _number(row.max_error),
            str(row.violations),
            f"{row.psnr:.2f}",
            f"{row.ratio:.2f}",
            row.problem or "ok",
        )
        for row in report.fields
    ]
    text = [_table(head, lines), *(f"differs: {difference}" for difference in report.differences)]
    text.append("verified: every value is within its bound, all else is equal" if report.passed else "FAILED")
    return "\n".join(text)


def trained_table(report: TrainReport) -> str:
    """What `train` found."""
    head = ("field", "bytes", "eps / range", "from")
    lines = [
        (row.name, str(row.network_bytes), _number(row.relative_eps), ", ".join(row.references))
        for row in report.targets
    ]
    text = [_table(head, lines)] if lines else ["no field tells anything of another: the model is empty"]
    text.append(f"model {report.model}: {len(lines)} networks in {_size(report.model_bytes)}")
    if report.alone:
        text.append(f"not predicted: {', '.join(report.alone)}")
    if report.enhanced:
        enhancers = (f"{row.name} ({_size(row.enhancer_bytes)})" for row in report.enhanced)
        text.append(f"enhancers for: {', '.join(enhancers)}")
    return "\n".join(text)


def tuned_table(report: TuneReport) -> str:
    """What `tune` found, each bound as an option of `compress`."""
    head = ("field", "eps / range", "max error", "PSNR dB", "ratio", "bound")
    lines = [
        (
            row.name,
            _number(row.relative_eps),
            _number(row.max_error),
            f"{row.psnr:.2f}",
            f"{row.ratio:.2f}",
            f"-b {_quoted(f'{row.name}={row.bound}')}",
        )
        for row in report.fields
    ]
    return _table(head, lines) if lines else "no field meets the targets"


def _family(row: FieldRow) -> str:
    """With latents, the step of values, or what an enhancer adds to PSNR, or takes from another error."""
    if row.step:
        return f"{row.family}, step {_number(row.step)}"
    family = row.family + (f" with {_size(row.latent_bytes)} of latents" if row.latent_bytes else "")
    if not row.enhancer:
        return family
    what = f"{row.objective} error x {row.objective_left:.2f}, " if row.objective else ""
    return f"{family}, enhanced: {what}{row.psnr_gain:+.2f} dB"


def _quoted(text: str) -> str:
    """In single quotes, for a shell."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _total(report: FileReport) -> str:
    raw = sum(row.raw_bytes for row in report.fields)
    coded = sum(row.compressed_bytes for row in report.fields)
    if not report.fields:
        return "no compressed fields"
    count = f"{len(report.fields)} field{'s' if len(report.fields) > 1 else ''}"
    text = f"{count}: {_size(raw)} as {_size(coded)}, ratio {raw / coded:.2f}"
    if report.source != report.target:
        text += f"; file: {_size(report.source_bytes)} -> {_size(report.target_bytes)}"
    return text


def _copied(report: FileReport) -> list[str]:
    names = (f"{name} ({why})" if why else name for name, why in report.copied.items())
    notes = [f"{row.name}: {row.note}" for row in report.fields if row.note]
    notes += [f"{row.name} needs {', '.join(row.references)}" for row in report.fields if _unsaid(row)]
    if models := sorted({row.model for row in report.fields if row.model}):
        notes.append(f"needs the model {', '.join(models)}")
    return notes + ([f"copied as they are: {', '.join(names)}"] if report.copied else [])


def _unsaid(row: FieldRow) -> bool:
    return bool(row.references) and not row.note


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[k]) for row in (head, *lines)) for k in range(len(head))]
    left = {0, len(head) - 1}

    def line(row: Sequence[str]) -> str:
        cells = [
            c.ljust(w) if k in left else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([line(head), "  ".join("-" * w for w in widths), *map(line, lines)])


def _number(value: float) -> str:
    return "0" if value == 0.0 else f"{value:.4g}"


def _speed(raw_bytes: int, seconds: float) -> str:
    return f"{raw_bytes / seconds / 1e6:.3g}" if seconds > 0.0 else "-"


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
