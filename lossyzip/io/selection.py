"""Which bound a field gets: patterns as in a shell. Knows names, not files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lossyzip.bound import Bound, lossless
from lossyzip.errors import InvalidArgumentError, UnsupportedDataError


@dataclass(frozen=True)
class Candidate:
    """A dataset that a pattern may name.

    ``names`` are its paths, without the leading slash; more than one when it has hard links. ``keep``
    tells why it should stay as it is, "" for a field that can be compressed. ``named_only`` fields are
    compressed where a pattern spells them out, not for a wildcard; ``refused`` data is no field at all.
    """

    names: tuple[str, ...]
    keep: str = ""
    named_only: bool = False
    refused: bool = False


@dataclass(frozen=True)
class Choice:
    """What happens to a dataset: ``bound`` None means that it stays as it is, ``note`` says why."""

    bound: Bound | None
    named: bool
    note: str


def choose(candidates: Sequence[Candidate], bounds: Mapping[str, Bound]) -> dict[str, Choice]:
    """{first name: choice}; the first pattern that matches counts, a field that none matches is lossless.

    Raises InvalidArgumentError for a pattern that matches nothing, UnsupportedDataError for one that
    matches only what lossyzip cannot take.
    """
    for pattern, bound in bounds.items():
        if not isinstance(bound, Bound):
            raise InvalidArgumentError(
                f"the bound of {pattern!r} must be absolute(), relative() or lossless()"
            )
    check_patterns(bounds, candidates)
    return {c.names[0]: _choice(c, bounds) for c in candidates}


def check_patterns(patterns: Iterable[str], candidates: Sequence[Candidate]) -> None:
    """Raise for a pattern that matches nothing, or only what is refused."""
    for pattern in patterns:
        found = [c for c in candidates if _matches(pattern, c)]
        if pattern.strip("/") == "*":
            continue  # means "whatever there is"
        if not found:
            fields = ", ".join(sorted(c.names[0] for c in candidates if not c.refused)) or "none"
            raise InvalidArgumentError(f"pattern {pattern!r} matches no field; the fields are: {fields}")
        if all(c.refused for c in found):
            raise UnsupportedDataError(
                f"pattern {pattern!r} matches no field, but {found[0].names[0]!r}: {found[0].keep}"
            )


def named_by(candidate: Candidate, patterns: Iterable[str]) -> str | None:
    """The first of ``patterns`` that matches, if any."""
    return next((pattern for pattern in patterns if _matches(pattern, candidate)), None)


def _choice(candidate: Candidate, bounds: Mapping[str, Bound]) -> Choice:
    pattern = named_by(candidate, bounds)
    spelled_out = pattern is not None and (not _is_wild(pattern) or _is_name(pattern, candidate))
    if candidate.keep and not (candidate.named_only and spelled_out):
        return Choice(None, pattern is not None, candidate.keep)
    if pattern is None:
        return Choice(lossless(), False, "no pattern names it")
    return Choice(bounds[pattern], True, "")


def _matches(pattern: str, candidate: Candidate) -> bool:
    """On the whole path, and for a pattern without a slash on the last part of the path as well."""
    pattern = pattern.removeprefix("/")
    return _is_name(pattern, candidate) or any(
        fnmatchcase(name, pattern) or ("/" not in pattern and fnmatchcase(name.rpartition("/")[2], pattern))
        for name in candidate.names
    )


def _is_name(pattern: str, candidate: Candidate) -> bool:
    """A name is a pattern for itself, even with brackets in it."""
    pattern = pattern.removeprefix("/")
    return any(pattern in (name, name.rpartition("/")[2]) for name in candidate.names)


def _is_wild(pattern: str) -> bool:
    return any(letter in pattern for letter in "*?[")
