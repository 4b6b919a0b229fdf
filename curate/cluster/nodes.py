"""The machines of a cluster: which there are, what they see, how many cores each has for a GPU."""

from __future__ import annotations

import os
import sys

#: Seconds that a node may take to start a worker and look at a file.
NODE_SECONDS = 60.0


def alive_nodes() -> dict[str, str]:
    """The nodes of the cluster that was joined: id to address."""
    import ray

    return {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}


def sees(node: str, path: str) -> bool:
    """Whether a node has a file; one that does not answer in time is not blamed."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(num_cpus=0)(os.path.exists)
    answer = look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(path)
    try:
        return bool(ray.get(answer, timeout=NODE_SECONDS))
    except ray.exceptions.RayError:
        return True


def feeding_threads() -> int:
    """Cores of this machine per GPU of it: so many threads decode and prepare for one GPU. 2 where there is none."""
    import torch

    if not torch.cuda.is_available():
        return 2
    cores, gpus = float(os.cpu_count() or 2), float(torch.cuda.device_count())
    # Ray that this process has not imported does not run in it, and need not be installed.
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        # Inside a worker only its own GPU is seen.
        here = ray.get_runtime_context().get_node_id()
        resources: dict[str, float] = next((node["Resources"] for node in ray.nodes() if node["NodeID"] == here), {})
        cores, gpus = resources.get("CPU", cores), resources.get("GPU", gpus)
    return max(2, int(cores / max(gpus, 1)))
