"""Centrelines: shapes whose length and branches one can count, and a vessel tree that loses a branch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from vessels import second_reading, vessel_tree

from slimscan.errors import InputError
from slimscan.metrics import (
    Tree,
    branch_count,
    centreline_dice,
    measure_tree,
    skeleton,
    skeleton_length_mm,
    volume_mm3,
)
from slimscan.metrics.centrelines import branch_of_voxels, link


def drawn(*rows: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in rows])


def test_a_straight_line() -> None:
    line = np.zeros((5, 5, 20), bool)
    line[2, 2, 3:16] = True
    assert measure_tree(line, (1.0, 1.0, 2.0)) == Tree(24.0, 1, 0, 2, 1, (24.0,))
    assert skeleton_length_mm(line, 1.0) == 12.0
    assert branch_count(line) == 1


def test_a_diagonal_in_anisotropic_voxels() -> None:
    line = np.zeros((6, 6, 6), bool)
    line[range(6), range(6), range(6)] = True
    assert skeleton_length_mm(line, (1.0, 2.0, 2.0)) == pytest.approx(5 * 3.0)


def test_a_tube_has_the_length_of_its_axis() -> None:
    grid = np.ogrid[:21, :21, :80]
    tube = ((grid[0] - 10) ** 2 + (grid[1] - 10) ** 2 <= 16) & (grid[2] >= 5) & (grid[2] < 75)
    # 70 voxels long; the centreline ends about a radius before each end.
    assert skeleton_length_mm(tube, 0.5) == pytest.approx(0.5 * 69, abs=0.5 * 2 * 4.5)
    assert branch_count(tube, prune_mm=4) == 1


def test_a_fork_and_its_spur() -> None:
    fork = drawn(
        "#......#",
        ".#....#.",
        "..#..#..",
        "...##...",
        "...#....",
        "...#....",
        "...#....",
    )
    tree = measure_tree(fork, 1.0)
    assert (tree.branches, tree.forks, tree.ends, tree.pieces) == (3, 1, 3, 1)
    cross = np.zeros((5, 9, 21), bool)
    cross[2, 4, :] = True
    cross[2, :, 10] = True
    # The fork takes the crossing and its four neighbours; branches are counted up to it, the length through it.
    assert measure_tree(cross, 1.0) == Tree(28.0, 4, 1, 4, 1, (9.0, 9.0, 3.0, 3.0))
    # One spur goes in each round, until the fork is none any more.
    assert measure_tree(cross, 1.0, prune_mm=5.0) == Tree(20.0, 1, 0, 2, 1, (20.0,))
    assert measure_tree(cross, 1.0, prune_mm=3.0).branches == 4
    assert measure_tree(cross, 2.0, prune_mm=5.0).branches == 4


def test_rings_and_specks() -> None:
    ring = drawn(".####.", "#....#", "#....#", "#....#", ".####.")
    tree = measure_tree(ring, 1.0)
    assert (tree.branches, tree.forks, tree.ends, tree.pieces) == (1, 0, 0, 1)
    assert tree.length_mm == pytest.approx(3 + 3 + 2 + 2 + 4 * math.sqrt(2))
    specks = np.zeros((9, 9, 9), bool)
    specks[1, 1, 1] = specks[5, 5, 5] = True
    assert measure_tree(specks, 1.0, prune_mm=3.0) == Tree(0.0, 2, 0, 0, 2, (0.0, 0.0))


def test_empty() -> None:
    nothing = np.zeros((4, 4, 4), bool)
    assert measure_tree(nothing, 1.0, 2.0) == Tree(0.0, 0, 0, 0, 0, ())
    assert not skeleton(nothing).any()


def test_no_piece_vanishes() -> None:
    # Thinning alone removes a cube of 2 x 2 x 2 voxels whole.
    cubes = np.zeros((9, 9, 9), bool)
    cubes[1:3, 1:3, 1:3] = cubes[5:7, 5:7, 5:7] = True
    cubes[8, 8, 0] = True
    assert skeleton(cubes).sum() == 3
    assert branch_count(cubes) == 3
    assert centreline_dice(cubes, cubes) == 1.0


@settings(max_examples=80, deadline=None)
@given(hnp.arrays(np.bool_, st.tuples(*[st.integers(1, 7)] * 3)), st.sampled_from([0.0, 1.5, 3.0]))
def test_every_mask_has_a_tree_that_adds_up(mask: np.ndarray, prune: float) -> None:
    line = skeleton(mask)
    everywhere = np.ones((3, 3, 3))
    assert not (line & ~mask).any()
    assert ndimage.label(line, everywhere)[1] == ndimage.label(mask, everywhere)[1]
    tree = measure_tree(mask, (1.0, 1.2, 0.7), prune)
    assert tree.pieces == ndimage.label(mask, everywhere)[1]
    assert len(tree.branch_lengths_mm) == tree.branches >= tree.pieces * (tree.forks == 0)
    # Branches make up all but the short ways through the forks.
    assert sum(tree.branch_lengths_mm) <= tree.length_mm + 1e-9
    if tree.forks == 0:
        assert sum(tree.branch_lengths_mm) == pytest.approx(tree.length_mm)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.bool_, st.tuples(*[st.integers(1, 5)] * 3)))
def test_graphs_of_any_voxels_add_up(mask: np.ndarray) -> None:
    """Any set of voxels, thin or not: groups are complete, and the way is no longer than all steps together."""
    where = np.argwhere(mask)
    links = link(where, np.array([1.0, 2.0, 0.5]))
    branch, lengths = branch_of_voxels(links)
    assert links.pieces == ndimage.label(mask, np.ones((3, 3, 3)))[1]
    assert set(branch[branch >= 0].tolist()) == set(range(len(lengths)))
    spanning = 0.0
    for a in range(len(where)):
        spanning += sum(
            math.dist(where[a] * [1.0, 2.0, 0.5], where[b] * [1.0, 2.0, 0.5])
            for b in range(a)
            if np.abs(where[a] - where[b]).max() == 1
        )
    assert links.length_mm <= spanning + 1e-9


def test_centreline_dice_by_hand() -> None:
    x, y = np.zeros((3, 3, 20), bool), np.zeros((3, 3, 20), bool)
    x[1, 1, 0:10] = True
    y[1, 1, 5:20] = True
    precise, sensitive = 5 / 10, 5 / 15
    assert centreline_dice(x, y) == pytest.approx(2 * precise * sensitive / (precise + sensitive))
    assert centreline_dice(x, np.roll(x, 10, axis=2)) == 0.0


def test_centreline_dice_does_not_feel_the_width() -> None:
    thin = np.zeros((21, 21, 60), bool)
    thin[9:12, 9:12, 5:55] = True
    wide = ndimage.binary_dilation(thin, iterations=2)
    assert centreline_dice(thin, wide) > 0.98
    assert centreline_dice(thin, wide) == centreline_dice(wide, thin)


def test_a_lost_branch_is_seen() -> None:
    tree = vessel_tree((80, 70, 60), 3.0)
    cut = tree.copy()
    cut[50:] = False
    assert skeleton_length_mm(cut, 1.0) < 0.8 * skeleton_length_mm(tree, 1.0)
    assert branch_count(cut, 1.0) < branch_count(tree, 1.0)
    assert volume_mm3(cut, 1.0) < volume_mm3(tree, 1.0)
    assert 0.5 < centreline_dice(tree, cut) < 0.95
    assert centreline_dice(tree, second_reading(tree)) > 0.8
    pruned = measure_tree(tree, 1.0, prune_mm=4.0)
    assert pruned.branches <= branch_count(tree, 1.0)
    assert pruned.pieces == measure_tree(tree, 1.0).pieces


def test_refused() -> None:
    with pytest.raises(InputError, match=r"^prune_mm is -1; give a number of at least 0$"):
        measure_tree(np.ones((3, 3)), 1.0, -1)
    with pytest.raises(InputError, match=r"^the number of axes of the mask is 1; give a number from 2 to 3$"):
        skeleton([0, 1, 1])
