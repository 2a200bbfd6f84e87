"""Round the experiments: ratios and PSNR reached, what tolerance is, worst cases, how it was run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from slimscan.models.spec import RATES
from slimscan.report.experiments_block import Block, certified_text, times
from slimscan.report.experiments_figures import psnr_drawn
from slimscan.report.experiments_read import EXPERIMENTS, MEAN, Found, training
from slimscan.report.experiments_stats import mean
from slimscan.report.numbers import DASH, declared, listed, number, plural
from slimscan.study.recipes import elkhoury2021_paper, kurmukov2024_paper

_LINES = {"each": "each ratio, tested there", "1+each": "originals, then each ratio, tested there"}
PAPERS = {
    "elkhoury2021": ("El Khoury 2021", ("a", "b", "c"), elkhoury2021_paper.REMARKS),
    "kurmukov2024": ("Kurmukov 2024", ("d", "e"), kurmukov2024_paper.REMARKS),
}


def ratios(found: Found) -> list[Block]:
    """What the codec reached, and PSNR (Kurmukov, Fig. 1, right)."""
    rows = []
    for ratio in sorted(found.images):
        images = list(found.images[ratio].values())
        rows.append([times(ratio), str(len(images)), _span(images, "ratio_payload"), _span(images, "ratio_achieved"), _span(images, "psnr_db")])  # fmt: skip
    size = str(found.said.get("size") or "")
    meant = {"payload": "the code streams alone (payload)", "file": "whole files"}.get(
        size, "what experiment.json does not say"
    )
    out = [
        Block("h2", "Ratios reached and PSNR", key="ratios"),
        Block("p", f"A ratio is raw bytes over compressed bytes; the ratios asked for are of {meant}. {_overhead(found)}"),
        Block("table", "Means over images [least to largest].", ("asked for", "images", "payload, x:1", "file, x:1", "PSNR, dB"), rows),
    ]  # fmt: skip
    if not any(math.isfinite(one["psnr_db"]) for by in found.images.values() for one in by.values()):
        return [*out, Block("absent", "PSNR was not measured, or every copy is exact.")]
    few = 0 < len(found.peaks) <= 3
    named = (
        f"peak {listed(found.peaks, 'or')}"
        if few
        else "each image with its own peak"
        if found.peaks
        else "peak not told"
    )
    caption = (
        f"PSNR against ratio, mean over images, and between the least and the largest; {named}. The paper takes 4096 for CT and "
        f"max - min over the whole set for MRI; PSNRs of different peaks do not compare. {kurmukov2024_paper.SAID['psnr']}"
    )
    return [*out, Block("figure", caption, key="psnr", draw=partial(psnr_drawn, found=found), height=3.6)]


def _overhead(found: Found) -> str:
    """What container and headers take at the strongest ratio."""
    said = "Container and headers count: they take two or three thousand bytes, much of a small volume's file and nothing of a large one's"
    images = list(found.images[max(found.images)].values())
    both = [(one["ratio_payload"], one["ratio_achieved"]) for one in images if all(math.isfinite(one[key]) for key in ("ratio_payload", "ratio_achieved"))]  # fmt: skip
    if not both:
        return f"{said}."
    payload, file = (float(np.mean(values)) for values in zip(*both, strict=True))
    return f"{said}. Here, at the strongest, a payload of {payload:.1f}:1 is a file of {file:.1f}:1; on volumes of the papers' size the two agree."


def _span(images: Sequence[Mapping[str, float]], key: str) -> str:
    values = [one[key] for one in images if math.isfinite(one[key])]
    if not values:
        return DASH
    return f"{np.mean(values):.1f} [{min(values):.1f} to {max(values):.1f}]"


def tolerance_words(found: Found) -> list[Block]:
    """Tolerance against certified ratio, and every verdict."""
    rows = []
    for key, one in sorted(found.verdicts.items()):
        if isinstance(one, dict) and "/" in key:
            network, line = key.rsplit("/", 1)
            chosen = [declared(one[name]) if isinstance(one.get(name), float) else DASH for name in ("delta", "alpha")]
            cells = [_plain(one.get("code")), _plain(one.get("bound")), *chosen, _plain(one.get("n")), _plain(one.get("needed_n"))]  # fmt: skip
            rows.append([found.title(network), _LINES.get(line) or training(line).said, certified_text(found, network, line), *cells])  # fmt: skip
    out = [
        Block("h2", "Tolerance is not certainty", key="tolerance"),
        Block("p", "Tolerance, the papers' word: the highest ratio at which the mean DSC against the expert is still 0.7 or more in the patients at hand. It is a point estimate of an absolute level. A network that starts at 0.71 tolerates almost nothing and one that starts at 0.92 may lose a fifth of its score first; nothing is said of other patients."),
        Block("p", "Certified, slimscan's word: the highest ratio up to which the mean loss against the same network on the original is shown to stay below a margin delta fixed beforehand, with few patients losing more than a cap, for patients like these and with a chance of error of at most alpha. With more patients it comes nearer to the truth from below; a tolerance only becomes less noisy."),
        Block("p", "All intervals on this page are about patients: how another sample of them would change the number with the networks as they were trained. Another seed trains other networks; folds show a part of that, and where there is one fold, nothing does."),
    ]  # fmt: skip
    if not rows:
        return [*out, Block("absent", "verdicts.json is missing or empty, so no ratio is certified here.")]
    caption = "slimscan's verdicts, each a question of its own. bound: on the mean loss at the certified ratio, of the class that limits."
    head = ("network", "trained on", "certified", "code", "bound", "delta", "alpha", "patients", "patients needed")
    return [*out, Block("table", caption, head, rows, 2)]


def _plain(value: Any) -> str:
    return DASH if value is None else number(value) if isinstance(value, float) else str(value)


def worst(found: Found) -> list[Block]:
    """For every clean network the patients that lose most at its tolerance; pictures where experiment.json names them."""
    rows = []
    for network in found.networks:
        base = found.scores(network, "1", 1.0, MEAN)
        strong = [ratio for ratio in found.ratios(network, "1") if ratio > 1 and mean(list(found.scores(network, "1", ratio, MEAN).values())).mean >= 0.7]  # fmt: skip
        if not base or not strong:
            continue
        after = found.scores(network, "1", max(strong), MEAN)
        lost = sorted(((base[name] - after[name], name) for name in set(base) & set(after)), reverse=True)[:3]
        rows += [[found.title(network), name, times(max(strong)), f"{base[name]:.3f}", f"{after[name]:.3f}", f"{gap:.3f}"] for gap, name in lost]  # fmt: skip
    out = [Block("h2", "Worst cases", key="worst")]
    if rows:
        out.append(Block("table", "The three patients that lose most at the highest ratio whose mean over classes is still 0.7, networks trained on originals.", ("network", "patient", "ratio", "DSC at 1:1", "DSC there", "loss"), rows, 2))  # fmt: skip
    else:
        out.append(Block("absent", "No clean network holds a mean DSC of 0.7 at any compression, so there is no ratio to show worst cases at."))  # fmt: skip
    for one in found.said.get("pictures") or ():
        place = found.folder / str(one.get("file", "")) if isinstance(one, dict) else found.folder
        if isinstance(one, dict) and place.is_file() and place.suffix == ".png":
            out.append(Block("picture", str(one.get("caption") or one.get("network") or place.stem), key=f"worst-{place.stem}", png=place.read_bytes()))  # fmt: skip
        else:
            out.append(Block("absent", f"The picture {place.name} is not there any more."))
    return out


def method(found: Found) -> list[Block]:
    """Seed, hardware, time, versions, networks; what was not run; remarks on the paper."""
    said = found.said
    versions = said.get("versions")
    facts = [
        ["patients tested", str(len(found.patients))],
        ["folds", _folds(said.get("folds"))],
        ["classes", listed(found.classes)],
        ["codec", _short(said.get("codec"))],
        ["seed", _short(said.get("seed"))],
        ["hardware", _short(said.get("hardware"))],
        ["time", _times(said)],
        ["versions", ", ".join(f"{name} {value}" for name, value in versions.items()) if isinstance(versions, dict) else _short(versions)],
    ]  # fmt: skip
    out = [Block("h2", "How it was run", key="method"), Block("table", "", ("", ""), facts, 2)]
    networks = said.get("networks")
    if isinstance(networks, dict) and networks:
        rows = [[str(name), _network(one)] for name, one in networks.items()]
        out.append(Block("table", "Networks.", ("network", "as it was built and trained"), rows, 2))
    known = PAPERS.get(found.recipe)
    for title, _, remarks in [known] if known else PAPERS.values():
        out += [Block("h3", f"On reading {title}"), *(Block("p", remark) for remark in remarks)]
    return out


def not_run(found: Found) -> list[str]:
    """Letters of the experiments that the page shows in any case: those of the recipe, or all."""
    known = PAPERS.get(found.recipe)
    return list(known[1]) if known else list(EXPERIMENTS)


def _folds(value: Any) -> str:
    """A number, or how many patients each fold tests."""
    if isinstance(value, list) and value and all(isinstance(one, dict) and "test" in one for one in value):
        return f"{len(value)}, testing {listed([str(len(one['test'])) for one in value])} patients"
    return _short(value)


def _short(value: Any) -> str:
    """A value of experiment.json in a cell."""
    if value is None or value == "":
        return "not told"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(one)}" for key, one in value.items() if one not in (None, "", [], {}))
    if isinstance(value, (list, tuple)):
        return " x ".join(_short(one) for one in value) if all(isinstance(one, (int, float)) for one in value) else ", ".join(_short(one) for one in value)  # fmt: skip
    return declared(value) if isinstance(value, float) else str(value)


def _network(one: Any) -> str:
    """What was built and how it was trained, in one line."""
    spec, fit = (one.get("spec"), one.get("fit")) if isinstance(one, dict) else (None, None)
    if not isinstance(spec, dict) or not isinstance(fit, dict):
        return _short(one)
    patch = "x".join(str(side) for side in fit.get("patch") or ())
    return (
        f"{_short(spec.get('kind'))}, {_short(spec.get('dims'))}D, {_short(spec.get('levels'))} levels, "
        f"{_short(spec.get('width'))} feature maps on the first; {_short(fit.get('steps'))} steps of {_short(fit.get('batch'))} "
        f"crops of {patch or 'a size not told'}, rate {_short(fit.get('rate') or RATES.get(str(spec.get('kind'))))}, loss {_short(fit.get('loss'))}"
    )


def _times(said: Mapping[str, Any]) -> str:
    whole = _time(said.get("seconds"))
    parts = [f"{name} {_time(said[key])}" for name, key in (("training", "seconds_training"), ("testing", "seconds_testing")) if key in said]  # fmt: skip
    count = f", {said['trainings']} trainings" if said.get("trainings") else ""
    return f"{whole} by the clock{count}" + (f" (summed over workers: {listed(parts)})" if parts else "")


def _time(seconds: Any) -> str:
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        return "not told"
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{plural(hours, 'hour')} {plural(minutes, 'minute')}"
    return f"{plural(minutes, 'minute')} {plural(rest, 'second')}" if minutes else plural(rest, "second")
