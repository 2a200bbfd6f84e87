"""The segmentation as a surface, from the original and from compressed images (Cunha 2023, Figs 3, 5 and 7)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.nouns import Pixels
from slimscan.report.again import Again, Shown, Take, organ_masks, picks
from slimscan.report.chart import png
from slimscan.report.html import Html, figure, image, join, paragraph, section, tag
from slimscan.report.mesh import BONE, Mesh, camera_of, mesh_of, render, signed_distance_mm
from slimscan.report.numbers import declared, listed, number, ratio
from slimscan.report.results import Results, median
from slimscan.report.slices import hang
from slimscan.report.view import view_of

KEY, TITLE = "surfaces", "Surfaces of the segmentation"
SIDE = 360  # pixels of one picture


@dataclass(frozen=True)
class _Panel:
    title: str
    mesh: Mesh | None


def surfaces(results: Results, take: Take) -> Html:
    """The section: for each codec the worst case at its certified (or mildest) level, beside its strongest level."""
    parts: list[Html] = []
    for name in results.codecs:
        shown = next((one for one in picks(results) if one.codec == name), None)
        if shown is not None:
            parts += [tag("h3", name), _row(results, shown, take)]
    if not parts:
        return section(KEY, TITLE, paragraph("No case has a mask to draw.", class_="absent"))
    return section(KEY, TITLE, join(parts))


def _row(results: Results, shown: Shown, take: Take) -> Html:
    steps = [step for step, _ in results.steps(shown.codec) if results.ratios(shown.codec, step)]
    stopped = results.step_of(shown.codec, (results.by_codec.get(shown.codec) or {}).get("blocked_by"))
    wanted = list(dict.fromkeys(step for step in (shown.step, stopped, steps[-1]) if step is not None))
    found = {step: take(shown.image, shown.codec, step) for step in wanted}
    reasons = [one for one in found.values() if isinstance(one, str)]
    whole = {step: one for step, one in found.items() if isinstance(one, Again)}
    if not whole:
        return paragraph(f"Case {shown.case} cannot be shown: {reasons[0]}", class_="absent")
    if any(organ_masks(results, shown.one, one).keys().isdisjoint({"after"}) for one in whole.values()):
        return paragraph("The deciding task gives numbers, no masks: there is no surface to draw.", class_="absent")
    panels = _panels(results, shown, whole)
    if panels is None:
        return paragraph(
            f"Case {shown.case} has an empty mask on the original, so there is no surface to draw.", class_="absent"
        )
    first = next(iter(whole.values())).original
    limit = _limit(panels, max(first.spacing_mm))
    still = 0.75 * max(first.spacing_mm)  # smoothing the surface moves it by about that much in corners
    data = png(lambda canvas: _draw(canvas, panels, limit, still), (10.4, 11.1 / max(len(panels), 3) + 1.2), 120)
    said = listed([panel.title.replace("\n", ", ") for panel in panels])
    lost = [panel.title.split("\n")[0] for panel in panels if panel.mesh is None]
    caption = (
        f"Case {shown.case}, the worst at the {shown.role}: {said}. Seen from the front, 30\u00b0 from the patient's left and 22\u00b0 "
        "from above, without perspective and at one scale. Blue: the surface lies inside that of the original (something was lost); red: "
        "outside (something was added); plain: where it was, within "
        f"{number(still)} mm."
    )
    if not view_of(first).edges:
        caption = caption.replace(
            "Seen from the front, 30\u00b0 from the patient's left and 22\u00b0 from above",
            "The file states no orientation; its x runs to the left, its y towards the viewer and its z upwards",
        )
    if lost:
        caption += f" Nothing was segmented at: {listed(lost)}."
    if len(whole) < len(found):
        caption += f" One level cannot be shown: {reasons[0]}"
    return figure(image(data, f"Surface of the segmentation of case {shown.case}: {said}"), caption)


def _panels(results: Results, shown: Shown, whole: dict[int, Again]) -> list[_Panel] | None:
    ones = [one for one in results.decisive if one.metric == shown.one.metric]
    first = next(iter(whole.values()))
    spacing = first.original.spacing_mm
    stated = bool(view_of(first.original).edges)
    affine = np.asarray(first.original.affine_mm, np.float64) if stated else np.diag([*spacing[::-1], 1.0])
    masks = {
        one.organ: organ_masks(results, one, first)["before"]
        for one in ones
        if "before" in organ_masks(results, one, first)
    }
    bases = [mesh for mask in masks.values() if (mesh := mesh_of(mask, affine)) is not None]
    if not bases:
        return None
    panels = [_Panel("original", _joined(bases))]
    distances = {organ: signed_distance_mm(mask, spacing) for organ, mask in masks.items()}
    for step, found in whole.items():
        meshes = []
        for one in ones:
            after: Pixels | None = organ_masks(results, one, found).get("after")
            if after is not None and one.organ in distances:
                field = np.clip(distances[one.organ], -1e6, 1e6)
                meshes.append(mesh_of(after, affine, field))
        nominal = dict(results.steps(shown.codec))[step]
        kept = [mesh for mesh in meshes if mesh is not None]
        title = (
            f"{results.level_text(shown.codec, nominal)}\n{ratio(median(results.ratios(shown.codec, step)))} (median)"
        )
        panels.append(_Panel(title, _joined(kept) if kept else None))
    return panels


def _joined(meshes: Sequence[Mesh]) -> Mesh:
    """Several surfaces as one."""
    starts = np.cumsum([0, *(len(mesh.points) for mesh in meshes[:-1])])
    return Mesh(
        np.concatenate([mesh.points for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)]),
        np.concatenate([mesh.values for mesh in meshes]),
    )


def _limit(panels: Sequence[_Panel], least: float) -> float:
    """Where the colours end: the 99th percentile of what moved, at least two voxels."""
    moved = [np.abs(panel.mesh.values) for panel in panels[1:] if panel.mesh is not None]
    most = float(np.percentile(np.concatenate(moved), 99)) if moved else 0.0
    return float(f"{max(most, 2 * least):.2g}")


def _colours(values: NDArray[np.float64], limit: float, still: float) -> NDArray[np.float64]:
    """Bone where the surface moved less than `still`, deeper blue or red the further it moved."""
    bone = np.array(BONE)
    inward, outward = np.array([0.02, 0.28, 0.62]), np.array([0.70, 0.09, 0.10])
    share = np.clip((np.abs(values) - still) / (limit - still), 0, 1)[:, None]
    return np.asarray(bone + share * (np.where(values[:, None] < 0, inward, outward) - bone), np.float64)


def _draw(canvas: Any, panels: Sequence[_Panel], limit: float, still: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    camera = camera_of([panel.mesh for panel in panels if panel.mesh is not None])
    axes = canvas.subplots(1, max(len(panels), 3))
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    for index, (ax, panel) in enumerate(zip(axes, panels, strict=False)):
        hang(ax, panel.title)
        if panel.mesh is None:
            ax.imshow(np.full((SIDE, SIDE, 3), 255, np.uint8))
            ax.text(SIDE / 2, SIDE / 2, "nothing segmented", ha="center", va="center")
            continue
        paint = None if index == 0 else _colours(panel.mesh.values, limit, still)
        ax.imshow(render(panel.mesh, camera, SIDE, paint), interpolation="bilinear")
    for ax in axes[1 : len(panels)]:
        ax.set_ylim(1.07 * SIDE, 0)
    _scale(axes[0], 2 * camera.span)
    ramp = ListedColormap(_colours(np.linspace(-limit, limit, 255), limit, still))
    bar = canvas.colorbar(
        ScalarMappable(Normalize(-limit, limit), ramp),
        ax=list(axes),
        orientation="horizontal",
        aspect=60,
        shrink=0.6,
        pad=0.02,
    )
    bar.set_label("distance from the surface on the original [mm], below 0: inside it", fontsize=9)


def _scale(axes: Any, width_mm: float) -> None:
    """A bar of a round length."""
    length = 10 ** math.floor(math.log10(width_mm / 3))
    length *= next(step for step in (5, 2, 1) if step * length <= width_mm / 3)
    across = SIDE * length / width_mm
    axes.set_ylim(1.07 * SIDE, 0)
    axes.plot([0.02 * SIDE, 0.02 * SIDE + across], [1.03 * SIDE] * 2, color="#1c2530", linewidth=2.5)
    words = f"{declared(length * 1000)} \u00b5m" if length < 0.5 else f"{declared(length)} mm"
    axes.text(0.04 * SIDE + across, 1.03 * SIDE, words, fontsize=9, va="center")
