"""Write tests/sizes.csv: bytes of every generated field at every bound. The diff belongs in the commit."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from test_real_fields import BOUNDS, FILLS, SIZES

import lossyzip as lz
from datasets import synthetic


def main() -> None:
    rows = []
    for name, array in synthetic.fields().items():
        fills = FILLS.get(name)
        sizes = {f"{rel:g}": len(lz.compress(array, lz.relative(rel), fill_value=fills)) for rel in BOUNDS}
        rows.append({"field": name, "raw": array.nbytes, **sizes})
    with SIZES.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
