"""How the study commands speak: the verdict as a table, one bar with an honest time left."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slimscan.study.decide import Decided
    from slimscan.study.run import Progress


def tell(decided: Decided, written: list[str]) -> None:
    """The verdict: a line a level, then what follows for every codec."""
    from slimscan.cli.say import say_table

    verdict, plan = decided.verdict, decided.plan
    print(f"{plan['study']['name']}: {plan['study']['question']}")
    rows = [["codec", "level", "ratio", "n", "mean loss", "upper", "over cap", "upper", "p", "certified"]]
    for name, codec in verdict.codecs.items():
        for level in codec.levels:
            evidence = level.evidence
            ratio = "" if level.achieved_cr is None else f"{level.achieved_cr.median:.3g}"
            answer = (
                f"yes, grade {decided.contract.grade}" if level.certified else "no" if level.reached else "not reached"
            )
            rows.append(
                [
                    name,
                    str(level.level),
                    ratio,
                    str(level.n),
                    f"{evidence.mean_loss:.4g}",
                    f"{evidence.upper_T4:.4g}",
                    str(evidence.n_over_B),
                    f"{evidence.upper_T6:.3f}",
                    f"{level.p:.2g}",
                    answer,
                ]
            )
    say_table(rows)
    for name, codec in verdict.codecs.items():
        also = "" if codec.level_B in (None, codec.level) else f"; approximate (grade B): {codec.level_B}"
        print(f"{name}: {codec.code}, level {'none' if codec.level is None else codec.level}{also}")
        if codec.level is None and codec.needed_n:
            print(f"  cases: {codec.n}, needed about {codec.needed_n}")
        for text in codec.notes:
            print(f"  {text}")
        if codec.naive_level is not None:
            print(f"  for comparison, not evidence: p > .05 would allow level {codec.naive_level}")
    for text in (*verdict.notes, *(f"left out: {text}" for text in decided.left_out)):
        print(text)
    if verdict.best:
        print(f"best: {', '.join(verdict.tied)}")
    for path in written:
        print(f"certificate: {path}")


@contextmanager
def bar(label: str) -> Iterator[Progress | None]:
    """One bar with an honest time left, on stderr; None when stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    from slimscan.study.estimate import Estimate, spoken

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=1.0, said=spoken(None))

        def step(estimate: Estimate, elapsed: float, done: int, jobs: int) -> None:
            bars.update(task, completed=estimate.share, said=f"{done} of {jobs} jobs, {spoken(estimate.left(elapsed))}")

        yield step
