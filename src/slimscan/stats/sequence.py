"""Which levels are certified: along one codec (fixed sequence, Holm, Bonferroni), over codecs, over organs."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from slimscan.errors import InputError
from slimscan.stats.values import no_truth, rate

Key = TypeVar("Key", bound=Hashable)


class Steps(NamedTuple):
    """certified: one bool a level, in order of increasing compression; strongest: the last certified index or None."""

    certified: tuple[bool, ...]
    strongest: int | None

    def __bool__(self) -> bool:
        no_truth(self)


class Share(NamedTuple):
    """What a family leaves to one member: its levels, and the alpha that it was tested at in the end."""

    steps: Steps
    alpha: float

    def __bool__(self) -> bool:
        no_truth(self)


def _steps(certified: Sequence[bool]) -> Steps:
    passed = [index for index, yes in enumerate(certified) if yes]
    return Steps(tuple(certified), passed[-1] if passed else None)


def _checked(p: Sequence[float]) -> list[float]:
    values = [float(value) for value in p]
    for index, value in enumerate(values):
        if not (0.0 <= value <= 1.0 or math.isnan(value)):
            raise InputError(f"p {index} of {len(values)} is {value:g}; a p lies in 0..1, or is NaN when undefined")
    return values


def fixed_sequence(p: Sequence[float], alpha: float = 0.05) -> Steps:
    """Each level at full alpha in order of increasing compression, stopping at the first p > alpha (or NaN).

    P(any certified level is harmful) <= alpha without monotonicity: a false certification must reject the first harmful
    level. Levels behind a failure stay uncertified even if their p is small. (Angelopoulos et al. 2021, Learn then
    Test.)
    """
    rate(alpha, "alpha")
    certified, going = [], True
    for value in _checked(p):
        going = going and value <= alpha
        certified.append(going)
    return _steps(certified)


def holm_adjusted(p: Sequence[float]) -> tuple[float, ...]:
    """Holm's (1979) adjusted p, in the order given; NaN counts as 1 among the others and stays NaN."""
    values = _checked(p)
    order = sorted(range(len(values)), key=lambda i: 1.0 if math.isnan(values[i]) else values[i])
    adjusted, highest = [0.0] * len(values), 0.0
    for place, index in enumerate(order):
        value = values[index]
        highest = max(highest, min(1.0, (len(values) - place) * (1.0 if math.isnan(value) else value)))
        adjusted[index] = math.nan if math.isnan(value) else highest
    return tuple(adjusted)


def holm(p: Sequence[float], alpha: float = 0.05) -> Steps:
    """Levels whose Holm-adjusted p <= alpha; may skip a bad level. Declare it before the data are seen."""
    rate(alpha, "alpha")
    return _steps([value <= alpha for value in holm_adjusted(p)])


def bonferroni(p: Sequence[float], alpha: float = 0.05) -> Steps:
    """Levels whose p x number of levels <= alpha; the fallback."""
    rate(alpha, "alpha")
    values = _checked(p)
    return _steps([min(1.0, value * len(values)) <= alpha for value in values])


METHODS: Mapping[str, Callable[[Sequence[float], float], Steps]] = MappingProxyType(
    {"fixed_sequence": fixed_sequence, "holm": holm, "bonferroni": bonferroni}
)


def shares(
    p_by_codec: Mapping[Key, Sequence[float]], alpha: float = 0.05, recycle: bool = True, method: str = "fixed_sequence"
) -> dict[Key, Share]:
    """`family` with its evidence: every codec's levels and the alpha that it had in the end."""
    rate(alpha, "alpha")
    if method not in METHODS:
        raise InputError(f'method "{method}" is not known; allowed: {" ".join(METHODS)}')
    test, found = METHODS[method], dict[Key, Share]()
    unfinished = list(p_by_codec)
    while unfinished:
        # All began with the same share and every gift is split evenly, so the unfinished always hold equal shares.
        each = alpha / (len(unfinished) if recycle else len(p_by_codec))
        found.update({codec: Share(test(p_by_codec[codec], each), each) for codec in unfinished})
        left = [codec for codec in unfinished if not all(found[codec].steps.certified)]
        if not recycle or len(left) == len(unfinished):
            break
        unfinished = left
    return found


def family(
    p_by_codec: Mapping[Key, Sequence[float]], alpha: float = 0.05, recycle: bool = True, method: str = "fixed_sequence"
) -> dict[Key, int | None]:
    """Index of the strongest certified level of every codec, None for none; P(any false certification) <= alpha.

    alpha / K each; when a codec's whole chain is certified its alpha passes in equal parts to the unfinished ones,
    which go on from where they stopped (Bretz et al. 2009). recycle=False keeps alpha / K. An empty mapping gives an
    empty dict.
    """
    return {codec: share.steps.strongest for codec, share in shares(p_by_codec, alpha, recycle, method).items()}


class Union(NamedTuple):
    """p: the largest over organs, per level (NaN when any is). limiting: the organ that gave it, per level."""

    p: tuple[float, ...]
    limiting: tuple[str, ...]

    def __bool__(self) -> bool:
        no_truth(self)


def intersection_union(p_by_organ: Mapping[str, Sequence[float]]) -> Union:
    """Every organ must pass: p per level = max over organs, without correction (Berger 1982), and the limiting organ.

    An undefined p (NaN) is limiting. Equal p: the first organ in the mapping's order. InputError for no organ, or
    organs with different numbers of levels.
    """
    columns = {organ: _checked(p) for organ, p in p_by_organ.items()}
    if len({len(p) for p in columns.values()}) != 1:
        sizes = ", ".join(f"{organ}: {len(p)}" for organ, p in columns.items()) or "none came"
        raise InputError(f"want at least one organ and the same levels for each; got {sizes}")
    levels = range(len(next(iter(columns.values()))))
    limiting = [
        max(columns, key=lambda organ: math.inf if math.isnan(columns[organ][level]) else columns[organ][level])
        for level in levels
    ]
    return Union(tuple(columns[organ][level] for level, organ in zip(levels, limiting, strict=True)), tuple(limiting))
