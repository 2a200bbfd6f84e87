"""The TOML of the protocol: every word declared once, checked as the words of a study are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimscan.codecs import CODECS
from slimscan.errors import InputError
from slimscan.nouns import Codec, Setting
from slimscan.press.slide.families import PAPER
from slimscan.regions.tissue import METHODS
from slimscan.study import declaration, patterns
from slimscan.study.declared import STUDY
from slimscan.study.recipes.wsi2025.paper import MAGNIFICATIONS
from slimscan.study.words import Word, nearest, table

GLASS = ("kept", "painted", "zero-byte")
JPEG444 = "jpeg444"  # the JPEG of `slimscan codecs`, with whole chroma; "jpeg" here is that of tiles, 4:2:0

RECIPE = Word("recipe", "text", "which protocol this is", allowed=("wsi2025",))
SLIDES = (
    Word("files", "texts", "slides: patterns from this file's folder", example="slides/*.svs"),
    Word("magnification", "number", "of level 0, where a file does not say", default=None, low=0.1, high=400),
)
PATCHES = (
    Word("size", "whole", "pixels a side", default=256, low=32, high=4096),
    Word("magnifications", "numbers", "of the patches", default=MAGNIFICATIONS, low=0.1, high=400),
    Word(
        "most",
        "whole",
        "patches of each magnification, shared evenly by the slides; 0: no patches",
        default=138,
        low=0,
        high=10**6,
    ),
    Word("tissue", "number", "share of tissue that a patch has more of", default=0.5, low=0, high=1),
    Word("seed", "whole", "of the draw", default=0, low=0),
    Word("repeats", "whole", "the shortest of so many decodings is the time", default=1, low=1, high=100),
)
CODING = (
    Word("names", "texts", "name@setting of every codec", default=("jpeg@90", "jpeg2000@37", "jpegxl@1")),
    Word("against", "text", "the one that sizes are told against", default="jpeg@90"),
)
PYRAMIDS = (
    Word("glass", "texts", "what becomes of glass", default=GLASS, allowed=GLASS),
    Word("tissue", "text", "masks of tissue, joined by commas", default="colour", example="colour,relative"),
    Word("magnification", "number", "at which the mask is made", default=2.5, low=0.01, high=40),
    Word("margin", "number", "pixels of level 0 around a tile that must be glass, too", default=0.0, low=0),
    Word("most", "whole", "tiles of a level that are encoded", default=4000, low=1),
)
TABLES: Mapping[str, tuple[Word, ...]] = {
    "study": (RECIPE, *STUDY), "slides": SLIDES, "patches": PATCHES, "codecs": CODING, "pyramids": PYRAMIDS,
}  # fmt: skip


@dataclass(frozen=True)
class Protocol:
    """A checked TOML with its slides, (name, path) each. said: every table's words, defaults filled in."""

    said: Mapping[str, Mapping[str, Any]]
    slides: tuple[tuple[str, Path], ...]
    base: Path

    @property
    def codecs(self) -> dict[str, tuple[Codec, float | None]]:
        """name@setting -> the codec and where its knob stands."""
        return {name: coder(name) for name in self.said["codecs"]["names"]}

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the masks."""
        return tuple(one.strip() for one in self.said["pyramids"]["tissue"].split(","))


def coder(name: str) -> tuple[Codec, float | None]:
    """The codec that name@setting means: a tile codec, or one of `slimscan codecs` that holds 8-bit RGB.

    InputError: not known, no such setting, or it cannot be lossless; MissingExtra: its package is not there.
    """
    setting = Setting.parse(name)
    known = {**CODECS, JPEG444: CODECS["jpeg"], **{key: one.codec for key, one in PAPER.items()}}
    found = known.get(setting.codec)
    if found is None or 3 not in found.holds.samples or "uint8" not in found.holds.dtypes:
        able = [key for key, one in known.items() if 3 in one.holds.samples and "uint8" in one.holds.dtypes]
        raise InputError(
            f'codec "{setting.codec}" holds no tiles of RGB; allowed: {", ".join(able)}{nearest(setting.codec, able)}'
        )
    for need in found.needs:
        need.demand(f"the codec {setting.codec}")
    if setting.value is None:
        if not found.lossless:
            raise InputError(f"{setting.codec} is never exact; give it a setting, {setting.codec}@NUMBER")
        return found, None
    if found.knob is None:
        raise InputError(f"{setting.codec} is lossless only; write {setting.codec}@lossless")
    return found, found.knob.check(setting.codec, setting.value)


def family_of(name: str) -> str:
    """The codec's name in name@setting, which the paper's numbers go by."""
    return name.partition("@")[0]


def load(path: Path) -> Protocol:
    """The protocol that a TOML declares; patterns count from its folder. InputError naming the file and the word."""
    return declaration.read(
        path, "`slimscan study new --recipe wsi2025` writes one", lambda given, _: parse(given, path.resolve().parent)
    )


def parse(given: Mapping[str, Any], base: Path) -> Protocol:
    """The protocol of parsed TOML."""
    for name in given:
        if name not in TABLES:
            raise InputError(f"the table [{name}] is not known; allowed: {', '.join(TABLES)}{nearest(name, TABLES)}")
    said = {name: table(f"[{name}]", words, given.get(name, {})) for name, words in TABLES.items()}
    names = said["codecs"]["names"]
    if said["codecs"]["against"] not in names:
        raise InputError(f'[codecs] against = "{said["codecs"]["against"]}": want one of names, {", ".join(names)}')
    found = Protocol(said, tuple(_slides(said["slides"], base)), base)
    _ = found.codecs
    for method in found.methods:
        if method not in METHODS:
            raise InputError(f'[pyramids] tissue = "{method}": allowed: {", ".join(METHODS)}{nearest(method, METHODS)}')
    return found


def _slides(said: Mapping[str, Any], base: Path) -> list[tuple[str, Path]]:
    found: dict[str, Path] = {}
    for pattern in said["files"]:
        for one in patterns.find(base, pattern):
            if one.path.name in found and found[one.path.name] != one.path:
                raise InputError(f'[slides]: two slides are called "{one.path.name}"; rename one')
            found[one.path.name] = one.path
    return sorted(found.items())
