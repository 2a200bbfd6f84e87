"""The folder of results: what lies where, so that judging and reporting need nothing else.

    study.toml               the question as it was given, byte for byte
    plan.json                the study resolved: every default filled in, every case with its fingerprint, and
                             `sha256` over all of it, taken before a pixel is compressed
    trials.parquet           the rows, sorted, once the run is complete (columns: study.rows.COLUMNS)
    parts/*.parquet          the same rows as they came, while it is not; each part appears whole or not at all
    images.json              what every image is: shape, bits, spacing, range of values, modality
    observers.json           intra- and inter-observer variability, when the cases have readers
    timing.json              seconds of codecs, tasks, metrics and of slimscan itself; machine; the command that ran
    verdict.json             what `study judge` derived from the rows
    certificate-CODEC.json   one for every codec with a certified level
    report.html              what `study report` draws from all of these
    cache/                   what was computed, by content; may be deleted, or shared between studies with --cache

Pixels are not stored: `study.redo.redo(folder, image, codec, level)` compresses a case again with its own setting and
gives back the original, the decoded image and the masks, for pictures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from slimscan.errors import InputError
from slimscan.press.staging import staged

FORMAT = 1


@dataclass(frozen=True)
class Folder:
    """The places in one folder of results."""

    path: Path

    @property
    def toml(self) -> Path:
        """The study as given."""
        return self.path / "study.toml"

    @property
    def plan(self) -> Path:
        """The study resolved."""
        return self.path / "plan.json"

    @property
    def trials(self) -> Path:
        """All rows, sorted; there only when the run is complete."""
        return self.path / "trials.parquet"

    @property
    def parts(self) -> Path:
        """Rows as they came."""
        return self.path / "parts"

    @property
    def images(self) -> Path:
        """What every image is."""
        return self.path / "images.json"

    @property
    def observers(self) -> Path:
        """Agreement of readers on the uncompressed images."""
        return self.path / "observers.json"

    @property
    def timing(self) -> Path:
        """Where the time went."""
        return self.path / "timing.json"

    @property
    def verdict(self) -> Path:
        """What the rows say."""
        return self.path / "verdict.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    @property
    def cache(self) -> Path:
        """What was computed, by content."""
        return self.path / "cache"

    def certificate(self, codec: str) -> Path:
        """The certificate of one codec."""
        return self.path / f"certificate-{codec}.json"

    def read_plan(self) -> dict[str, Any]:
        """plan.json; InputError when this is no folder of results or of a newer format."""
        found = read_json(self.plan, "run the study first: slimscan study run STUDY.toml")
        if int(found.get("format", 0)) > FORMAT:
            raise InputError(f"{self.plan}: format {found['format']} is newer than {FORMAT}; update slimscan")
        return found


def read_json(path: Path, instead: str) -> dict[str, Any]:
    """A JSON object from a file; InputError naming the file and what to do instead."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: is not there; {instead}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); {instead}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: holds a {type(found).__name__}, want one JSON object; {instead}")
    return found


def plain(value: Any) -> Any:
    """Values that JSON has: dataclasses become objects, tuples lists, NaN and infinities null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value.item() if hasattr(value, "item") else value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """A JSON object to a file that appears whole or not at all; numbers must be finite (use None)."""
    with staged(path, force=True) as stage:
        stage.path.write_text(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n", "utf-8")
