"""How many cases a contract needs at the very least, and what a run would do; nothing is compressed for it."""

from __future__ import annotations

from typing import Any

from slimscan.nouns.study import Contract
from slimscan.stats import minimum_n, minimum_n_betting, minimum_n_contrast, minimum_n_tail
from slimscan.study.plan import Plan, contract_of


def needed(contract: Contract, codecs: int) -> dict[str, int]:
    """Cases below which no level can be certified even if nothing is ever lost, by what asks for them.

    A family of codecs shares alpha, so each must pass at alpha / codecs.
    """
    alpha = contract.alpha / (codecs if contract.mode == "family" else 1)
    out: dict[str, int] = {f"tail below {100 * contract.pi0:g} %": minimum_n_tail(contract.pi0, alpha)}
    for one in (contract, *contract.also):
        name = one.metric or "metric"
        if one.margin == "absolute":
            out[f"mean of {name}"] = minimum_n_betting(one.null, one.B, contract.alpha, alpha)
            if contract.grade == "A*" and one.bound is not None:
                out[f"raw mean of {name}"] = minimum_n(one.null, one.bound, alpha)
        else:
            out[f"mean of {name}"] = minimum_n_contrast(alpha)
    return out


def needs(plan: Plan) -> dict[str, Any]:
    """What `study plan` says: cases found and needed, levels, tasks, and the amount of work."""
    study = plan.study
    by = needed(contract_of(study), len(study.codecs))
    cases = len({case.case for case in plan.cases})
    levels = sum(len(codec.levels) for codec in study.codecs)
    return {
        "study": study.study["name"],
        "question": study.study["question"],
        "cases": cases,
        "images": len(plan.cases),
        "needed": max(by.values()),
        "needed_by": by,
        "enough": cases >= max(by.values()),
        "levels": {
            codec.name: [
                f"{level.text} ({level.target})" if level.target else f"{level.text} (PSNR of {codec.match})"
                for level in codec.levels
            ]
            for codec in study.codecs
        },
        "tasks": [f"{task['name']} ({task['kind']}, against {task['against']})" for task in study.tasks],
        "compressions": levels * len(plan.cases),
        "answers": (levels + 1) * len(plan.cases) * len(study.tasks),
        "file_bytes": sum(case.place.stat().st_size for case in plan.cases if case.place.is_file()) * levels,
        "sha256": plan.sha256,
    }
