"""The page of the demonstration: one HTML file that carries its pictures and needs no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff; max-width: 1220px; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: .2rem; } h2 { margin-top: 3rem; border-top: 1px solid #d0d7de; padding-top: 1.2rem; }
p.lead { font-size: 1.15rem; color: #444c56; margin-top: 0; max-width: 52rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .5rem; border-bottom: 1px solid #e3e7eb; text-align: right; white-space: nowrap; }
th { border-bottom: 2px solid #8c959f; font-weight: 600; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child, th.t, td.t { text-align: left; }
td.ok { color: #116329; } td.no { color: #a40e26; font-weight: 600; }
code, pre { font: 14px/1.5 ui-monospace, monospace; background: #f3f5f7; border-radius: 4px; }
code { padding: .1rem .3rem; } pre { padding: .8rem 1rem; overflow-x: auto; }
img, svg { max-width: 100%; height: auto; } figure { margin: 1.2rem 0; }
figcaption, .note { color: #57606a; font-size: .92rem; max-width: 60rem; }
.scroll { overflow-x: auto; } .beside { display: flex; flex-wrap: wrap; gap: 0 4rem; } .beside table { width: auto; }
.beside table { font-size: .92rem; } .beside td, .beside th { padding: .15rem .5rem; }
@media print { body { max-width: none; margin: 0; } h2, figure, table { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Row:
    """One ask, the file that came of it, and what `compress --json` said."""

    ask: str
    file: str
    said: Mapping[str, Any]

    @property
    def quality(self) -> str:
        """PSNR in words."""
        return "nothing differs" if self.said["identical"] else f"{self.said['psnr_db']:.2f} dB"

    @property
    def kept(self) -> bool:
        """Whether every promise was found true on the written file."""
        return all(check["passed"] for check in self.said["checks"])

    def text(self) -> str:
        """The row for a terminal."""
        said = self.said
        return (
            f"{self.ask:<29} {said['setting']:<22.22} {said['ratio']:6.2f}:1  {self.quality:>15}  "
            f"largest error {said['max_abs_error']:g}, {said['seconds']:.1f} s, "
            + ("all checks passed" if self.kept else "A CHECK FAILED")
        )


@dataclass(frozen=True)
class Section:
    """One scan: its table, what a second command measured of the last row, its panel, chart and exact sizes."""

    title: str
    about: str
    name: str
    rows: Sequence[Row]
    compared: Mapping[str, Any]
    panel: Path
    chart: str
    exact: Sequence[tuple[str, float, float]]


def page(sections: Sequence[Section], study: str) -> str:
    """The whole page; study: the HTML of the second part, "" without it."""
    body = "".join(map(_section, sections))
    first = sections[0].rows[-1].said
    versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>slimscan: the demonstration</title><style>{STYLE}</style></head><body>
<h1>slimscan</h1>
<p class="lead">{_lead(sections)}</p>
<p>Each row below is one command. The file was written, read back from the disk, decoded and compared with its source
before the command said that it was done; the numbers are what was measured then.
<b>Ratio</b> is raw bytes (voxels x bytes of a sample) / bytes of the whole file on disk. <b>PSNR</b> is taken over the
whole volume against 2<sup>bits</sup> - 1, bits being those that the stored values need.</p>
{body}
{study}
<h2>What this shows, and what not</h2>
<p>It shows that a target is met on the written bytes, that the largest error is what it is said to be, and which codec
keeps most of these two images. It does not show that an image so compressed is good enough for a task: that takes
cases, a task and a test. Two crops rank no codecs either; your images may order them otherwise, which is why
<code>--codec auto</code> measures.</p>
<p class="note">Made by <code>make demo</code> with {escape(versions)}.</p>
</body></html>
"""


def _lead(sections: Sequence[Section]) -> str:
    told = []
    for section in sections:
        fixed, auto = section.rows[-2].said, section.rows[-1].said
        gain = auto["psnr_db"] - fixed["psnr_db"]
        told.append(
            f"{escape(section.title)}: {auto['ratio']:.1f} times smaller at {auto['psnr_db']:.1f} dB with "
            f"{escape(auto['codec'])}, {gain:.1f} dB more than JPEG 2000 keeps in the same bytes."
        )
    return "<br>".join(told)


def _section(section: Section) -> str:
    last = section.rows[-1]
    compared = section.compared
    same = "identical" if compared["same"] else "DIFFERENT"
    return f"""
<h2>{escape(section.title)}</h2>
<p>{escape(section.about)}</p>
<div class="scroll"><table><tr><th>asked</th><th class="t">setting found</th><th>bytes on disk</th><th>ratio</th>
<th>bits per voxel</th><th>PSNR</th><th>largest error</th><th>seconds</th><th class="t">checks kept</th></tr>
{"".join(map(_row, section.rows))}</table></div>
<pre>slimscan compress {escape(section.name)} -o out.ozx {escape(last.ask)}</pre>
<figure><img alt="Original, decoded and difference of the worst slice" src="{_embedded(section.panel)}">
<figcaption>The slice of <code>{escape(last.file)}</code> with the largest mean squared error. Read back by a second command: PSNR
{compared["psnr_db"]:.2f} dB, SSIM {compared["ssim"]:.4f} (mean over slices), largest error
of the volume {compared["max_abs_error"]:g} {escape(compared["unit"])}; decoded to NIfTI the samples are {same}.</figcaption></figure>
<figure>{section.chart}<figcaption>Every lossy codec, asked for the same sizes; blue codes slice by slice, orange is
video, green works in three dimensions. Upwards is closer to the original, rightwards is smaller. A line ends where its codec does not reach further.</figcaption></figure>
<div class="beside">{_candidates(last)}
<div><h3>Nothing lost</h3><p class="note">Every exact codec, every voxel as it was.</p>
<table><tr><th>codec</th><th>ratio</th><th>bits per voxel</th></tr>
{"".join(f"<tr><td>{escape(n)}</td><td>{r:.2f}:1</td><td>{b:.2f}</td></tr>" for n, r, b in section.exact)}</table></div></div>
"""


def _row(row: Row) -> str:
    said = row.said
    passed = sum(check["passed"] for check in said["checks"])
    told = "; ".join(f"{check['name']}: asked {check['asked']}, got {check['got']}" for check in said["checks"])
    return (
        f"<tr><td><code>{escape(row.ask)}</code></td><td class='t'><code>{escape(said['setting'])}</code></td>"
        f"<td>{said['file_bytes']:,}</td><td>{said['ratio']:.2f}:1</td><td>{said['bits_per_voxel']:.2f}</td>"
        f"<td>{row.quality}</td><td>{said['max_abs_error']:g}</td><td>{said['seconds']:.1f}</td>"
        f"<td class='t {'ok' if row.kept else 'no'}' title='{escape(told, quote=True)}'>"
        f"{passed} of {len(said['checks'])}</td></tr>\n"
    )


def _candidates(row: Row) -> str:
    """What auto chose from: its best six."""
    rows = [candidate for candidate in row.said["candidates"] if "psnr_db" in candidate][:6]
    if not rows:
        return ""
    cells = "".join(
        f"<tr><td>{escape(one['codec'])}{' (chosen)' if one.get('chosen') else ''}</td>"
        f"<td>{one['bits_per_voxel']:.2f}</td><td>{one['psnr_db']:.2f} dB</td><td>{one['seconds']:.1f}</td></tr>"
        for one in rows
        if one["psnr_db"] is not None
    )
    return (
        f"<div><h3>What auto chose from</h3><p class='note'>{len(row.said['candidates'])} codecs on a part of the volume, "
        "the nearest on all of it. On the part, the best six:</p><table><tr><th>codec</th><th>bits per voxel</th>"
        f"<th>PSNR</th><th>seconds</th></tr>{cells}</table></div>"
    )


def _embedded(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")
