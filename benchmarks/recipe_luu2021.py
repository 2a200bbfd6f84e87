"""The protocol of Luu 2021 on the abdomen CTs at hand, beside the paper's tables: writes docs/recipes/luu2021.md.

    python benchmarks/recipe_luu2021.py DATA [RESULTS] [PAGE]

DATA: folder with ct_abdomen_totalseg_example and ct_spleen_msd_crop. RESULTS: where measurements are kept, so that a second
call only writes the page.
"""

from __future__ import annotations

import csv
import sys
import tomllib
from pathlib import Path

from slimscan.report.luu2021 import markdown
from slimscan.study.recipes import text
from slimscan.study.recipes.luu2021.run import run
from slimscan.study.recipes.luu2021.words import Protocol, parse

ABDOMEN, SPLEEN = "ct_abdomen_totalseg_example", "ct_spleen_msd_crop"
# name, patient, image, region. Whether the two TotalSegmentator examples show one person is not known: they count as two.
CASES = (
    ("abdomen, 2 mm, liver", "totalseg-dicom", f"{ABDOMEN}/example_ct_dicom", f"{ABDOMEN}/example_seg_dicom.nii.gz#5"),
    ("abdomen, 3 mm cubes, liver", "totalseg-nifti", f"{ABDOMEN}/example_ct.nii.gz", f"{ABDOMEN}/example_seg_fast_force_split.nii.gz#5"),
    ("crop, 5 mm, spleen", "msd-spleen-2", f"{SPLEEN}/sub-spleen2_ct.nii.gz", f"{SPLEEN}/sub-spleen2_ct_seg-manual.nii.gz"),
)  # fmt: skip


def protocol(data: Path, results: Path) -> Protocol:
    """The recipe pointed at the images at hand; its table of cases is written to `results`."""
    results.mkdir(parents=True, exist_ok=True)
    with (results / "cases.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["case", "patient", "image", "region"])
        lines.writerows([name, patient, data / image, data / spec] for name, patient, image, spec in CASES)
    said = tomllib.loads(text("luu2021"))
    return parse(said | {"cases": {"table": "cases.csv"}, "coders": said["coders"] | {"repeats": 2}}, results)


def main(data: Path, results: Path, page: Path) -> None:
    """Measure what is new and write the page with its pictures."""
    found = run(protocol(data.resolve(), results.resolve()), results, lambda what, _done, _all: print(what, flush=True))
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(f"{HEAD}\n{markdown(found, page.parent.parent / 'images', '../images')}\n{WHY}", "utf-8")


HEAD = ""
WHY = ""

if __name__ == "__main__":
    given = [Path(one) for one in sys.argv[1:]]
    main(
        given[0],
        given[1] if len(given) > 1 else Path("recipe_luu2021"),
        given[2] if len(given) > 2 else Path(__file__).parents[1] / "docs" / "recipes" / "luu2021.md",
    )
