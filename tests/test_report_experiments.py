"""The page of network experiments: its numbers by hand, what it says of what is missing, and that it stands alone."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from experiment_folder import CLASSES, RATIOS, make

from slimscan.errors import InputError
from slimscan.report import experiments_stats as stats
from slimscan.report.experiments import blocks, write_html, write_markdown
from slimscan.report.experiments_read import MEAN, load, training
from slimscan.study.recipes import elkhoury2021_paper, kurmukov2024_paper


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("whole"), patients=18)


@pytest.fixture(scope="module")
def page(whole: Path) -> str:
    return write_html(whole, whole / "report.html").read_text("utf-8")


class _Seen(HTMLParser):
    """Words, ids, links, and tags that were left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.ids += [said["id"]] if said.get("id") else []
        self.links += [said[key] or "" for key in ("href", "src") if key in said]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def _text(folder: Path) -> str:
    """What the blocks say, without drawing them."""
    found = load(folder)
    return "\n".join(" ".join([block.code, block.text, *(cell for row in block.rows for cell in row)]) for block in blocks(found))  # fmt: skip


def test_the_page_stands_alone_and_every_link_leads_somewhere(page: str) -> None:
    seen = _Seen(page)
    assert not seen.open
    assert len(seen.ids) == len(set(seen.ids))
    assert all(link.startswith(("#", "data:")) for link in seen.links)
    assert {link[1:] for link in seen.links if link.startswith("#")} <= set(seen.ids)
    assert "http" not in page
    assert "nan" not in re.findall(r"\b\w+\b", " ".join(seen.words))
    assert page.count("<svg") == 8
    for letter in "abcde":
        assert f'id="{letter}"' in page


def test_the_same_folder_gives_the_same_bytes(whole: Path, page: str, tmp_path: Path) -> None:
    assert write_html(whole, tmp_path / "again.html").read_text("utf-8") == page


def test_the_papers_orders_come_with_their_intervals(whole: Path) -> None:
    text = _text(whole)
    found = load(whole)
    lost = {}
    for network in found.networks:
        base = found.scores(network, "1", 1.0, MEAN)
        above = [found.scores(network, "1", float(ratio), MEAN) for ratio in RATIOS[1:]]
        lost[network] = np.array([base[name] - np.mean([one[name] for one in above]) for name in sorted(base)])
    gap = lost["unet2d"] - lost["unet3d"]
    reach = 2.109816 * gap.std(ddof=1) / math.sqrt(18)  # Student's t, 17 degrees of freedom
    assert (
        f"confirmed 3D loses less than 2D. Averaged over 5:1 to 50:1 and all classes, unet3d loses {lost['unet3d'].mean():.3f} "
        f"and unet2d {lost['unet2d'].mean():.3f} DSC, {lost['unet3d'].mean() / lost['unet2d'].mean():.2f} times as much"
    ) in text
    assert (
        f"the difference is {gap.mean():.3f} (95 % interval {gap.mean() - reach:.3f} to {gap.mean() + reach:.3f}, 18 patients; "
        "above 0 in 3 of 3 folds)."
    ) in text
    assert "confirmed Fine-tuning at the ratio of the test helps." in text
    assert "denied unet3d: trained on originals and tested at 20:1, nothing is lost." in text


def test_tables_have_the_papers_layout_and_its_numbers(whole: Path) -> None:
    found = load(whole)
    tables = [block for block in blocks(found) if block.kind == "table"]
    values = list(found.scores("unet3d", "1", 5.0, "anterior").values())
    cell = f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    row = next(row for block in tables for row in block.rows if row[0] == "DSC, unet3d")
    assert row[2] == cell
    assert ["DSC, 2D CBCT", "0.780 ± 0.071", "0.756 ± 0.083", "0.708 ± 0.106", "0.641 ± 0.114", "0.524 ± 0.132", "0.283 ± 0.147", "0.071 ± 0.062"] in [list(row) for block in tables for row in block.rows]  # fmt: skip
    assert ["PAN", "0.82", "0.81", "0.82", "0.82", "0.79", "0.66", "0.61", "0.52"] in [list(row) for block in tables for row in block.rows]  # fmt: skip


def test_the_papers_tolerances_follow_from_its_tables_but_for_one() -> None:
    differ = [
        (table.number, row)
        for table in elkhoury2021_paper.TABLES
        for metric, row in table.rows
        if metric == "DSC"
        and elkhoury2021_paper.TOLD.get((table.organ, row), table.tolerance(row)) != table.tolerance(row)
    ]
    assert differ == [(2, "3D CT"), (4, "3D CT")]
    assert all(len(row) == 7 for table in elkhoury2021_paper.TABLES for row in table.rows.values())
    assert sum(len(table.rows) for table in elkhoury2021_paper.TABLES) == 4 * 8 + 2 * 12
    for column in range(8):
        organs = [row[column] for name, row in kurmukov2024_paper.AMOS.items() if name != "average"]
        assert kurmukov2024_paper.AMOS["average"][column] == pytest.approx(np.mean(organs), abs=0.01)


def test_a_curve_crosses_the_bar_between_its_ratios() -> None:
    curves = np.array([[0.9, 0.8, 0.6], [0.9, 0.9, 0.9], [0.6, 0.5, 0.4], [0.6, 0.8, 0.6], [0.7, 0.5, 0.4]])
    crossed = stats.crossing([1.0, 4.0, 16.0], curves)
    assert crossed == pytest.approx([8.0, math.inf, 0.0, 8.0, 1.0])
    assert stats.tolerance([1.0, 4.0, 16.0], [0.9, 0.7, 0.6]) == 4.0
    assert stats.tolerance([1.0, 4.0], [0.6, 0.5]) is None


def test_a_quotient_of_losses_needs_a_loss_to_divide_by() -> None:
    rng = np.random.default_rng(1)
    loss = {f"p{n}": float(value) for n, value in enumerate(rng.normal(0.1, 0.01, 30))}
    half = {name: value / 2 for name, value in loss.items()}
    assert stats.loss_ratio(half, loss).mean == pytest.approx(0.5)
    assert stats.loss_ratio(half, loss).low == pytest.approx(0.5)
    nothing = {name: value - 0.1 for name, value in loss.items()}
    assert math.isnan(stats.loss_ratio(half, nothing).mean)


def test_an_interval_decides_or_does_not() -> None:
    assert stats.decided(stats.mean([0.1, 0.11, 0.12])) == "confirmed"
    assert stats.decided(stats.mean([-0.1, -0.11, -0.12])) == "denied"
    assert stats.decided(stats.mean([-0.1, 0.1, 0.0])) == "not decided"
    assert stats.decided(stats.mean([0.1])) == "not decided"
    assert stats.decided(stats.NOTHING) == "not decided"


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("1", "clean", "originals"),
        ("48", "compressed", "trained at 48:1"),
        ("1+48", "tuned", "fine-tuned at 48:1"),
        ("few:0.2", "few", "20 % of the originals"),
        ("2+48", "other", "2+48"),
        ("later", "other", "later"),
    ],
)
def test_how_a_network_was_trained_is_read_from_one_word(text: str, kind: str, said: str) -> None:
    assert (training(text).kind, training(text).said) == (kind, said)


def test_patients_are_the_unit_and_not_their_cases(tmp_path: Path) -> None:
    make(tmp_path, patients=4)
    place = tmp_path / "rows.csv"
    lines = place.read_text("utf-8").splitlines()
    one = next(line for line in lines if line.startswith("a,0,unet2d,2,1,1,p00,p00,anterior"))
    cells = one.split(",")
    cells[7], cells[9] = "second", "0.5"
    place.write_text("\n".join([*lines, ",".join(cells)]) + "\n", "utf-8")
    scores = load(tmp_path).scores("unet2d", "1", 1.0, "anterior")
    assert len(scores) == 4
    assert scores["p00"] == pytest.approx((float(one.split(",")[9]) + 0.5) / 2)


def test_what_was_not_run_is_said_where_it_would_stand(tmp_path: Path) -> None:
    only = make(tmp_path / "a", patients=6, keep=lambda row: row["experiment"] == "a" and row["network"] == "unet3d")
    text = _text(only)
    assert "2D against 3D: not decided, because only one of them was trained." in text
    assert "Not run: no network was fine-tuned and tested at its own ratio." in text
    assert "Not run: no network was fine-tuned at one ratio and tested at several." in text
    assert "No two trainings can be compared yet, so nothing of the papers is confirmed or denied." in text
    assert "few originals against" not in text.lower()  # no part of that recipe
    other = make(tmp_path / "k", patients=6, recipe="kurmukov2024", keep=lambda row: row["experiment"] == "a")
    assert "Not run: no network was trained on compressed images from the start." in _text(other)
    assert "Not run: no network was trained on a share of the originals." in _text(other)


def test_a_class_without_masks_and_smbd_without_borders_are_said(tmp_path: Path) -> None:
    folder = make(tmp_path, patients=6, keep=lambda row: row["class"] == CLASSES[0] and not row.update(smbd_mm=""))  # type: ignore[func-returns-value]
    text = _text(folder)
    assert "posterior: no patient has this class in both the mask and the table, so there are no scores." in text
    assert "anterior: SMBD was not measured, or a mask was empty every time." in text
    assert "posterior" in write_html(folder, tmp_path / "page.html").read_text("utf-8")


def test_holes_in_the_matrix_are_counted(tmp_path: Path) -> None:
    folder = make(tmp_path, patients=6, keep=lambda row: (row["trained"], row["tested"]) != ("20", "50"))
    assert "1 cell of 25 was not run and is empty." in _text(folder)
    assert write_html(folder, tmp_path / "page.html").is_file()


@pytest.mark.parametrize("experiment", ["b", "c", "d", "e"])
def test_any_experiment_alone_still_gives_a_page(experiment: str, tmp_path: Path) -> None:
    folder = make(tmp_path, patients=3, folds=1, keep=lambda row: row["experiment"] == experiment)
    for name in ("verdicts.json",):
        (folder / name).unlink()
    text = _text(folder)
    assert "verdicts.json is missing or empty, so no ratio is certified here." in text
    assert "nan" not in re.findall(r"\b\w+\b", text)


def test_two_patients_and_one_fold_decide_nothing_in_vain(tmp_path: Path) -> None:
    text = _text(make(tmp_path, patients=1, folds=1))
    assert "one fold: how another training would come out is not known" in text
    assert "confirmed" not in text.split("Ratios reached")[0]


def test_empty_and_damaged_folders_are_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"experiment\.json: not there; run the experiments first"):
        write_html(tmp_path, tmp_path / "page.html")
    (tmp_path / "experiment.json").write_text("{", "utf-8")
    with pytest.raises(InputError, match=r"experiment\.json: not JSON"):
        write_html(tmp_path, tmp_path / "page.html")
    (tmp_path / "experiment.json").write_text("{}", "utf-8")
    with pytest.raises(InputError, match=r"rows\.csv: not there"):
        write_html(tmp_path, tmp_path / "page.html")
    (tmp_path / "rows.csv").write_text("network,trained\n", "utf-8")
    with pytest.raises(InputError, match=r"rows\.csv: lacks the columns tested, patient, case, class, dsc"):
        write_html(tmp_path, tmp_path / "page.html")
    (tmp_path / "rows.csv").write_text("network,trained,tested,patient,case,class,dsc\n", "utf-8")
    assert "no network was tested yet" in write_html(tmp_path, tmp_path / "page.html").read_text("utf-8")


def test_least_columns_are_enough(tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_text("{}", "utf-8")
    rows = [f"net<b>,1,{ratio},p{n},p{n},organ,{0.9 - 0.1 * n - 0.01 * ratio}" for n in range(3) for ratio in (1, 8)]
    (tmp_path / "rows.csv").write_text(
        "\n".join(["network,trained,tested,patient,case,class,dsc", *rows]) + "\n", "utf-8"
    )
    (tmp_path / "verdicts.json").write_text(json.dumps({"net<b>/1": {"certified_ratio": "strange"}}), "utf-8")
    page = write_html(tmp_path, tmp_path / "page.html").read_text("utf-8")
    assert "net<b>" not in page
    assert "net&lt;b&gt;" in page
    assert "PSNR was not measured, or every copy is exact." in page


def test_markdown_says_the_same_with_pictures_beside(whole: Path, tmp_path: Path) -> None:
    out = write_markdown(whole, tmp_path / "docs" / "recipes" / "elkhoury2021.md", tmp_path / "docs" / "images")
    text = out.read_text("utf-8")
    links = re.findall(r"\]\((\.\./images/[^)]+)\)", text)
    assert len(links) == 8
    assert all((out.parent / link).read_bytes().startswith(b"\x89PNG") for link in links)
    assert "- **Confirmed: 3D loses less than 2D.** Averaged" in text
    assert all(line.count("|") >= 3 for line in text.splitlines() if line.startswith("|"))
    assert text.count("### What the paper has") == 4


def test_pictures_that_the_run_names_are_shown_and_missed(whole: Path, tmp_path: Path) -> None:
    folder = make(tmp_path, patients=3)
    said = json.loads((folder / "experiment.json").read_text("utf-8"))
    said["pictures"] = [{"file": "worst.png", "caption": "patient p01 at 20:1"}, {"file": "gone.png"}]
    (folder / "experiment.json").write_text(json.dumps(said), "utf-8")
    (folder / "worst.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    kinds = [(block.kind, block.text) for block in blocks(load(folder))]
    assert ("picture", "patient p01 at 20:1") in kinds
    assert ("absent", "The picture gone.png is not there any more.") in kinds


def test_logs_that_were_cut_or_emptied_do_not_stop_the_page(tmp_path: Path) -> None:
    folder = make(tmp_path, patients=3)
    logs = sorted((folder / "nets").glob("*/*/*/log.jsonl"))
    logs[0].write_text("", "utf-8")
    logs[1].write_text(logs[1].read_text("utf-8")[:-7], "utf-8")
    assert "1 log of a training could not be read or is empty." in _text(folder)


def test_a_network_that_finds_nothing_confirms_nothing(tmp_path: Path) -> None:
    folder = make(tmp_path, patients=6, keep=lambda row: not row.update(dsc="0.0"))  # type: ignore[func-returns-value]
    text = _text(folder)
    assert "unet3d has a mean DSC of 0.000 on originals, below 0.7: whoever finds little has little to lose" in text
    assert "confirmed" not in text.split("Ratios reached")[0]
