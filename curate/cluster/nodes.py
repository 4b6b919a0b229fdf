"""The machines of a cluster: whether Ray runs, which nodes there are, what they see, their cores for each GPU."""

from __future__ import annotations

import os
import sys

#: Seconds that a node may take to start a worker and look at a file.
NODE_SECONDS = 60.0


def ray_runs() -> bool:
    """Whether Ray was started or joined in this process. It need not be installed, and to import it takes half a
    second: where nobody has imported it, it does not run."""
    ray = sys.modules.get("ray")
    return bool(ray and ray.is_initialized())


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
    if ray_runs():
        import ray

        # Inside a worker only its own GPU is seen.
        here = ray.get_runtime_context().get_node_id()
        resources: dict[str, float] = next((node["Resources"] for node in ray.nodes() if node["NodeID"] == here), {})
        cores, gpus = resources.get("CPU", cores), resources.get("GPU", gpus)
    return max(2, int(cores / max(gpus, 1)))
