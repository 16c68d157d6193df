"""What a user asks of enhancers. How they are made: second_pass.py."""

from __future__ import annotations

from typing import NamedTuple

from lossyzip.container.enhanced import OBJECTIVES
from lossyzip.container.in_model import InModel
from lossyzip.errors import InvalidArgumentError

KINDS = ("offsets", "network")


class Ready(NamedTuple):
    """An enhancer that needs no training: its bytes, and in which model a decoder finds it, if the frame is
    not to have it."""

    enhancer: bytes
    where: InModel | None


class Enhancing(NamedTuple):
    """Kinds of enhancers to choose from; nominal seconds to train (None: 60 s for 100 MB); a seed; what
    should become better (objectives.py); one that is taken as it is; and whether the frame may have another
    plan than the one of fewest bytes (enhanced_plan.py)."""

    kinds: tuple[str, ...] = KINDS
    seconds: float | None = None
    seed: int = 0
    objective: str = "psnr"
    ready: Ready | None = None
    any_plan: bool = True


def asked_for(
    enhance: bool | str, seconds: float | None = None, seed: int = 0, idempotent: bool = False
) -> Enhancing | None:
    """What ``enhance`` means: all kinds, none, or one of them; or all of them for an objective.

    Raises InvalidArgumentError.
    """
    if enhance is False:
        return None
    if enhance is not True and enhance not in KINDS + OBJECTIVES:
        names = ", ".join(OBJECTIVES + KINDS)
        raise InvalidArgumentError(f"enhance is True, False or one of {names}, not {enhance!r}")
    if idempotent:
        raise InvalidArgumentError("what is enhanced is not idempotent; leave one of both out")
    if seconds is not None and not 0.0 <= seconds < float("inf"):
        raise InvalidArgumentError(f"seconds to train must be finite and >= 0, not {seconds}")
    kinds = (str(enhance),) if enhance in KINDS else KINDS
    return Enhancing(kinds, seconds, seed, str(enhance) if enhance in OBJECTIVES else "psnr")
