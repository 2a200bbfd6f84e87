"""The slide paper's protocol on the slides at hand, beside the paper's numbers: writes docs/recipes/wsi2025.md.

    python benchmarks/recipe_wsi2025.py DATA [RESULTS] [PAGE]

DATA: folder with wsi_he. RESULTS: where measurements are kept, so that a second call only writes the page.
"""

from __future__ import annotations

import sys
import tomllib
from dataclasses import replace
from pathlib import Path

from slimscan.report.wsi2025 import markdown
from slimscan.study.recipes import text
from slimscan.study.recipes.wsi2025.run import run, worst_pictures
from slimscan.study.recipes.wsi2025.words import Protocol, parse

FREE = "wsi_he/cmu_small_region.svs"  # CC0
SLIDES = (FREE, "wsi_he/small_dicom.dcm")
HEAD = """# The slide paper's protocol, run again

*Deep learning-based compression of giga-resolution whole slide images*, 2025. Written by `benchmarks/recipe_wsi2025.py` with
the recipe `wsi2025`: whole pyramids through JPEG 90, JPEG 2000 37 dB and JPEG XL distance 1 with glass kept, painted white or
stored as tiles of no bytes (Fig. 6), and patches of tissue at six magnifications (Tables 3 and 4), the worst of them drawn
(Figs 9 and 10). Two small slides, both JPEG already: CMU-1-Small-Region (CC0, Aperio JPEG quality 30) and a DICOM slide with
pen marks that names no magnification (taken as 20x). The learned codecs are not in the recipe; any tile codec that joins
the registry can be named in `[codecs]`.

On one's own slides: `slimscan study new --recipe wsi2025 -o wsi2025.toml`, fill in the slides, then
`slimscan study recipe wsi2025.toml -o OUT`. It has no contract: nobody can certify anything from it.
"""


def protocol(data: Path) -> Protocol:
    """The recipe pointed at the slides at hand."""
    said = tomllib.loads(text("wsi2025"))
    said["slides"] = {"files": list(SLIDES), "magnification": 20}
    said["codecs"]["names"] = [*said["codecs"]["names"], "jpeg444@90"]
    said["patches"] |= {"most": 60, "repeats": 5}
    return parse(said, data)


def main(data: Path, results: Path, page: Path) -> None:
    """Measure what is new and write the page with its pictures."""
    said = protocol(data.resolve())
    found = run(said, results.resolve())
    free = tuple(
        row for row in found.rows if row.slide == Path(FREE).name
    )  # pictures of the other may not be passed on
    told = markdown(replace(found, worst=tuple(worst_pictures(said, free))), page.parent.parent / "images", "../images")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(f"{HEAD}\n{told.replace(WORST, WORST_HERE)}\n{WHY}", "utf-8")


WORST = "The patch with the lowest SSIM of each codec:"
WORST_HERE = "Of the CMU-1 region, whose pictures may be shown, the patch with the lowest SSIM of each codec:"

WHY = """## Where the numbers differ, and why

**Table 3 comes out again.** JPEG XL saves 20 % a patch where the paper has 17, JPEG 2000 12 % (-75 to 92) where it has 14
(-74 to 92), at 2.2 and 2.8 bits a pixel where it has 2.3 and 2.8; SSIM and PSNR of JPEG are 0.96 and 36 dB, the paper's 0.95
and 35 dB. That holds with JPEG in 4:2:0, which the paper does not name: in 4:4:4 JPEG takes a fifth more bytes and has 39.5 dB,
so "JPEG of quality 90" alone leaves room for a fifth.

**JPEG 2000 at a fixed PSNR depends on the slide.** On the Aperio region, whose JPEG of quality 30 left a pattern of blocks, 37 dB
costs a third more than JPEG 90; on the DICOM slide it costs 43 % less. Its worst patch is nearly flat: 37 dB of noise is all
there is to see, SSIM 0.715, where JPEG and JPEG XL have 0.998. The paper's least is 0.90. A floor for each tile
([`small`](../slides.md#floors-of-small)) does not have that fault.

**Glass.** Two cut-outs hold little glass: 55 of 130 tiles of one, none of 42 of the other, whose tiles have 500 pixels a side. So the
savings lie at the low end of the paper's range over 21 whole slides. What is the same: painting glass white saves little with
JPEG, and JPEG XL gains nothing more from tiles of no bytes, since a white tile costs it 95 bytes (the paper: less
than 200). A white JPEG tile of 256 x 256 costs 1.7 kB here; the paper has more than 4 kB, for a tile whose size its text
as we have it does not give.

**Glass by colour at a margin of 0 is the paper's baseline, not what `slide compress` does**, which unites four masks and
keeps 64 pixels around tissue: 28 tiles instead of 55.

**Whole files** (`slide compress --profile paper`) agree: 1,246,417 bytes of tiles with JPEG 90 and 971,587 with JPEG XL, here
1,247,474 and 971,987, which carry their own headers.

**Times** are of one patch on one core while other work ran on the same machine, the shortest of five; JPEG 2000 decodes
about fifteen times slower than JPEG, the paper gives no number for it.

**No patch at 1.25x, 2.5x and 40x.** One slide was scanned at 20x, the other is taken for it, and both are too small below 5x. The paper's 138 of each need
whole slides.
"""

if __name__ == "__main__":
    here = Path(__file__).resolve().parent.parent
    given = [Path(one) for one in sys.argv[1:]]
    main(
        given[0],
        given[1] if len(given) > 1 else Path("results/wsi2025"),
        given[2] if len(given) > 2 else here / "docs/recipes/wsi2025.md",
    )
