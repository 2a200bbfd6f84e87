"""Words of a study's TOML: each is declared once, with its type, range, unit and meaning.

From the declaration come the check, the message, the hash, and the commented file that `study new` writes.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from slimscan.errors import InputError

Kind = Literal["text", "texts", "number", "numbers", "whole", "flag", "labels"]

REQUIRED: Any = object()  # a word without a default

FORMS = {
    "text": 'a text, "..."',
    "texts": 'a text or a list of texts, ["...", "..."]',
    "number": "a number",
    "numbers": "a list of numbers, [1, 2.5]",
    "whole": "a whole number",
    "flag": "true or false",
    "labels": "names with label values, {liver = 5, kidneys = [2, 3]}",
}


@dataclass(frozen=True)
class Word:
    """One word. allowed: the texts it may be; empty for any. low..high: the range of its number or numbers.

    default: REQUIRED, or what holds when the word is left out; None means "not said". example: for `study new`.
    """

    name: str
    kind: Kind
    help: str
    default: Any = REQUIRED
    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    allowed: tuple[str, ...] = ()
    example: Any = None

    @property
    def range(self) -> str:
        """What its number may be, for people; "" when anything."""
        unit = f" {self.unit}" if self.unit else ""
        if math.isinf(self.low) and math.isinf(self.high):
            return unit.strip()
        if math.isinf(self.high):
            return f"at least {self.low:g}{unit}"
        if math.isinf(self.low):
            return f"at most {self.high:g}{unit}"
        return f"{self.low:g} to {self.high:g}{unit}"

    def check(self, where: str, value: Any) -> Any:
        """The value in its own type (lists become tuples); InputError naming where it stands and what is allowed."""
        place = f"{where} {self.name}"
        if self.kind == "text":
            return self._text(place, value)
        if self.kind == "texts":
            found = [value] if isinstance(value, str) else value
            if not isinstance(found, (list, tuple)) or not found:
                raise self._refused(place, value)
            return tuple(self._text(place, one) for one in found)
        if self.kind == "flag":
            if not isinstance(value, bool):
                raise self._refused(place, value)
            return value
        if self.kind == "numbers":
            found = value if isinstance(value, (list, tuple)) else [value]
            if not found:
                raise self._refused(place, value)
            return tuple(self._number(place, one) for one in found)
        if self.kind == "labels":
            return self._labels(place, value)
        return self._number(place, value)

    def _text(self, place: str, value: Any) -> str:
        if not isinstance(value, str) or (not value and self.default != ""):
            raise self._refused(place, value)
        if self.allowed and value not in self.allowed:
            raise InputError(f'{place} = "{value}": allowed: {", ".join(self.allowed)}{nearest(value, self.allowed)}')
        return value

    def _number(self, place: str, value: Any) -> Any:
        whole = self.kind == "whole"
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or (whole and not (math.isfinite(value) and value == int(value)))
        ):
            raise self._refused(place, value)
        if not (self.low <= value <= self.high and math.isfinite(value)):
            raise InputError(f"{place} = {value}: allowed: {self.range or 'any finite number'}; {self.help}")
        return int(value) if whole else float(value)

    def _labels(self, place: str, value: Any) -> dict[str, tuple[int, ...]]:
        if not isinstance(value, Mapping) or not value:
            raise self._refused(place, value)
        out: dict[str, tuple[int, ...]] = {}
        for name, labels in value.items():
            many = labels if isinstance(labels, (list, tuple)) else [labels]
            if not many or any(isinstance(one, bool) or not isinstance(one, int) or one == 0 for one in many):
                raise InputError(f"{place}.{name} = {labels}: want one label value or a list of them, none of them 0")
            out[str(name)] = tuple(many)
        return out

    def _refused(self, place: str, value: Any) -> InputError:
        return InputError(f"{place} = {value!r}: want {FORMS[self.kind]}; {self.help}")


def table(where: str, words: Sequence[Word], given: Any) -> dict[str, Any]:
    """A table of the TOML with every word checked and every default filled in.

    InputError for an unknown word (with the allowed ones and the nearest), a missing one, or a value outside.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"{where}: want a table of words, came {given!r}")
    known = {word.name: word for word in words}
    for name in given:
        if name not in known:
            raise InputError(
                f'{where}: the word "{name}" is not known; allowed: {", ".join(known)}{nearest(name, known)}'
            )
    out: dict[str, Any] = {}
    for word in words:
        if word.name in given:
            out[word.name] = word.check(where, given[word.name])
        elif word.default is REQUIRED:
            raise InputError(f"{where}: {word.name} is missing; want {FORMS[word.kind]}: {word.help}")
        else:
            out[word.name] = word.default
    return out


def nearest(word: str, allowed: Any) -> str:
    """ "; did you mean X?" when a word is close to an allowed one, else nothing."""
    close = difflib.get_close_matches(str(word), list(allowed), n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""
