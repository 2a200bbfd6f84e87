"""Writes the generated parts of the pages: commands, codecs, formats, metrics, words of a study.

python docs/generate.py            rewrite what lies between the markers
python docs/generate.py --check    exit 1, naming the pages, when that would change something
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
EXAMPLE = DOCS.parent / "examples" / "data" / "ct_spleen.nii.gz"
STUDY = DOCS.parent / "examples" / "tissue_study.toml"

Cells = Sequence[Sequence[str]]


def table(head: Sequence[str], rows: Cells) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def commands() -> Iterator[tuple[str, Any]]:
    """(words, command) of every command, groups walked through: ("compress", ...), ("study run", ...)."""
    from slimscan.cli.app import build

    def walk(words: str, found: Any) -> Iterator[tuple[str, Any]]:
        for name, inner in getattr(found, "commands", {}).items():
            yield from walk(f"{words} {name}".strip(), inner)
        if not hasattr(found, "commands"):
            yield words, found

    yield from walk("", build())


def json_keys() -> dict[str, list[str]]:
    """The keys of --json, from the values that the commands print."""
    from slimscan.cli.codecs import codec_facts
    from slimscan.nouns import Receipt
    from slimscan.pacs.search import Match
    from slimscan.press.about import about
    from slimscan.press.calm_file import Calmed
    from slimscan.press.compare import Comparison
    from slimscan.press.decompress import Decoded
    from slimscan.press.deliver import Received
    from slimscan.press.pacs_fetch import Fetched
    from slimscan.press.pacs_shrink import Shrunk
    from slimscan.press.pacs_store import Stored
    from slimscan.press.policy import Guideline
    from slimscan.press.region import write_region
    from slimscan.press.send import Simulated
    from slimscan.study.needs import needs
    from slimscan.study.plan import fix, load
    from slimscan.study.run import Summary

    return {
        "compress": [field.name for field in fields(Receipt)],
        "decompress": [field.name for field in fields(Decoded)],
        "info": list(about(EXAMPLE)),
        "codecs": [f"codecs[].{key}" for key in codec_facts("jpeg2000")],
        "policies": [f"policies[].{field.name}" for field in fields(Guideline)],
        "calm": [field.name for field in fields(Calmed)],
        "compare": [field.name for field in fields(Comparison)],
        "receive": [field.name for field in fields(Received)],
        "send": [field.name for field in fields(Simulated)],
        "region": list(write_region("image:body", EXAMPLE)),
        "dicom find": ["server", "level", *(f"matches[].{field.name}" for field in fields(Match))],
        "dicom fetch": [field.name for field in fields(Fetched)],
        "dicom store": [field.name for field in fields(Stored)],
        "dicom shrink": [field.name for field in fields(Shrunk)],
        "study plan": list(needs(fix(load(STUDY)))),
        "study run": [field.name for field in fields(Summary)],
    }


def command_part() -> str:
    """Every command: its help, its arguments and options, the keys of its JSON."""
    keys = json_keys()
    parts = []
    for words, found in commands():
        parts.append(f"## slimscan {words}\n\n{_help(found.help or '')}")
        rows = []
        for one in found.params:
            if getattr(one, "name", "") == "help":
                continue
            names = [one.metavar or one.name.upper()] if one.param_type_name == "argument" else one.opts
            flag = bool(getattr(one, "is_flag", False))
            shown = ", ".join(f"`{name}`" for name in names)
            if one.param_type_name == "option" and not flag:
                shown += f" {one.metavar or 'VALUE'}"
            given = "required" if one.required else "" if flag or one.default is None else f"`{one.default}`"
            rows.append([shown, " ".join((one.help or "").split()), given])
        parts.append(table(["argument or option", "meaning", "default"], rows))
        if words in keys:
            parts.append("Keys of `--json`: " + ", ".join(f"`{key}`" for key in keys[words]) + ".")
    return "\n\n".join(parts)


def _help(text: str) -> str:
    """A help text as Markdown: bold heads as words, runs of indented commands as one block of code."""
    out: list[str] = []
    for block in re.split(r"\n\s*\n", text.strip()):
        line = re.sub(r"\[/?bold\]", "**", block.strip())
        if line.startswith("slimscan "):
            if out and out[-1].endswith("\n```"):
                out[-1] = out[-1].removesuffix("```") + f"{line}\n```"
            else:
                out.append(f"```sh\n{line}\n```")
        else:
            out.append(" ".join(line.split()).replace("<", "&lt;"))
    return "\n\n".join(out)


# What the wheels bring with them, beside slimscan's own Apache-2.0.
LICENCES = {
    "hevc": "x265 is GPL-2, inside the wheel of av; HEVC is patented",
    "av1": "SVT-AV1 is BSD; the wheel of av also holds GPL parts",
    "ffv1": "FFmpeg is LGPL; the wheel of av also holds GPL parts",
}


def codec_part() -> str:
    """One row a codec of what it can do, and one of where it comes from."""
    from slimscan.codecs import CODECS

    can, where = [], []
    for name, codec in CODECS.items():
        knob = codec.knob
        modes = [word for word, on in (("exact", codec.lossless), ("lossy", codec.lossy)) if on]
        turn = "none"
        if knob is not None:
            unit = "" if knob.unit.lower() == knob.name else f" {knob.unit}".rstrip()
            turn = f"`{knob.name}` {knob.low:.8g} to {knob.high:.8g}{unit}"
            turn += f", finest at {knob.low if knob.finer == 'low' else knob.high:.8g}"
            turn += f", in steps of {Fraction(knob.step)}" if knob.step else ""
        if codec.bounded:
            modes.append("bounds the largest error")
        chunk = "one slice" if codec.chunk == "slice" else f"{codec.depth} slices"
        can.append([f"`{name}`", ", ".join(modes), turn, _holds(codec.holds), chunk])
        needs = ", ".join(f"{need.package} (`{need.extra}`)" if need.extra else need.package for need in codec.needs)
        licence = LICENCES.get(name.split("-")[0], "permissive, in the core")
        where.append([f"`{name}`", codec.title, codec.standard, needs, licence, codec.note or "-"])
    head = ["codec", "modes", "knob", "holds", "decoded for one slice"]
    about = ["codec", "what it is", "standard (library)", "package (extra)", "licence", "remark"]
    return f"{table(head, can)}\n\n### Where they come from\n\n{table(about, where)}"


def _holds(holds: Any) -> str:
    colours = "grey and RGB" if 3 in holds.samples else "grey"
    kinds = "integers and floats" if any(kind.startswith("float") for kind in holds.dtypes) else "integers"
    return f"{holds.bits[0]} to {holds.bits[1]} bit {kinds}, {colours}, sides {holds.min_side} to {holds.max_side}"


def format_part() -> str:
    """One row a format that is asked by content."""
    from slimscan.files import FORMATS

    rows = [
        [
            f"`{name}`",
            form.title,
            " ".join(f"`{suffix}`" for suffix in form.suffixes),
            "read and written" if form.write else "read only",
            form.note or "-",
        ]
        for name, form in FORMATS.items()
    ]
    return table(["name", "format", "names end with", "here", "remark"], rows)


def metric_part() -> str:
    """One row a metric, by what it is a metric of."""
    from slimscan.metrics import METRICS

    kinds = {
        "image": "Two images",
        "texture": "One image",
        "mask": "Two masks",
        "shape": "One mask",
        "observer": "Masks of observers",
        "lesion": "Marked lesions",
        "vote": "Votes",
    }
    parts = []
    for kind in dict.fromkeys(metric.kind for metric in METRICS.values()):
        rows = [
            [
                f"`{name}`",
                metric.title,
                f"`{metric.formula}`",
                metric.unit or "-",
                {"higher": "higher", "lower": "lower", "none": "neither"}[metric.direction],
                f"{_number(metric.low)} to {_number(metric.high)}",
                metric.source,
            ]
            for name, metric in METRICS.items()
            if metric.kind == kind
        ]
        head = ["metric", "what", "formula", "unit", "better", "values", "source"]
        parts.append(f"### {kinds[kind]}\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def _number(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else ("infinity" if value > 0 else "-infinity")


def study_part() -> str:
    """Every word of a study's TOML, a table of the TOML a section, then those of every kind of task."""
    from slimscan.study import declared
    from slimscan.study.tasks import COMMON, KINDS

    parts = [
        f"### {head}\n\n{_words(words)}"
        for head, words in (
            ("[study]", declared.STUDY),
            ("[cases]", declared.CASES),
            ("[[codecs]]", declared.CODECS),
            ("[[tasks]], every kind", COMMON),
        )
    ]
    for name, kind in KINDS.items():
        parts.append(f'#### kind = "{name}"\n\n{kind.about[0].upper()}{kind.about[1:]}.\n\n{_words(kind.words)}')
    parts += [
        f"### {head}\n\n{_words(words)}"
        for head, words in (
            ("[metrics]", declared.METRICS),
            ("[contract]", declared.CONTRACT),
            ("[[contract.also]]", declared.ALSO),
            ("[run]", declared.RUN),
        )
    ]
    return "\n\n".join(parts)


def experiment_part() -> str:
    """Every word of the TOML of experiments on networks."""
    from slimscan.study.experiments.words import NETWORK, TABLES

    tables = {f"[{name}]": words for name, words in TABLES.items()}
    tables["[[networks]]"] = NETWORK
    return "\n\n".join(f"### {name}\n\n{_words(words)}" for name, words in tables.items())


def _words(words: Sequence[Any]) -> str:
    from slimscan.study.new import toml
    from slimscan.study.words import REQUIRED

    rows = []
    for word in words:
        allowed = ", ".join(f"`{one}`" for one in word.allowed) or word.range
        nothing = word.default is None or (isinstance(word.default, float) and math.isinf(word.default))
        given = "required" if word.default is REQUIRED else "-" if nothing else f"`{toml(word.default)}`"
        rows.append([f"`{word.name}`", word.kind + (f": {allowed}" if allowed else ""), word.help, given])
    return table(["word", "want", "meaning", "left out"], rows)


def policy_part() -> str:
    """Every guideline: its rows, its source, what it does not cover and what is not sure of it."""
    from slimscan.press.policy import guidelines

    parts = []
    for name, found in guidelines().items():
        rows = [
            [row.what, " ".join(f"`{one}`" for one in row.modalities), row.part or "any other", f"{row.ratio:g}"]
            for row in found.rows
        ]
        lines = [
            f"### {name}",
            f"{found.title}. {found.publisher}, {found.year}. Status: {found.status}.",
            table(["what it speaks of", "modality", "body part", "ratio at most"], rows),
            f"- Source: {found.source}. {found.url}",
            f"- Checked: {found.checked}.",
            f"- Speaks of {' and '.join(found.algorithms)}; here `{'` or `'.join(found.codecs)}`.",
            f"- Does not cover: {'; '.join(found.not_covered)}.",
            f"- Thin slices: a {' or '.join(found.thin_modalities)} with slices closer than {found.thin_below_mm:g} mm gets a "
            f"remark ({found.thin_source}).",
            *(
                f"- Caution ({', '.join(c['modalities'])} by {', '.join(c['codecs'])}): {c['text']}."
                for c in found.cautions
            ),
        ]
        parts.append("\n\n".join(lines[:3]) + "\n\n" + "\n".join(lines[3:]))
    return "\n\n".join(parts)


# page -> {marker: what stands between it and its end}
PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "commands.md": {"commands": command_part},
    "codecs.md": {"codecs": codec_part},
    "formats.md": {"formats": format_part},
    "metrics.md": {"metrics": metric_part},
    "study.md": {"study": study_part},
    "experiments.md": {"experiments": experiment_part},
    "policies.md": {"policies": policy_part},
}


def renewed(page: str) -> str:
    """The page with its generated parts made anew; ValueError when a marker is missing."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for marker, make in PARTS[page].items():
        begin, end = f"<!-- generated: {marker} -->", f"<!-- end: {marker} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"{page}: want one line {begin} and one line {end}")
        before, rest = text.split(begin)
        text = f"{before}{begin}\n\n{make()}\n\n{end}{rest.split(end)[1]}"
    return text


def main(arguments: Sequence[str]) -> int:
    """0, or 1 when --check finds a page that is stale."""
    stale = [page for page in PARTS if renewed(page) != (DOCS / page).read_text(encoding="utf-8")]
    if "--check" in arguments:
        for page in stale:
            print(f"docs/{page} is stale; run: python docs/generate.py", file=sys.stderr)
        return 1 if stale else 0
    for page in stale:
        (DOCS / page).write_text(renewed(page), encoding="utf-8")
        print(f"wrote docs/{page}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
