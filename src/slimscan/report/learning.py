"""Learning curves of one or more trainings, from their log.jsonl: loss and validation against the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimscan.models.log import read
from slimscan.report.chart import colour, marker, svg
from slimscan.report.html import Html, figure, paragraph, section

KEY, TITLE = "learning", "Learning curves"

Lines = Sequence[Mapping[str, Any]]


def learning(logs: Mapping[str, Path], key: str = KEY, title: str = TITLE) -> Html:
    """The section of these trainings, name -> log.jsonl; says so when nothing was logged yet.

    key: unlike that of any other section of the page. InputError for a file that is no log.
    """
    runs = {name: read(path) for name, path in logs.items()}
    if not any(runs.values()):
        return section(key, title, paragraph("Nothing was logged yet.", class_="absent"))
    alt = "loss and validation Dice against the training step; the last numbers of every training stand below"
    drawn = svg(lambda canvas: draw(canvas, runs), 3.6, alt, key)
    caption = (
        "Left: the loss, a mean over the steps since the mark before. Right: mean Dice of the held-back cases, higher is "
        "better; the ring is the checkpoint that was kept as the best."
    )
    return section(key, title, figure(drawn, caption), *(paragraph(_said(name, run)) for name, run in runs.items()))


def draw(canvas: Any, runs: Mapping[str, Lines]) -> None:
    """Both panels on a matplotlib Figure; runs: name -> lines of a log."""
    left, right = canvas.subplots(1, 2)
    for index, (name, lines) in enumerate(runs.items()):
        told = [line for line in lines if line.get("loss") is not None]
        left.plot([line["step"] for line in told], [line["loss"] for line in told], color=colour(index), label=name)
        marks = scored(lines)
        right.plot([step for step, _ in marks], [score for _, score in marks], color=colour(index),
                   marker=marker(index), markersize=4, label=name)  # fmt: skip
        if marks:
            at, top = best(marks)
            right.plot([at], [top], "o", markersize=11, markerfacecolor="none", markeredgecolor=colour(index))
    left.set(xlabel="step", ylabel="loss", title="Loss")
    right.set(xlabel="step", ylabel="mean Dice", title="Held-back cases")
    if not any(scored(lines) for lines in runs.values()):
        right.text(0.5, 0.5, "no case was held back", ha="center", va="center", transform=right.transAxes)
    if len(runs) > 1:
        left.legend()


def scored(lines: Lines) -> list[tuple[int, float]]:
    """(step, score) of every validation: its "mean", or the mean of all that it holds; empty ones are left out."""
    found = []
    for line in lines:
        scores = {name: score for name, score in (line.get("validation") or {}).items() if score is not None}
        if scores:
            found.append((int(line["step"]), float(scores.get("mean", sum(scores.values()) / len(scores)))))
    return found


def best(marks: Sequence[tuple[int, float]]) -> tuple[int, float]:
    """The first of the highest."""
    return max(marks, key=lambda mark: mark[1])


def _said(name: str, lines: Lines) -> str:
    if not lines:
        return f"{name}: nothing was logged yet."
    last, marks = lines[-1], scored(lines)
    loss = "undefined" if last.get("loss") is None else f"{last['loss']:.3f}"
    text = f"{name}: {last['step']} steps in {last['seconds']:.0f} s, last loss {loss}"
    if marks:
        at, top = best(marks)
        text += f"; best mean Dice {top:.3f} at step {at}"
    return text + "."
