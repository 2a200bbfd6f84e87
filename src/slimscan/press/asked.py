"""What was asked of one image, made plain: a guideline becomes a ratio, HU become stored units, its past is looked up.

Between the words of a person and the search, which knows numbers only; and back again, onto the receipt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from slimscan.nouns import Check, MaxError, Policy, Ratio, Receipt, Target, Volume
from slimscan.press import history, policy, units
from slimscan.press.allot import Found
from slimscan.press.choose import Case
from slimscan.press.most import measured as measured_ratio
from slimscan.press.most import most_check
from slimscan.press.probe import Piece
from slimscan.press.scheme import Scheme
from slimscan.press.verify import ratio_check


@dataclass(frozen=True)
class Asked:
    """volume: with what its file is to remember in `about`. target: for the search. said: as a person put it."""

    volume: Volume
    target: Target
    said: Target | Policy
    past: history.Past
    ruling: policy.Ruling | None = None

    def onto(self, receipt: Receipt, pieces: Sequence[Piece], found: Found | None, case: Case) -> Receipt:
        """The receipt with the words that were asked in, errors in the image's unit, the guideline and the past."""
        notes = [*receipt.notes, *([self.past.note] if self.past.note else [])]
        told: dict[str, Any] | None = None
        if self.ruling is not None and found is not None:
            told = self.ruling.as_json() | measured_ratio(case, pieces, found, self.ruling.sample_bytes)
            notes += self.ruling.notes
        return replace(
            receipt,
            target=receipt.target if self.ruling is not None else str(self.said),
            max_abs_error_real=units.real(receipt.max_abs_error, self.volume),
            unit=units.real_unit(self.volume),
            policy=told,
            history=self.past.as_json(),
            notes=tuple(notes),
        )

    def in_words(self, promised: Sequence[Check], worst: float) -> list[Check]:
        """Checks of pixels in the unit that was asked for."""
        return (
            units.in_both(promised, self.said, self.volume, worst) if isinstance(self.said, MaxError) else [*promised]
        )


def settled(target: Target | Policy, codec: str | None, volume: Volume, allow_lossy_again: bool) -> Asked:
    """What was asked, for this image; InputError for a unit it does not have, a guideline without a row, a lossy past."""
    if not isinstance(target, Policy):
        past = history.admit(volume, target, allow_lossy_again)
        stored = units.stored(target, volume) if isinstance(target, MaxError) else target
        return Asked(history.carried(volume, past), stored, target, past)
    ruling = policy.rule(target, volume, codec or policy.DEFAULT_CODEC)
    past = history.admit(volume, target, allow_lossy_again)
    kept = history.carried(volume, past)
    return Asked(replace(kept, about={**kept.about, "policy": ruling.as_json()}), ruling.target, target, past, ruling)


def size_checks(
    case: Case, pieces: Sequence[Piece], found: Found | None, receipt: Receipt, pixels: bool, scheme: Scheme
) -> list[Check]:
    """The promise about bytes: of the encoded ones for a ratio that must not be exceeded, else as ratio_check() has it.

    pixels: the output holds decoded pixels, which have a size of their own.
    """
    if isinstance(case.target, Ratio) and case.target.most and found is not None:
        return most_check(case, pieces, found, receipt.ratio_payload)
    exact = receipt.setting.endswith("@lossless")
    of, ratio = ("the codec's bytes", receipt.ratio_payload) if pixels else ("the file", receipt.ratio)
    return ratio_check(case.target, case.per, ratio, exact, of, rounds=not scheme.grid.exact)
