"""Groups of more links than one worker holds: components of a graph, found by rounds over partitions of its nodes.

Links become stars: edges from a node to a smaller one. Each step is a task per partition, and writes one file, which
all partitions of the next step read their part of:

    stars-0/<batch>.spill        of a batch of link files: each node, and the smallest that it is linked with there
    stars-1/<partition>.spill    what has reached a node is put together: all go to the smallest among them
    stars-2/<partition>.spill    and to what that one goes to itself; then as stars-1 again, and so on
    labels/<partition>.spill     nodes and their groups, cut by run of shards; reports/<partition>.json
    over/<partition>.spill       nodes of groups over the cap, and their groups
    apart/<batch>.spill          only where groups are over the cap: all links, to the partition of their first node
    met/<partition>.spill        links of those groups, to the partition of the group, where they are cut

The steps are small-star and large-star in turn (Kiveris et al., Connected Components in MapReduce and Beyond, 2014),
with union-find over all that a partition holds in the first of the two; no edges are added on the way. Rounds grow with
the logarithm of the longest chain. Every other step says whether all is stars now: a part behind those of the
partitions has a row for each partition where it is not. A group lies in one partition when it is labelled, and when it
is cut: one that a worker's memory cannot hold is said before.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from curate.alike.forest import stars
from curate.annotate.merging import Merging
from curate.annotate.nodes import forest, owner
from curate.annotate.partitions import partitions_for, warn_of_skew
from curate.cluster.cluster import Cluster
from curate.store.spill import read_spilled, spill, spilled, spilled_rows

#: Folders of this work; stars beside them.
FOLDERS = ("over", "apart", "met")


@dataclass(frozen=True)
class Rounds(Merging):
    """The job: `begin`, then `small` and `large` in turn, then `label_stars`; and `apart`, `meet` and `cut` where
    groups are over `cap`.

    step: the number of the stars that are made next.
    """

    step: int = 0

    @property
    def partitions(self) -> int:
        """Of the nodes: an edge goes to both of its ends."""
        return partitions_for(2 * self.links_there, self.fit)

    # ---- which nodes are one group ----

    def begin(self, batch: int) -> None:
        links = self.links(batch)
        self._to_nodes(batch, *stars(links["a"].to_numpy(), links["b"].to_numpy()), unfinished=False)

    def small(self, partition: int) -> None:
        """All edges from a node to smaller ones are here."""
        edges = self._stars(self.step - 1, partition)
        node, root = stars(edges["node"].to_numpy(), edges["root"].to_numpy())
        # To both ends.
        ends = owner(node, self.partitions), owner(root, self.partitions)
        twice = np.flatnonzero(ends[0] != ends[1])
        places = np.concatenate([np.arange(len(node)), twice])
        self._spill(partition, node[places], root[places], np.concatenate([ends[0], ends[1][twice]]))

    def large(self, partition: int) -> None:
        """All edges of a node are here, and those from a larger one go to what it goes to itself."""
        node, root = self._edges(partition)
        own = owner(node, self.partitions) == partition
        first = np.append(True, node[1:] != node[:-1])[: len(node)]
        inner, least = node[own & first], root[own & first]
        below = owner(root, self.partitions) == partition
        node, root = node[below], root[below]
        place = np.minimum(np.searchsorted(inner, root), max(0, len(inner) - 1))
        goes_on = inner[place] == root if len(inner) else np.zeros(len(root), bool)
        unfinished = bool(goes_on.any() or (own & ~first).any())
        if len(inner):
            root = np.where(goes_on, least[place], root)
        self._to_nodes(partition, node, root, unfinished)

    def label_stars(self, partition: int) -> None:
        """All nodes of a group are here, when all is stars."""
        node, root = self._edges(partition)
        below = owner(root, self.partitions) == partition
        roots, counts = np.unique(root[below], return_counts=True)
        nodes, labels = np.concatenate([node[below], roots]), np.concatenate([root[below], roots])
        whole = (counts + 1)[np.searchsorted(roots, labels)]
        over = whole > self.cap
        frame = pl.DataFrame({"node": nodes[over], "label": labels[over]})
        spill(self.store, f"{self.work}/over", partition, frame, owner(nodes[over], self.partitions), self.partitions)
        self.labelled(partition, nodes[~over], labels[~over], labels[~over])

    # ---- groups over the cap ----

    def apart(self, batch: int) -> None:
        links = self.links(batch)
        place = owner(links["a"].to_numpy(), self.partitions)
        spill(self.store, f"{self.work}/apart", batch, links, place, self.partitions)

    def meet(self, partition: int) -> None:
        over = read_spilled(self.store, f"{self.work}/over", self.partitions, partition).sort("node")
        links = read_spilled(self.store, f"{self.work}/apart", len(self.batches), partition)
        links = links.join(over, left_on="a", right_on="node", how="inner", maintain_order="left")
        place = owner(links["label"].to_numpy(), self.partitions)
        spill(self.store, f"{self.work}/met", partition, links.drop("label"), place, self.partitions)

    def cut(self, number: int) -> None:
        """number: the partition, counted on behind those of the stars."""
        links = forest(read_spilled(self.store, f"{self.work}/met", self.partitions, number - self.partitions))
        self.grouped(number, links)

    # ---- files ----

    def _stars(self, step: int, partition: int) -> pl.DataFrame:
        writers = self.partitions if step else len(self.batches)
        return read_spilled(self.store, f"{self.work}/stars-{step}", writers, partition)

    def _edges(self, partition: int) -> tuple[np.ndarray, np.ndarray]:
        """Edges from a node to a root, in their order and each once."""
        edges = self._stars(self.step - 1, partition).unique().sort("node", "root")
        return edges["node"].to_numpy(), edges["root"].to_numpy()

    def _to_nodes(self, writer: int, node: np.ndarray, root: np.ndarray, unfinished: bool) -> None:
        ends = owner(node, self.partitions)
        if unfinished:
            node, root, ends = np.append(node, 0), np.append(root, 0), np.append(ends, self.partitions)
        self._spill(writer, node, root, ends)

    def _spill(self, writer: int, node: np.ndarray, root: np.ndarray, place: np.ndarray) -> None:
        frame = pl.DataFrame({"node": node, "root": root})
        spill(self.store, f"{self.work}/stars-{self.step}", writer, frame, place, self.partitions + 1)

    # ---- for the driver ----

    def rows(self, folder: str, parts: int) -> np.ndarray:
        """Rows in each part of a folder that all partitions wrote."""
        return spilled_rows(self.store, f"{self.work}/{folder}", range(self.partitions), parts)

    def all_stars(self) -> bool:
        """Whether the last step found nothing to do."""
        return not self.rows(f"stars-{self.step}", self.partitions + 1)[-1]

    def begun(self) -> Rounds:
        """The job at the step where it was stopped."""
        steps = (re.fullmatch(r"stars-(\d+)", name) for name in self.store.names(self.work))
        return replace(self, step=max((int(step[1]) for step in steps if step), default=0))


def label_by_rounds(job: Rounds, cluster: Cluster, label: str, use: dict[str, Any]) -> None:
    """Write `labels` and `reports`; each step goes on where it was stopped. label: of the op; use: see Cluster.each."""
    store, work, job = job.store, job.work, job.begun()

    def do(name: str, folder: str, task: Callable[[int], None], items: int) -> None:
        done = spilled(store, f"{work}/{folder}")
        cluster.do(f"{label}: {name}", task, [item for item in range(items) if item not in done], {}, **use)

    while True:
        task = job.begin if job.step == 0 else job.small if job.step % 2 else job.large
        items = job.partitions if job.step else len(job.batches)
        do(f"links, step {job.step}", f"stars-{job.step}", task, items)
        if job.step > 1:
            store.remove(f"{work}/stars-{job.step - 2}")
        if job.step and job.step % 2 == 0 and job.all_stars():
            break
        job = replace(job, step=job.step + 1)
    _say_large(job, f"stars-{job.step - 1}", f"{label}: groups")
    cluster.do(f"{label}: groups", job.label_stars, job.unlabelled(range(job.partitions)), {}, **use)
    if job.rows("over", job.partitions).any():
        do("links over the cap", "apart", job.apart, len(job.batches))
        do("groups over the cap", "met", job.meet, job.partitions)
        _say_large(job, "met", f"{label}: cut")
        cluster.do(f"{label}: cut", job.cut, job.unlabelled(range(job.partitions, 2 * job.partitions)), {}, **use)


def _say_large(job: Rounds, folder: str, label: str) -> None:
    warn_of_skew(job.rows(folder, job.partitions), job.fit, label, "rows of one group")
