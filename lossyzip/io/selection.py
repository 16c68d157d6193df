"""Which dataset gets which bound: patterns against names. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lossyzip.bound import Bound
from lossyzip.errors import InvalidArgumentError, UnsupportedDataError


@dataclass(frozen=True)
class Candidate:
    """A dataset, as far as patterns are concerned. ``name`` is its path without the leading slash.

    ``unsupported`` says why it cannot be compressed, or is empty. A ``scale`` is compressed only where a
    pattern without wildcards names it: readers need the coordinates of a file.
    """

    name: str
    unsupported: str = ""
    scale: bool = False


@dataclass(frozen=True)
class Choice:
    """The bound of a field, and whether a pattern named it."""

    bound: Bound
    named: bool


def matches(pattern: str, name: str) -> bool:
    """Shell patterns on the whole path; one without a slash also matches the last component."""
    pattern = pattern.strip("/")
    return fnmatchcase(name, pattern) or (
        "/" not in pattern and fnmatchcase(name.rpartition("/")[2], pattern)
    )


def choose(
    candidates: Sequence[Candidate], bounds: Mapping[str, Bound], otherwise: Bound
) -> dict[str, Choice]:
    """{field name: its bound}: the first pattern that matches counts, ``otherwise`` serves those without one.

    Raises InvalidArgumentError, listing the fields, for a pattern that matches none of them; and
    UnsupportedDataError for one that matches only datasets that cannot be compressed.
    """
    fields = [c for c in candidates if not c.unsupported]
    for pattern in bounds:
        if any(_takes(pattern, c) for c in fields):
            continue
        refused = next((c for c in candidates if c.unsupported and matches(pattern, c.name)), None)
        if refused is not None and not _is_catch_all(pattern):
            raise UnsupportedDataError(f"{refused.name}: {refused.unsupported}")
        if not _is_catch_all(pattern):
            known = ", ".join(c.name for c in fields) or "none"
            raise InvalidArgumentError(f"pattern {pattern!r} matches no field; the fields are: {known}")
    chosen = {}
    for candidate in fields:
        first = next((p for p in bounds if _takes(p, candidate)), None)
        if first is not None:
            chosen[candidate.name] = Choice(bounds[first], named=True)
        elif not candidate.scale:
            chosen[candidate.name] = Choice(otherwise, named=False)
    return chosen


def _takes(pattern: str, candidate: Candidate) -> bool:
    return matches(pattern, candidate.name) and not (candidate.scale and any(c in pattern for c in "*?["))


def _is_catch_all(pattern: str) -> bool:
    return pattern.strip("/") == "*"
