"""How the page looks, on a screen and on paper. System fonts, one light theme, nothing from elsewhere."""

from __future__ import annotations

STYLE = """
:root { --ink: #1c2530; --soft: #55606c; --line: #d5dae0; --paper: #ffffff; --wash: #f4f6f8; --good: #00664b; --stop: #8a4b00;
  --plain: #2f4a66; }
* { box-sizing: border-box; }
html { background: var(--wash); }
body { margin: 0 auto; max-width: 68rem; padding: 2.2rem 2.6rem 3rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .7rem; padding-top: .9rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
p, ul, dl { margin: .55rem 0; }
p, li, dd { overflow-wrap: anywhere; max-width: 50rem; }
a { color: #0b5394; }
.question { font-size: 1.12rem; color: var(--soft); margin: 0 0 1.2rem; }
.soft, figcaption, caption { color: var(--soft); }
.small { font-size: .9rem; }
nav ol { display: flex; flex-wrap: wrap; gap: .2rem 1.3rem; list-style: none; margin: 1rem 0 0; padding: .7rem 0;
  border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); font-size: .93rem; }
.verdict { border: 1px solid var(--line); border-left: .45rem solid var(--plain); border-radius: .3rem; padding: .9rem 1.2rem 1rem;
  margin: .9rem 0; background: var(--paper); }
.verdict.good { border-left-color: var(--good); }
.verdict.stop { border-left-color: var(--stop); }
.verdict .code { float: right; margin-left: 1rem; font: 600 .78rem/1.5 ui-monospace, Menlo, Consolas, monospace; color: var(--soft); }
.verdict .head { font-size: 1.15rem; font-weight: 600; margin: 0 0 .35rem; }
.verdict p { max-width: none; }
.badge { display: inline-block; border: 1px solid currentColor; border-radius: .25rem; padding: 0 .4rem; font-size: .82rem;
  font-weight: 600; white-space: nowrap; }
.badge.a { color: var(--good); } .badge.b { color: var(--soft); } .badge.no { color: var(--stop); }
.absent { color: var(--soft); font-style: italic; }
figure { margin: 1.2rem 0 1.6rem; break-inside: avoid; page-break-inside: avoid; }
figure .picture svg, figure .picture img { display: block; width: 100%; height: auto; }
figcaption { font-size: .92rem; margin-top: .4rem; max-width: 56rem; }
.table { overflow-x: auto; margin: .9rem 0 1.2rem; }
table { border-collapse: collapse; font-size: .93rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .35rem; font-size: .92rem; }
th, td { padding: .3rem .7rem; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line); font-weight: 400; }
thead th { font-weight: 600; vertical-align: bottom; border-bottom: 2px solid #9aa4af; }
thead th[colspan] { text-align: center; }
th.left, td.left { text-align: left; overflow-wrap: break-word; }
.dense table { font-size: .8rem; }
.dense th, .dense td { padding: .3rem .36rem; }
td:not(.left), .dense th.left { white-space: nowrap; }
.dense caption, .dense thead th { white-space: normal; }
.headline { font-size: 1.22rem; line-height: 1.42; margin: 0 0 1.1rem; max-width: none; }
tr.marked > * { background: #e6f3ee; }
dl { display: grid; gap: .25rem; }
dl > div { display: grid; grid-template-columns: 15rem 1fr; gap: 1rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
code, pre { font: .87rem/1.5 ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
pre { background: var(--wash); border: 1px solid var(--line); padding: .7rem .9rem; white-space: pre-wrap; max-width: none; }
footer { margin-top: 2.5rem; color: var(--soft); font-size: .88rem; border-top: 1px solid var(--line); padding-top: .7rem; }
@media (max-width: 46rem) { body { padding: 1rem; } dl > div { grid-template-columns: 1fr; gap: 0; } }
@page { size: A4; margin: 14mm 13mm 15mm; }
@media print {
  html { background: none; font-size: 12.5px; }
  body { max-width: none; padding: 0; font-size: 1rem; }
  nav { display: none; }
  a { color: inherit; text-decoration: none; }
  h2, h3 { break-after: avoid; page-break-after: avoid; }
  h2 { margin-top: 1.6rem; }
  .verdict, .table, pre, tr, dl > div { break-inside: avoid; page-break-inside: avoid; }
  thead { display: table-header-group; }
  th, td { padding: .18rem .4rem; }
  .table { overflow: visible; }
  figure .picture img, figure .picture svg { max-height: 225mm; width: auto; max-width: 100%; margin: 0 auto; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
""".strip()
