"""The metrics: one idea a file, plain functions of arrays, and the registry METRICS.

A metric is added by one function, one record in its file's METRICS tuple, and one word here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from slimscan.metrics import entropy as _entropy
from slimscan.metrics import fidelity as _fidelity
from slimscan.metrics import lesions as _lesions
from slimscan.metrics import observers as _observers
from slimscan.metrics import segmentation as _segmentation
from slimscan.metrics import ssim as _ssim
from slimscan.metrics import surface as _surface
from slimscan.metrics import texture as _texture
from slimscan.metrics import trees as _trees
from slimscan.metrics import votes as _votes
from slimscan.metrics.curves import Bin, Difficulty, ValidSlices, binned, difficulty, valid_slices
from slimscan.metrics.entropy import entropy
from slimscan.metrics.fidelity import mae, max_abs_error, mse, psnr_db
from slimscan.metrics.lesions import (
    LesionMatch,
    LesionScore,
    lesion_centres_mm,
    lesion_ns,
    lesion_score,
    lesion_sensitivity,
    match_lesions,
)
from slimscan.metrics.metric import Direction, Kind, Metric
from slimscan.metrics.observers import (
    InterObserver,
    IntraObserver,
    iaov,
    iaov_hausdorff,
    ieov,
    ieov_hausdorff,
    inter_observer,
    intra_observer,
    merge,
)
from slimscan.metrics.segmentation import dice, jaccard, jaccard_mean, jaccard_per_slice, volume_ml, volume_mm3
from slimscan.metrics.ssim import ms_ssim, ms_ssim_map, ssim, ssim_3d, ssim_map
from slimscan.metrics.surface import average_hausdorff, border_distances, hausdorff, normalized_surface_dice, smbd
from slimscan.metrics.texture import boxes_from_mask, wtv
from slimscan.metrics.trees import Tree, branch_count, centreline_dice, measure_tree, skeleton, skeleton_length_mm
from slimscan.metrics.votes import Votes, count_votes, vote_correlation

_ALL: tuple[tuple[Metric, ...], ...] = (
    _fidelity.METRICS,
    _ssim.METRICS,
    _entropy.METRICS,
    _texture.METRICS,
    _segmentation.METRICS,
    _surface.METRICS,
    _trees.METRICS,
    _observers.METRICS,
    _lesions.METRICS,
    _votes.METRICS,
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for group in _ALL for metric in group})

__all__ = [
    "METRICS",
    "Bin",
    "Difficulty",
    "Direction",
    "InterObserver",
    "IntraObserver",
    "Kind",
    "LesionMatch",
    "LesionScore",
    "Metric",
    "Tree",
    "ValidSlices",
    "Votes",
    "average_hausdorff",
    "binned",
    "border_distances",
    "boxes_from_mask",
    "branch_count",
    "centreline_dice",
    "count_votes",
    "dice",
    "difficulty",
    "entropy",
    "hausdorff",
    "iaov",
    "iaov_hausdorff",
    "ieov",
    "ieov_hausdorff",
    "inter_observer",
    "intra_observer",
    "jaccard",
    "jaccard_mean",
    "jaccard_per_slice",
    "lesion_centres_mm",
    "lesion_ns",
    "lesion_score",
    "lesion_sensitivity",
    "mae",
    "match_lesions",
    "max_abs_error",
    "measure_tree",
    "merge",
    "ms_ssim",
    "ms_ssim_map",
    "mse",
    "normalized_surface_dice",
    "psnr_db",
    "skeleton",
    "skeleton_length_mm",
    "smbd",
    "ssim",
    "ssim_3d",
    "ssim_map",
    "valid_slices",
    "volume_ml",
    "volume_mm3",
    "vote_correlation",
    "wtv",
]
