"""The voxels of a centreline as a graph: which follow each other, where they fork, how long the way is.

Voxels with three or more neighbours lie in a knot, and knots that touch are one; the others form chains. A knot with
three or more arms is a fork; one with fewer is a bend that the thinning left thick, and its chains go on through it.
Inside a knot every voxel neighbours others, so the length there is that of the shortest tree that joins its arms (a stub
of one voxel is lost in the knot); a chain reaches a knot by its shortest step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import coo_array

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Links:
    """A centreline as chains and knots.

    group: the chain or knot of every voxel; chains are 0..chains-1, knots follow. arms: of every knot, how many
    chain ends reach it. arm_chain, arm_knot: for every arm its chain and its knot (counted from 0). inner_mm: length
    inside every group. arm_mm: length of every arm's step. free: whether a chain has a free end of its own.
    """

    group: Ints
    chains: int
    arms: Ints
    arm_chain: Ints
    arm_knot: Ints
    inner_mm: Floats
    arm_mm: Floats
    free: NDArray[np.bool_]
    ends: int
    pieces: int

    @property
    def length_mm(self) -> float:
        """The whole way in mm."""
        return float(self.inner_mm.sum() + self.arm_mm.sum())


def link(where: Ints, spacing_mm: Floats) -> Links:
    """The graph of centreline voxels at the indices `where` (n, ndim); neighbours share a face, an edge or a corner."""
    from scipy.sparse.csgraph import minimum_spanning_tree
    from scipy.spatial import cKDTree

    n = len(where)
    pairs = np.zeros((0, 2), np.int64)
    if n > 1:
        found = cKDTree(where).query_pairs(1.0, p=np.inf, output_type="ndarray")
        pairs = found[np.lexsort(found.T)].astype(np.int64)
    step = np.sqrt((((where[pairs[:, 0]] - where[pairs[:, 1]]) * spacing_mm) ** 2).sum(axis=1))
    degree = np.bincount(pairs.ravel(), minlength=n)
    knotted = degree >= 3
    # A voxel that only closes a triangle with a knot is part of it.
    group, chains, knots = _groups(pairs, knotted)
    knotted |= _inside_knot(pairs, knotted, group, degree)
    group, chains, knots = _groups(pairs, knotted)

    both = knotted[pairs]
    in_chain, in_knot, arm = ~both.any(axis=1), both.all(axis=1), both[:, 0] != both[:, 1]
    inside = np.where(both[arm, 0], pairs[arm, 0], pairs[arm, 1])
    voxel, knot, way = pairs[arm].sum(axis=1) - inside, group[inside] - chains, step[arm]
    order = np.lexsort((way, knot, voxel))
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(voxel[order]) != 0) | (np.diff(knot[order]) != 0)
    reach = order[first]
    inside, voxel, knot, way = inside[reach], voxel[reach], knot[reach], way[reach]
    arms = np.bincount(knot, minlength=knots)

    shortest = minimum_spanning_tree(_graph(pairs[in_knot], step[in_knot], n)).tocoo()
    # Voxels of a knot that no arm needs are cut off its tree, unless the knot is an end or stands alone.
    needed = np.zeros(n, bool)
    needed[inside] = True
    needed[knotted] |= arms[group[knotted] - chains] < 2
    steps, mm = _trimmed(np.stack((shortest.row, shortest.col), axis=1), shortest.data, needed)
    inner = _sums(group[pairs[in_chain, 0]], step[in_chain], chains + knots)
    inner += _sums(group[steps[:, 0]], mm, chains + knots)

    free = np.zeros(chains, bool)
    free[group[(degree <= 1) & ~knotted]] = True
    pieces, _ = _components(pairs, n)
    ends = int(np.count_nonzero(degree == 1)) + int(np.count_nonzero(arms == 1))
    return Links(group, chains, arms, group[voxel], knot, inner, way, free, ends, pieces)


def branch_of_voxels(links: Links) -> tuple[Ints, Floats]:
    """The branch of every voxel (-1 inside a fork), and the length of every branch in mm.

    A branch is the chains that run on through knots of one or two arms; a knot without arms is a branch of its own.
    """
    plain = links.arms < 3
    nodes = links.chains + len(links.arms)
    through = plain[links.arm_knot]
    joined = np.stack((links.arm_chain[through], links.arm_knot[through] + links.chains), axis=1)
    if nodes == 0:
        return np.zeros(0, np.int64), np.zeros(0)
    _, found = _components(joined, nodes)
    kept = np.concatenate((np.ones(links.chains, bool), plain))
    # Forks are numbered -1, the others from 0 up.
    names, label = np.unique(np.where(kept, found, -1), return_inverse=True)
    label = label - int(names[0] == -1)
    count = int(label.max()) + 1
    lengths = _sums(label[kept], links.inner_mm[kept], count) + _sums(label[links.arm_chain], links.arm_mm, count)
    return np.asarray(label[links.group], np.int64), lengths


def spurs(links: Links, shorter_mm: float) -> NDArray[np.bool_]:
    """Voxels of side branches that end freely and are shorter than `shorter_mm`: at every fork only the shortest."""
    branch, lengths = branch_of_voxels(links)
    label = np.full(links.chains + len(links.arms), -1, np.int64)
    label[links.group] = branch
    at_fork = links.arms[links.arm_knot] >= 3
    held = np.bincount(label[links.arm_chain[at_fork]], minlength=len(lengths))
    loose = np.zeros(len(lengths), bool)
    loose[label[: links.chains][links.free]] = True
    blunt = label[links.chains :][links.arms == 1]
    loose[blunt] = True
    candidate = loose & (held == 1) & (lengths < shorter_mm)
    arm_branch, arm_knot = label[links.arm_chain[at_fork]], links.arm_knot[at_fork]
    able = candidate[arm_branch]
    arm_branch, arm_knot = arm_branch[able], arm_knot[able]
    order = np.lexsort((arm_branch, lengths[arm_branch], arm_knot))
    arm_branch, arm_knot = arm_branch[order], arm_knot[order]
    shortest = np.ones(len(arm_knot), bool)
    shortest[1:] = np.diff(arm_knot) != 0
    cut = np.zeros(len(lengths), bool)
    cut[arm_branch[shortest]] = True
    return (branch >= 0) & cut[branch]


def _groups(pairs: Ints, knotted: NDArray[np.bool_]) -> tuple[Ints, int, int]:
    """The chain or knot of every voxel, chains first, and how many there are of each."""
    n = len(knotted)
    alike = pairs[knotted[pairs[:, 0]] == knotted[pairs[:, 1]]]
    count, label = _components(alike, n)
    is_knot = np.zeros(count, bool)
    is_knot[label[knotted]] = True
    rank = np.empty(count, np.int64)
    rank[~is_knot] = np.arange(np.count_nonzero(~is_knot))
    rank[is_knot] = np.arange(np.count_nonzero(is_knot)) + np.count_nonzero(~is_knot)
    return rank[label], int(np.count_nonzero(~is_knot)), int(np.count_nonzero(is_knot))


def _inside_knot(pairs: Ints, knotted: NDArray[np.bool_], group: Ints, degree: Ints) -> NDArray[np.bool_]:
    """Voxels with two neighbours that both lie in one knot."""
    ends = np.concatenate((pairs, pairs[:, ::-1]))
    ends = ends[knotted[ends[:, 1]] & ~knotted[ends[:, 0]]]
    _, first, count = np.unique(
        ends[:, 0] * (len(knotted) + 1) + group[ends[:, 1]], return_index=True, return_counts=True
    )
    inside = np.zeros(len(knotted), bool)
    inside[ends[first[count == 2], 0]] = True
    return np.asarray(inside & (degree == 2))


def _trimmed(edges: Ints, mm: Floats, needed: NDArray[np.bool_]) -> tuple[Ints, Floats]:
    """A forest without its leaves that are not needed, leaf after leaf."""
    while True:
        leaf = (np.bincount(edges.ravel(), minlength=len(needed)) == 1) & ~needed
        kept = ~leaf[edges].any(axis=1)
        if kept.all():
            return edges, mm
        edges, mm = edges[kept], mm[kept]


def _components(pairs: Ints, n: int) -> tuple[int, Ints]:
    from scipy.sparse.csgraph import connected_components

    if n == 0:
        return 0, np.zeros(0, np.int64)
    count, label = connected_components(_graph(pairs, np.ones(len(pairs)), n), directed=False)
    return int(count), np.asarray(label, np.int64)


def _sums(group: Ints, values: Floats, count: int) -> Floats:
    return np.bincount(group, values, minlength=count).astype(np.float64)


def _graph(pairs: Ints, weight: Floats, n: int) -> coo_array:
    from scipy.sparse import coo_array

    return coo_array((weight, (pairs[:, 0], pairs[:, 1])), shape=(n, n))
