"""Every word of a study's TOML but those of the tasks, which declare their own."""

from __future__ import annotations

from slimscan.nouns.study import WORDS as NOUN_WORDS
from slimscan.study.words import Word

STUDY = (
    Word("name", "text", "short name of the study, for files and titles", example="hippocampus"),
    Word("question", "text", "what is to be answered, one sentence", example="How far may these images be compressed?"),
    Word("note", "text", "anything a reader should know", default=""),
)

CASES = (
    Word(
        "images", "texts",
        "folders or patterns from this file's folder; {case} and {patient} stand for parts of the name, * for anything",
        default=None, example="images/{case}.nii.gz",
    ),
    Word("masks", "text", "reference masks, a pattern with the same {case}, or a folder", default=None, example="labels/{case}.nii.gz"),
    Word("table", "text", "instead: a CSV with columns image and, where known, case, patient, mask", default=None),
    Word("classes", "labels", "the organs of the masks and their label values; left out: everything that is not 0", default=None),
    Word("modality", "text", "of all images, where the files do not say: CT, MR, microCT ...", default=""),
    Word("limit", "whole", "use only the first cases in the order of their names", default=None, low=1, unit="cases"),
)  # fmt: skip

CODECS = (
    Word("name", "text", "a codec, `slimscan codecs` lists them", example="jpeg2000"),
    Word("ratios", "numbers", "levels as raw bytes / bytes on disk", default=None, low=1.0, high=1e6),
    Word("psnr", "numbers", "levels as PSNR", default=None, low=1.0, high=200.0, unit="dB"),
    Word("settings", "numbers", "levels as the codec's own number; `slimscan codecs` says what it is", default=None),
    Word("max_error", "numbers", "levels as largest error", default=None, low=0.0, unit="stored units"),
    Word("match", "text", "levels as the PSNRs that another codec of this study reached, case by case", default=None),
    Word("per", "text", "one quality for the volume, or the target met by every slice", default="volume", allowed=("volume", "slice")),
    Word("peak", "text", "of PSNRs: stored (2^bits - 1), range, dtype, or a number as text", default="stored"),
    Word("size", "text", "bytes that the achieved ratio counts: the whole file, or the encoded chunks alone", default="file", allowed=("file", "payload")),
)  # fmt: skip

LEVELS = ("ratios", "psnr", "settings", "max_error", "match")

METRICS = (
    Word("names", "texts", "metrics of masks; `slimscan score --help` lists them", default=("dice",)),
    Word("tolerance_mm", "number", "of normalized_surface_dice", default=1.0, low=0.0, unit="mm"),
    Word("units", "text", "of distances: mm, or voxels as in Cunha 2023", default="mm", allowed=("mm", "voxels")),
)

RUN = (
    Word("each", "text", "where the work runs", default=None, allowed=("serial", "threads", "processes", "dask")),
    Word("workers", "whole", "how many at once; left out: the cores of this machine", default=None, low=1, high=4096),
    Word("keep_predictions", "flag", "keep what tasks predicted, so that new metrics cost nothing", default=False),
)

MARGIN = (
    Word("margin", "text", "how harm is told", default="absolute", allowed=NOUN_WORDS["margin"]),
    Word("delta", "number", "margin = absolute: mean loss below this is no harm, in the metric's unit", default=None, low=0.0, example=0.02),
    Word("rho", "number", "margin = relative: share of the reference that may be lost", default=None, low=0.0, high=1.0),
    Word("threshold", "number", "margin = threshold: the mean must stay above (below, for distances) this", default=None),
    Word("cap", "number", "a single case's loss counts at most this much; left out: 5 delta, or 0.15 for other margins", default=None, low=0.0),
    Word("bound", "number", "largest loss that is possible: 1 for Dice; left out: none", default=None, low=0.0),
)  # fmt: skip

CONTRACT = (
    Word("task", "text", "whose score decides; left out: the only task", default=None),
    Word("metric", "text", "which number decides; left out: the first of [metrics] names", default=None),
    *MARGIN,
    Word("organs", "texts", "organs that must all hold; left out: all", default=None),
    Word("pi0", "number", "at most this share of cases may lose more than the cap", default=0.10, low=1e-6, high=0.999999),
    Word("alpha", "number", "risk of certifying a harmful level", default=0.05, low=1e-6, high=0.5),
    Word("mode", "text", "family: codecs share alpha, a best one may be named; separate: each its own question", default="family", allowed=NOUN_WORDS["mode"]),
    Word("method", "text", "order of the tests over levels", default="fixed_sequence", allowed=NOUN_WORDS["method"]),
    Word("missing", "text", "a row without a value: an error, or the worst loss", default="error", allowed=NOUN_WORDS["missing"]),
    Word("tail_unit", "text", "the tail counts a case by its mean, or by its worst unit", default="case", allowed=NOUN_WORDS["tail_unit"]),
    Word("grade", "text", "what decides: A holds for any distribution, A* is about the raw mean, B and C are approximations", default="A", allowed=NOUN_WORDS["grade"]),
    Word("readers", "text", "readers are averaged, or every one must pass", default="average", allowed=NOUN_WORDS["readers"]),
)  # fmt: skip

ALSO = (  # [[contract.also]]: a further metric that must hold at the same time
    Word("metric", "text", "a number of the same task"),
    *MARGIN,
)
