"""Rows of measurements: CSV files in and out, every value as text. Knows no columns."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

Row = dict[str, str]


def read(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def append(path: Path, columns: Sequence[str], row: Row) -> None:
    """Writes the header first where there is no file yet."""
    if not path.exists():
        write(path, columns, [])
    with path.open("a", newline="") as file:
        csv.DictWriter(file, columns).writerow(row)
