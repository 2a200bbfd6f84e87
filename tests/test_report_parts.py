"""The parts of the page: numbers, markup, losses that agree with the judge, surfaces the right way round."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_folder import EVIL, make

from slimscan.report.again import picks, worst
from slimscan.report.html import Html, join, table, tag, text
from slimscan.report.mesh import Mesh, camera_of, mesh_of, render, signed_distance_mm
from slimscan.report.numbers import declared, listed, number, p_value, percent, ratio, signed, unit_of, with_unit
from slimscan.report.page import page
from slimscan.report.results import Results, load
from slimscan.report.task import observed


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return load(make(tmp_path_factory.mktemp("parts")))


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.012345, "0.0123"), (12.345, "12.3"), (1234.5, "1234"), (0, "0"), (-0.5, "\u22120.500"), (None, "\u2013"),
     (math.nan, "\u2013"), (math.inf, "infinite"), (1e-7, "1.00e\u221207"), (2.5e7, "2.50e+07")],
)  # fmt: skip
def test_number(value: float | None, said: str) -> None:
    assert number(value) == said


def test_other_numbers() -> None:
    assert (declared(0.02), declared(0.25, "mm"), declared(None)) == ("0.02", "0.25\u00a0mm", "\u2013")
    assert (signed(0.5), signed(0), signed(-0.5)) == ("+0.500", "0", "\u22120.500")
    assert (percent(0.1), percent(0.0974, 3), ratio(12.34)) == ("10\u00a0%", "9.74\u00a0%", "12.3:1")
    assert (p_value(0.00001), p_value(0.0123), p_value(0.5), p_value(math.nan)) == (
        "<0.0001",
        "0.0123",
        "0.50",
        "\u2013",
    )
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert (unit_of("dice"), unit_of("hd95"), unit_of("hd95", "voxels"), unit_of("volume_mm3")) == (
        "",
        "mm",
        "voxels",
        "mm\u00b3",
    )
    assert with_unit(1.5, "mm") == "1.50\u00a0mm"


@given(st.text())
def test_text_never_becomes_markup(said: str) -> None:
    found = text(said)
    assert not set(found) & set("<>\"'")
    assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in found)


def test_markup() -> None:
    assert (
        tag("p", "a & b", Html("<br>"), class_="x", hidden=True, title=None) == '<p class="x" hidden>a &amp; b<br></p>'
    )
    assert tag("meta", name="a") == '<meta name="a">'
    assert join(["<", None, Html("<i></i>")], ", ") == "&lt;, <i></i>"
    assert '<th class="left" scope="row">a</th><td>1</td>' in table(["x", "y"], [["a", 1]])


def test_losses_are_those_of_the_judge(results: Results) -> None:
    (one,) = results.decisive
    assert (one.task, one.metric, one.organ, one.null, one.cap) == (
        "bright",
        "dice",
        "foreground",
        0.02,
        pytest.approx(0.1),
    )
    for step, level in results.steps("jpeg2000"):
        losses = results.losses(one, "jpeg2000", step)
        evidence = results.evidence(one, "jpeg2000", level)
        assert len(losses) == evidence["n"]
        assert math.fsum(losses.values()) / len(losses) == pytest.approx(evidence["mean_loss"], abs=1e-12)
        assert max(losses.values()) == pytest.approx(evidence["worst_loss"])
        assert sum(value > one.cap for value in losses.values()) == evidence["n_over_B"]


def test_the_worst_case_is_the_judges(results: Results) -> None:
    held, stopped = picks(results)
    assert (held.level, held.role, held.case) == (40.0, "strongest certified level", EVIL)
    assert (stopped.level, stopped.role) == (30.0, "first level that is not certified")
    found = worst(results, "jpeg2000", 3, "")
    assert found is not None
    assert found.case == (results.judged("jpeg2000", 30) or {})["evidence"]["worst_case"]


def test_lines_of_observers(tmp_path: Path) -> None:
    folder = make(tmp_path, "INSUFFICIENT_N")
    organs = {"foreground": {"iaov_hausdorff_mm": 0.25, "ieov_hausdorff_mm": None}}
    seen = {"observers": [{"image": "case01", "case": "case01", "task": "bright", "organs": organs}]}
    (folder / "observers.json").write_text(json.dumps(seen), "utf-8")
    results = load(folder)
    from slimscan.report.task import beside

    (distance,) = beside(results)
    assert observed(results, distance) == {"own": 0.25}
    assert "Average Hausdorff distance" in page(results, lambda *_: "none")


def solid(shape: tuple[int, int, int], *corners: slice) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[corners] = True
    return mask


def mesh(mask: np.ndarray, affine: np.ndarray | None = None) -> Mesh:
    found = mesh_of(mask, np.eye(4) if affine is None else affine)
    assert found is not None
    return found


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_a_surface_encloses_its_mask_whichever_way_the_axes_run(mirror: float) -> None:
    mask = solid((20, 20, 20), slice(4, 16), slice(5, 15), slice(6, 14))
    found = mesh(mask, np.diag([mirror * 2.0, 1.0, 0.5, 1.0]))
    a, b, c = (found.points[found.faces[:, n]] for n in range(3))
    volume = float(np.einsum("nd,nd->", a, np.cross(b, c))) / 6
    assert volume == pytest.approx(12 * 10 * 8, rel=0.06)  # voxels of 1 mm^3, corners rounded off
    low, high = found.points.min(axis=0), found.points.max(axis=0)
    assert sorted((mirror * 2 * 5.5, mirror * 2 * 13.5)) == pytest.approx([low[0], high[0]], abs=0.5)
    assert (low[2], high[2]) == pytest.approx((0.5 * 3.5, 0.5 * 15.5), abs=0.25)


def test_thin_vessels_stay() -> None:
    found = mesh(solid((12, 12, 30), slice(5, 6), slice(5, 6), slice(2, 28)))
    assert np.ptp(found.points[:, 0]) > 24


def test_the_picture_shows_the_patients_right_on_the_left_and_superior_up() -> None:
    arm = solid((30, 30, 30), slice(13, 17), slice(13, 17), slice(13, 29))  # from the middle to the patient's right
    head = solid((30, 30, 30), slice(13, 29), slice(13, 17), slice(13, 17))  # from the middle upwards
    both = mesh(arm | head)
    camera = camera_of([both])
    alone = {name: render(mesh(mask), camera, 90)[..., 0] < 250 for name, mask in (("arm", arm), ("head", head))}
    column = {name: np.argwhere(seen)[:, 1].mean() for name, seen in alone.items()}
    row = {name: np.argwhere(seen)[:, 0].mean() for name, seen in alone.items()}
    assert column["arm"] < column["head"] - 10
    assert row["head"] < row["arm"] - 10


def test_nearer_surfaces_hide_farther_ones() -> None:
    front = mesh(solid((20, 20, 20), slice(2, 18), slice(14, 18), slice(2, 18)))
    back = mesh(solid((20, 20, 20), slice(2, 18), slice(2, 6), slice(2, 18)))
    whole = Mesh(
        np.concatenate([back.points, front.points]),
        np.concatenate([back.normals, front.normals]),
        np.concatenate([back.faces, front.faces + len(back.points)]),
        np.zeros(len(back.points) + len(front.points)),
    )
    colours = np.repeat([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [len(back.points), len(front.points)], axis=0)
    camera = camera_of([whole])
    only = render(front, camera, 80)[..., 0] < 250
    seen = render(whole, camera, 80, colours)
    inner = only & np.roll(only, 2, 0) & np.roll(only, -2, 0) & np.roll(only, 2, 1) & np.roll(only, -2, 1)
    assert (seen[inner][:, 2] > seen[inner][:, 0]).all()


def test_distances_to_a_surface() -> None:
    field = signed_distance_mm(solid((9, 9, 9), slice(2, 7), slice(2, 7), slice(0, 7)), (1.0, 1.0, 1.0))
    room = (np.array(field.shape) - 9) // 2
    at = {(4, 4, 4): -2.5, (4, 4, 6): -0.5, (4, 4, 7): 0.5, (4, 4, 0): -0.5}  # the image's edge is a border too
    for place, distance in at.items():
        assert field[tuple(np.array(place) + room)] == pytest.approx(distance)
    assert np.isinf(signed_distance_mm(np.zeros((3, 3, 3), bool), (1.0, 1.0, 1.0))).all()
    assert mesh_of(np.zeros((3, 3, 3), bool), np.eye(4)) is None


def test_an_unchanged_surface_has_not_moved() -> None:
    mask = solid((16, 16, 16), slice(0, 12), slice(3, 12), slice(4, 13))
    found = mesh_of(mask, np.eye(4), signed_distance_mm(mask, (1.0, 1.0, 1.0)))
    assert found is not None
    assert np.abs(found.values).max() < 0.75
