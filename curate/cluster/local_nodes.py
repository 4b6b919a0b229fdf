"""A Ray cluster of several nodes on this machine, to see what becomes of a run when a node is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

CPUS_OF_NODE = 2


class LocalNodes:
    """address: of the cluster, as `--address` takes it."""

    def __init__(self, count: int) -> None:
        from ray.cluster_utils import Cluster

        self._nodes: Any = Cluster(
            initialize_head=True, head_node_args={"num_cpus": CPUS_OF_NODE, "include_dashboard": False}
        )
        self.address = str(self._nodes.address)
        for _ in range(count - 1):
            self._nodes.add_node(num_cpus=CPUS_OF_NODE)
        self._nodes.wait_for_nodes()

    def lose_one(self) -> None:
        """End a node that is not the head, with all that runs on it, as a machine that loses its power; and add a new
        one."""
        self._nodes.remove_node(sorted(self._nodes.worker_nodes, key=str)[0], allow_graceful=False)
        self._nodes.add_node(num_cpus=CPUS_OF_NODE)

    def stop(self) -> None:
        self._nodes.shutdown()


@contextlib.contextmanager
def local_nodes(count: int) -> Iterator[LocalNodes]:
    """A cluster of so many nodes while the block runs, two CPUs each."""
    nodes = LocalNodes(count)
    try:
        yield nodes
    finally:
        nodes.stop()
