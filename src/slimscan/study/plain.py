"""Values as JSON: the same bytes for the same verdict, every time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from slimscan.errors import InputError


def as_json(value: Any) -> Any:
    """A verdict, contract or any frozen value as plain dicts, lists, texts, whole and finite numbers, booleans, null.

    Fields keep their order, mappings theirs. NaN (undefined, or not computed) becomes null, infinity the text "inf".
    InputError for a value that has no plain form.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return as_json(value.tolist())
    if isinstance(value, (list, tuple)):
        return [as_json(one) for one in value]
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise InputError(f"a {type(value).__name__} has no plain form; want dataclasses, mappings, lists, texts or numbers")
