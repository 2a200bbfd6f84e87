"""A certificate: what was asked, what was shown, on which data, and for which images it speaks.

It is small JSON that stands by itself. verify() derives it again from the rows and says every difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import slimscan
from slimscan.errors import InputError
from slimscan.nouns.study import CodecVerdict, Contract
from slimscan.press.receipt import versions
from slimscan.stats import contrast, crc_gate, loss
from slimscan.study.decide import Decided, decide
from slimscan.study.folder import Folder, plain, read_json, write_json
from slimscan.study.rows import Row

FORMAT = 1
KIND = "slimscan certificate"
PROXY = "-snr_db"


def certificates(folder: Folder, decided: Decided) -> dict[str, dict[str, Any]]:
    """One certificate for every codec with a certified level; codecs without one have none."""
    images = read_json(folder.images, "run the study again")
    return {
        name: certificate(decided, verdict, images)
        for name, verdict in decided.verdict.codecs.items()
        if verdict.level is not None
    }


def store(folder: Folder, decided: Decided) -> list[Path]:
    """Write the certificates, and remove those of codecs that have none any more."""
    found = certificates(folder, decided)
    for path in folder.path.glob("certificate-*.json"):
        if path.name.removeprefix("certificate-").removesuffix(".json") not in found:
            path.unlink()
    for name, said in found.items():
        write_json(folder.certificate(name), said)
    return [folder.certificate(name) for name in found]


def certificate(decided: Decided, verdict: CodecVerdict, images: Mapping[str, Any]) -> dict[str, Any]:
    """The certificate of one codec as plain JSON values."""
    plan = decided.plan
    codec = next(one for one in decided.study.codecs if one.name == verdict.codec)
    certified = next(level for level in verdict.levels if level.level == verdict.level)
    ladder = []
    for level in codec.levels:
        seen = next((one for one in verdict.levels if one.level == level.nominal), None)
        if seen is None or not seen.certified:
            continue
        rows = [row for row in decided.rows if row["codec"] == codec.name and row["step"] == level.step]
        ladder.append(
            {
                "level": level.nominal,
                "target": rows[0]["target"] if level.target is None else str(level.target),
                "kind": codec.kind,
                "achieved_cr": plain(seen.achieved_cr),
                "p": plain(seen.p),
                "gate": _gate(rows, decided.contract),
            }
        )
    evidence = certified.evidence
    found: dict[str, Any] = plain(
        {
            "kind": KIND,
            "format": FORMAT,
            "study": plan["study"]["name"],
            "question": plan["study"]["question"],
            "answer": sentence(decided, verdict),
            "contract": decided.contract,
            "task": decided.study.contract["task"],
            "codec": {
                "name": codec.name,
                "per": codec.per,
                "peak": codec.peak,
                "match": codec.match,
                "size": codec.size,
                "versions": {k: v for k, v in versions(codec.name).items() if k != "python"},
            },
            "verdict": {
                "code": verdict.code,
                "level": verdict.level,
                "grade": decided.contract.grade,
                "alpha": verdict.alpha,
                "n": certified.n,
                "p": certified.p,
                "limiting": certified.limiting,
                "achieved_cr": certified.achieved_cr,
                "level_B_approximate": verdict.level_B,
                "bounds": {
                    "mean_loss": evidence.mean_loss,
                    "mean_loss_capped_upper": evidence.upper_T4,
                    "share_over_cap": evidence.n_over_B / max(1, evidence.n),
                    "share_over_cap_upper": evidence.upper_T6,
                    "implied_worst_raw_mean": evidence.implied_worst_raw_mean,
                    "cap": evidence.B,
                    "worst_case": evidence.worst_case,
                    "worst_loss": evidence.worst_loss,
                },
            },
            "ladder": ladder,
            "population": population(images, plan),
            "does_not_speak_for": [
                "images outside the population: other modality, bits, spacing or range of values",
                "another task, metric or margin than the contract names",
                "another codec, encoder or way of setting it than stands here",
                "single images: the bound is about the mean over patients and the share beyond the cap",
            ],
            "plan_sha256": plan["sha256"],
            "rows_sha256": decided.rows_sha256,
            "data": [{k: case[k] for k in ("case", "image", "sha256", "mask_sha256")} for case in plan["cases"]],
            "slimscan": slimscan.__version__,
        }
    )
    return found


def sentence(decided: Decided, verdict: CodecVerdict) -> str:
    """The answer in one sentence with its bound."""
    level = next(one for one in verdict.levels if one.level == verdict.level)
    evidence, contract = level.evidence, decided.contract
    ratio = "" if level.achieved_cr is None else f" (median ratio {level.achieved_cr.median:.3g})"
    margin = {
        "absolute": f"mean loss of {evidence.metric or contract.metric} below {contract.null:g}",
        "relative": f"at least {100 * (1 - (contract.rho or 0)):g} % of {contract.metric} kept",
        "threshold": f"mean {contract.metric} beyond {contract.threshold}",
        "observer": f"{contract.metric} no worse than between observers",
    }[contract.margin]
    return (
        f"{verdict.codec} at level {verdict.level}{ratio}: {margin}, single losses capped at {evidence.B:g}, and fewer "
        f"than {100 * contract.pi0:g} % of cases beyond the cap; shown on {level.n} cases at alpha {verdict.alpha:g}, "
        f"grade {contract.grade}, p = {level.p:.2g}"
    )


def population(images: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    """What the images have in common: the door that a new image must fit through."""
    facts = [images[case["image"]] for case in plan["cases"]]
    spacing = np.array([one["spacing_mm"] for one in facts], np.float64)
    declared = plan.get("modality", "")
    return {
        "images": len(facts),
        "cases": len({case["case"] for case in plan["cases"]}),
        "modality": sorted({one["modality"] or declared for one in facts} - {""}),
        "bits": sorted({int(one["bits"]) for one in facts}),
        "unit": sorted({one["unit"] for one in facts} - {""}),
        "spacing_mm": {"low": spacing.min(axis=0).tolist(), "high": spacing.max(axis=0).tolist(), "axes": "z, y, x"},
        "values": {"low": min(one["low"] for one in facts), "high": max(one["high"] for one in facts)},
        "voxels": {
            "low": min(math.prod(one["shape"]) for one in facts),
            "high": max(math.prod(one["shape"]) for one in facts),
        },
    }


def verify(path: Path, folder: Folder | None = None) -> list[str]:
    """Derive a certificate again from the rows beside it; every difference, in words. Empty: it holds."""
    said = load(path)
    folder = folder or Folder(path.resolve().parent)
    decided = decide(folder)
    verdict = decided.verdict.codecs.get(said["codec"]["name"])
    if verdict is None or verdict.level is None:
        return [
            f"the rows certify no level of {said['codec']['name']}; the certificate says {said['verdict']['level']}"
        ]
    again = certificate(decided, verdict, read_json(folder.images, "run the study again"))
    return list(_differences(said, again, ""))


def load(path: Path) -> dict[str, Any]:
    """A certificate from a file; InputError when it is none, or newer than this slimscan."""
    said = read_json(path, "`slimscan study judge` writes certificates")
    if said.get("kind") != KIND:
        raise InputError(f"{path}: is no certificate; `slimscan study judge FOLDER` writes certificate-CODEC.json")
    if int(said.get("format", 0)) > FORMAT:
        raise InputError(f"{path}: format {said['format']} is newer than {FORMAT}; update slimscan")
    return said


def _differences(said: Any, again: Any, where: str) -> Sequence[str]:
    if isinstance(said, Mapping) and isinstance(again, Mapping):
        out: list[str] = []
        for key in dict.fromkeys([*said, *again]):
            place = f"{where}.{key}" if where else str(key)
            if key not in said or key not in again:
                out.append(f"{place}: {'is new' if key not in said else 'the rows do not give it'}")
            else:
                out += _differences(said[key], again[key], place)
        return out
    if isinstance(said, list) and isinstance(again, list) and len(said) == len(again):
        return [
            text
            for n, (a, b) in enumerate(zip(said, again, strict=True))
            for text in _differences(a, b, f"{where}[{n}]")
        ]
    same = said == again or (
        isinstance(said, float) and isinstance(again, (int, float)) and math.isclose(said, again, rel_tol=1e-9)
    )
    return [] if same else [f"{where}: the certificate says {said!r}, the rows give {again!r}"]


def _gate(rows: Sequence[Row], contract: Contract) -> dict[str, Any]:
    """Conformal risk control of single files (STATISTICS section 5), one pair a case.

    proxy: the worst -snr_db of the case. harm: its largest loss over organs and metrics, min(max(d, 0), B) / B. For an
    absolute margin the expected capped loss of what the gate lets through is held below delta; else it is held at alpha.
    """
    by_case: dict[str, tuple[float, float]] = {}
    for margin in (contract, *contract.also):
        for row in rows:
            if row["metric"] != margin.metric or math.isnan(row["value"]):
                continue
            harm = _harm(row, margin)
            if harm is None:
                continue
            proxy, worst = by_case.get(row["case"], (-math.inf, 0.0))
            by_case[row["case"]] = (max(proxy, -row["snr_db"]), max(worst, harm))
    alpha = contract.null / contract.B if contract.margin == "absolute" else contract.alpha
    if not by_case:
        return {"proxy": PROXY, "kind": "crc", "tau": None, "alpha": alpha, "n": 0, "low": None, "high": None}
    proxies, harms = zip(*by_case.values(), strict=True)
    gate = crc_gate(proxies, harms, alpha)
    return {
        "proxy": PROXY,
        "kind": gate.kind,
        "tau": "all" if gate.tau == math.inf else "none" if gate.tau == -math.inf else gate.tau,
        "alpha": gate.alpha,
        "n": gate.n,
        "low": gate.low,
        "high": gate.high,
        "accepted": gate.accepted,
    }


def _harm(row: Row, margin: Contract) -> float | None:
    if margin.margin == "absolute":
        found = float(loss([row["reference"]], [row["value"]], margin.direction)[0])
    else:
        found = float(
            contrast(
                margin.margin,
                [row["value"]],
                reference=[row["reference"]],
                observer=[row["observer"]],
                rho=margin.rho,
                threshold=margin.threshold,
                better=margin.direction,
            )[0]
        )
    return None if math.isnan(found) else min(max(found, 0.0), margin.B) / margin.B


def write(path: Path, said: Mapping[str, Any]) -> None:
    """A certificate to a file of its own."""
    write_json(path, said)
