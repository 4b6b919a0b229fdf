"""A Ray cluster of two nodes on this machine, and the node on which a task ran."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from conftest import importable


@contextlib.contextmanager
def two_nodes() -> Iterator[str]:
    """The address of a cluster of two nodes, two CPUs each."""
    import ray
    from ray.cluster_utils import Cluster as Nodes

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", importable())
        nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        try:
            nodes.add_node(num_cpus=2)
            nodes.wait_for_nodes()
            yield nodes.address
        finally:
            ray.shutdown()
            nodes.shutdown()


def node_of(item: int) -> tuple[int, str]:
    """A task: the item, and the node that does it."""
    import ray

    return item, ray.get_runtime_context().get_node_id()
