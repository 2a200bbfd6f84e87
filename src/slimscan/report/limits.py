"""How many patients it took, and what the answer does not say."""

from __future__ import annotations

import math

from slimscan.report.html import Html, facts, items, paragraph, section, tag
from slimscan.report.numbers import declared, listed, number, percent, plural, with_unit
from slimscan.report.results import Decisive, Results, number_of
from slimscan.report.sentences import GRADES, lower_first, metric_text
from slimscan.stats import minimum_n, minimum_n_betting, minimum_n_contrast, minimum_n_tail

SIZE, LIMITS = "size", "limits"


def size(results: Results) -> Html:
    """The sample-size statement: what the contract needs at least, and what there was."""
    if not results.decisive:
        return section(
            SIZE, "Number of patients", paragraph("No contract could be read from the verdict.", class_="absent")
        )
    one = results.decisive[0]
    rows: list[tuple[object, object]] = [
        (f"patients in the study of {name}", str(int((results.by_codec.get(name) or {}).get("n") or 0)))
        for name in results.codecs
    ]
    rows += _least(results, one)
    dropped = sum(
        int((level.get("evidence") or {}).get("dropped") or 0)
        for name in results.codecs
        for level in results.judged_levels(name)[:1]
    )
    if dropped:
        rows.append(
            (
                "without the organ on the original",
                f"{plural(dropped, 'patient')}, left out of its test and counted here",
            )
        )
    units = [str(row["status"]) for row in results.rows if row["status"] not in ("ok", "")]
    if units:
        counted = [f"{units.count(word)} {word}" for word in dict.fromkeys(sorted(units))]
        rows.append(
            (
                "rows that are not plain scores",
                f"{listed(counted)} of {len(results.rows)} (a failed or empty answer is data and counts as the worst score; a level that an image cannot reach has no score)",
            )
        )
    for name in results.codecs:
        codec = results.by_codec.get(name) or {}
        if codec.get("needed_n"):
            power = (
                "at least, to certify anything"
                if codec.get("code") == "INSUFFICIENT_N"
                else "for a power of 80 %, if losses stay as seen at the level that stopped"
            )
            rows.append((f"patients needed for {name}", f"{int(codec['needed_n'])} {power}"))
    text = "The patient (or animal) is what is counted; slices, organs and readers of one patient are averaged first and never count as more."
    return section(SIZE, "Number of patients", paragraph(text), facts(rows))


def limits(results: Results) -> Html:
    """The limits: estimand, population, and the implied worst mean."""
    points: list[object] = []
    for one in {one.metric: one for one in results.decisive}.values():
        points.append(
            tag("span", f"Of {lower_first(metric_text(one))} two things are certified together: the mean over patients in which a single loss counts at most "
                f"{declared(one.cap, one.unit)}, and the share of patients beyond that. It is not the plain mean: rare complete failures are held by "
                "the second part.")
        )  # fmt: skip
    points += [_implied(results, name) for name in results.codecs if name in results.by_codec]
    points.append(
        "It is about the mean and the share over patients like these, not about a single image: one image may lose more."
    )
    points.append(_population(results))
    points.append(
        "It does not speak for another scanner, protocol, modality or range of values, another task or metric, another codec, version or way of setting it, nor for diagnosis by eye."
    )
    tasks = {str(task["name"]): task for task in results.plan.get("tasks") or ()}
    task = tasks.get(results.decisive[0].task) if results.decisive else None
    if task is not None and task.get("against") != "truth" and task.get("kind") != "readers":
        points.append(
            "Scores compare the task's answer on the compressed image with its own answer on the original. Where the task is wrong on both in the same way, nothing is lost by this measure."
        )
    if task is not None and task.get("kind") in ("torchscript", "onnx", "command", "python"):
        points.append("The inference is for this task as it stands; another trained model is another task.")
    if any(row.get("fold") for row in results.rows):
        points.append("Patients of one fold share a trained model: the inference is conditional on these models.")
    points.append(
        "Not certified never means harmful. It means that these patients cannot exclude harm beyond the margin."
    )
    if str((results.verdict.get("contract") or {}).get("mode")) == "separate":
        points.append("Each codec is its own question with its own alpha; no codec is compared with another here.")
    left = [str(one) for one in results.verdict.get("left_out") or ()]
    points += [f"Left out: {one}" for one in left]
    return section(LIMITS, "Limits", items([point for point in points if point]))


def _least(results: Results, one: Decisive) -> list[tuple[object, object]]:
    """What no study can do without: the floors of the tests, with the numbers of this contract."""
    judged = results.verdict.get("contract") or {}
    alphas = sorted(
        {number_of(results.by_codec.get(name), "alpha") for name in results.codecs if name in results.by_codec}
    )
    alphas = [alpha for alpha in alphas if math.isfinite(alpha)] or [0.05]
    alpha, pi0 = alphas[0], number_of(judged, "pi0")
    mean_floor = minimum_n_betting(one.null, one.cap, alpha) if one.margin == "absolute" else minimum_n_contrast(alpha)
    out: list[tuple[object, object]] = [
        (
            "margin, cap, tail, alpha",
            f"{_margin(one)}, B = {declared(one.cap, one.unit)}, {percent(pi0)} of patients, {'alpha ' + listed([declared(value) for value in alphas])}",
        ),
        ("least for the mean, with no losses at all", plural(mean_floor, "patient")),
        ("least for the tail, with nobody beyond the cap", plural(minimum_n_tail(pi0, alpha), "patient")),
    ]
    bound = number_of(one.contract, "bound")
    if one.margin == "absolute" and math.isfinite(bound) and one.null < bound:
        n = minimum_n(one.null, bound, alpha)
        out.append(("least for the plain mean, without a cap", f"{plural(n, 'patient')} (no test can do with fewer)"))
    return out


def _margin(one: Decisive) -> str:
    said = one.contract
    return {
        "relative": f"\u03c1 = {declared(100 * number_of(said, 'rho'), '%')}",
        "threshold": f"threshold {declared(number_of(said, 'threshold'), one.unit)}",
        "observer": "the second observer",
    }.get(one.margin, f"\u03b4 = {declared(one.null, one.unit)}")


def _implied(results: Results, name: str) -> str:
    codec = results.by_codec[name]
    level = results.judged(name, codec.get("level"))
    if level is None:
        return ""
    found = level.get("evidence") or {}
    one = results.limiting(level)
    if one is None:
        return ""
    implied = number_of(found, "implied_worst_raw_mean")
    if math.isnan(implied):
        return f"{name}: the loss has no natural bound, so no worst plain mean follows from the certificate."
    bound = number_of(one.contract, "bound")
    return (
        f"{name}: the largest plain mean loss that these bounds leave possible is U_cap + (b \u2212 B) U_tail = "
        f"{number(number_of(found, 'upper_cap'))} + ({declared(bound)} \u2212 {declared(number_of(found, 'B'))}) \u00b7 {number(number_of(found, 'upper_tail'))} = "
        f"{with_unit(implied, one.unit)} (each bound at half of alpha)."
    )


def _population(results: Results) -> str:
    cases = list(results.plan.get("cases") or ())
    patients = len({case["case"] for case in cases})
    modality = str(results.plan.get("modality") or "") or listed(
        sorted({str(one.get("modality")) for one in results.images_about.values() if one.get("modality")})
    )
    said = f"It speaks for images like the {plural(len(cases), 'image')} of {plural(patients, 'patient')} here"
    facts_ = list(results.images_about.values())
    more = [f"modality {modality}"] if modality else ["the modality is not stated"]
    if facts_:
        bits = sorted({int(one["bits"]) for one in facts_ if one.get("bits")})
        spacing = [one["spacing_mm"] for one in facts_ if one.get("spacing_mm")]
        if bits:
            more.append(f"{listed([str(bit) for bit in bits], 'or')} bits")
        if spacing:
            ranges = [
                declared(min(axis)) + (f" to {declared(max(axis))}" if max(axis) > min(axis) else "")
                for axis in zip(*spacing, strict=True)
            ]
            more.append("spacing (z, y, x) " + " \u00d7 ".join(ranges) + " mm")
        low, high = (sorted(float(one[key]) for one in facts_ if one.get(key) is not None) for key in ("low", "high"))
        if low and high:
            more.append(f"values from {number(low[0])} to {number(high[-1])}")
    return f"{said}: {', '.join(more)}. Whether they are a fair sample of those that will be compressed, no statistics can say."


def grade_text(results: Results) -> str:
    """What the deciding grade means."""
    return GRADES.get(results.grade, results.grade)
