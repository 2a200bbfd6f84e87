"""The statistics of the verdict: plain functions on sequences of floats; each result keeps its evidence.

Losses are positive for harm. A test's null hypothesis is always that the image is harmful; p <= alpha certifies, and
failing to certify is no finding of harm, which is why a result refuses to be used as a boolean.
"""

from __future__ import annotations

from slimscan.stats.bd_rate import bd_rate
from slimscan.stats.betting import (
    Betting,
    betting,
    betting_contrast,
    betting_p,
    betting_stable,
    betting_upper,
)
from slimscan.stats.bootstrap import Bootstrap, bca, bootstrap_t
from slimscan.stats.cluster import Clusters, clusters_of, design_effect
from slimscan.stats.gate import Gate, crc_gate, gate_threshold, gate_threshold_levels, selective_gate
from slimscan.stats.hoeffding_bentkus import HoeffdingBentkus, hoeffding_bentkus
from slimscan.stats.loss import case_order, contrast, loss
from slimscan.stats.minimum import minimum_n, minimum_n_betting, minimum_n_contrast, minimum_n_tail
from slimscan.stats.paper import (
    CunhaRule,
    RatioTest,
    Tukey,
    cunha_rule,
    largest_level_above,
    naive_p,
    paired_ratio_test,
    tukey_hsd,
)
from slimscan.stats.planning import (
    Plan,
    pilot_sd,
    plan,
    quick_size,
    sample_size,
    sample_size_betting,
    sample_size_tail,
)
from slimscan.stats.sequence import (
    Share,
    Steps,
    Union,
    bonferroni,
    family,
    fixed_sequence,
    holm,
    holm_adjusted,
    intersection_union,
    shares,
)
from slimscan.stats.t import ObserverDelta, PairedT, Tost, Welch, observer_delta, paired_t, tost, welch
from slimscan.stats.tail import Tail, tail, tail_upper
from slimscan.stats.wilcoxon import SignedRank, hodges_lehmann, signed_rank

__all__ = [
    "Betting",
    "Bootstrap",
    "Clusters",
    "CunhaRule",
    "Gate",
    "HoeffdingBentkus",
    "ObserverDelta",
    "PairedT",
    "Plan",
    "RatioTest",
    "Share",
    "SignedRank",
    "Steps",
    "Tail",
    "Tost",
    "Tukey",
    "Union",
    "Welch",
    "bca",
    "bd_rate",
    "betting",
    "betting_contrast",
    "betting_p",
    "betting_stable",
    "betting_upper",
    "bonferroni",
    "bootstrap_t",
    "case_order",
    "clusters_of",
    "contrast",
    "crc_gate",
    "cunha_rule",
    "design_effect",
    "family",
    "fixed_sequence",
    "gate_threshold",
    "gate_threshold_levels",
    "hodges_lehmann",
    "hoeffding_bentkus",
    "holm",
    "holm_adjusted",
    "intersection_union",
    "largest_level_above",
    "loss",
    "minimum_n",
    "minimum_n_betting",
    "minimum_n_contrast",
    "minimum_n_tail",
    "naive_p",
    "observer_delta",
    "paired_ratio_test",
    "paired_t",
    "pilot_sd",
    "plan",
    "quick_size",
    "sample_size",
    "sample_size_betting",
    "sample_size_tail",
    "selective_gate",
    "shares",
    "signed_rank",
    "tail",
    "tail_upper",
    "tost",
    "tukey_hsd",
    "welch",
]
