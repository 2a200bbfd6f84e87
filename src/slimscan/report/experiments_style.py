"""What the page of experiments adds to a report's look: a dark theme for screens, and quiet rows for a paper's numbers."""

from __future__ import annotations

from slimscan.report.chart import GRID, INK, SOFT
from slimscan.report.style import STYLE as LIGHT

_DARK = f"""
tr.marked > * {{ background: var(--wash); color: var(--soft); }}
.legend {{ color: var(--soft); font-size: .92rem; max-width: 56rem; margin: 1.1rem 0 0; break-after: avoid; page-break-after: avoid; }}
.legend + .table {{ margin-top: .35rem; }}
.verdict .code {{ font-size: .85rem; }}
.verdict.good .code {{ color: var(--good); }} .verdict.stop .code {{ color: var(--stop); }}
@media screen and (max-width: 46rem) {{
  h1 {{ font-size: 1.35rem; }}
  th.left:first-child {{ min-width: 9.5rem; }}
  figure {{ overflow-x: auto; }}
  figure .picture {{ min-width: 38rem; }}
}}
@media screen and (prefers-color-scheme: dark) {{
  :root {{ --ink: #e4e8ec; --soft: #a3adb8; --line: #39424c; --paper: #171c22; --wash: #10141a; --good: #4cc79a; --stop: #f0a04b;
    --plain: #7fa3c7; }}
  a {{ color: #7ab8f0; }}
  .picture svg [style*="fill: #ffffff"] {{ fill: var(--paper) !important; }}
  .picture svg [style*="fill: {INK}"] {{ fill: var(--ink) !important; }}
  .picture svg [style*="stroke: {INK}"] {{ stroke: var(--ink) !important; }}
  .picture svg [style*="fill: {SOFT}"] {{ fill: var(--soft) !important; }}
  .picture svg [style*="stroke: {SOFT}"] {{ stroke: var(--soft) !important; }}
  .picture svg [style*="stroke: {GRID}"] {{ stroke: var(--line) !important; }}
  .picture svg [style*="#0072b2"] {{ filter: brightness(1.45); }}
}}
@media print {{ .dense table {{ font-size: .72rem; }} .dense th, .dense td {{ padding: .12rem .22rem; }} }}
"""

STYLE = LIGHT + "\n" + _DARK.strip()
