"""Levels: the grid of settings that a study tries with one codec, from mildest to strongest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slimscan.codecs import codec as find_codec
from slimscan.errors import InputError
from slimscan.nouns import MaxError, Peak, Psnr, Ratio, Setting, Target
from slimscan.study.declared import LEVELS


@dataclass(frozen=True)
class Level:
    """nominal: the number in the TOML. step: 1 for the mildest, 2 for the next ... target: None when it is matched."""

    nominal: float
    step: int
    target: Target | None

    @property
    def text(self) -> str:
        """The nominal number as people write it: 55, 12.5."""
        return f"{self.nominal:g}"


@dataclass(frozen=True)
class CodecPlan:
    """One codec with its levels. match: the codec whose reached PSNR is each level's target, or None.

    kind: which word of the TOML the levels came from. size: what the achieved ratio counts.
    """

    name: str
    kind: str
    levels: tuple[Level, ...]
    per: str
    peak: Peak
    size: str
    match: str | None = None


def codec_plans(said: list[dict[str, Any]]) -> tuple[CodecPlan, ...]:
    """Every [[codecs]] with its levels in order; InputError for none, two of one name, or levels that cannot be."""
    plans: dict[str, CodecPlan] = {}
    if not said:
        raise InputError("[[codecs]]: want at least one, with a name and levels")
    for one in sorted(said, key=lambda one: one["match"] is not None):
        if one["name"] in plans:
            raise InputError(f'[[codecs]]: "{one["name"]}" comes twice; put its levels together')
        plans[one["name"]] = _plan(one, plans)
    return tuple(plans[one["name"]] for one in said)


def _plan(one: Mapping[str, Any], others: Mapping[str, CodecPlan]) -> CodecPlan:
    name, where = one["name"], f"[[codecs]] {one['name']}"
    found = find_codec(name)
    given = [word for word in LEVELS if one[word] is not None]
    if len(given) != 1:
        came = " and ".join(given) or "none"
        raise InputError(f"{where}: want its levels by one of {', '.join(LEVELS)}; came: {came}")
    if found.knob is None:
        raise InputError(f"{where}: this codec is exact only; it has no levels to study")
    kind = given[0]
    peak = _peak(where, one["peak"])
    if kind == "match":
        other = others.get(one["match"])
        if other is None or other.match:
            allowed = ", ".join(plan.name for plan in others.values() if not plan.match)
            raise InputError(
                f'{where}: match = "{one["match"]}" is no codec with levels of its own; allowed: {allowed}'
            )
        levels = tuple(Level(level.nominal, level.step, None) for level in other.levels)
        return CodecPlan(name, kind, levels, one["per"], other.peak, one["size"], other.name)
    numbers = list(one[kind])
    if len(set(numbers)) != len(numbers):
        raise InputError(f"{where}: {kind} = {numbers}: a level comes twice")
    finest_high = kind == "psnr" or (kind == "settings" and found.knob.finer == "high")
    numbers.sort(reverse=finest_high)
    return CodecPlan(
        name,
        kind,
        tuple(
            Level(number, step, _target(kind, name, number, peak, where))
            for step, number in enumerate(numbers, start=1)
        ),
        one["per"],
        peak,
        one["size"],
    )


def _target(kind: str, name: str, number: float, peak: Peak, where: str) -> Target:
    if kind == "ratios":
        return Ratio(number)
    if kind == "psnr":
        return Psnr(number, peak)
    if kind == "max_error":
        return MaxError(number)
    knob = find_codec(name).knob
    assert knob is not None
    try:
        return Setting(name, knob.check(name, number))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _peak(where: str, text: str) -> Peak:
    if text in ("stored", "range", "dtype"):
        return text  # type: ignore[return-value] # one of the three names
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise InputError(f'{where}: peak = "{text}": want stored, range, dtype, or a positive number as text')
    return value
