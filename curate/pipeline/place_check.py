"""Before any work: what an op needs, a folder that can be written, a cluster that answers. One line for each fault."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path

from curate.annotate.packages import lacking_packages
from curate.cluster.cluster import Cluster
from curate.cluster.nodes import alive_nodes, sees
from curate.errors import CurateError, Findings
from curate.library.user_code import one_line
from curate.messages.causes import explained
from curate.op import Op
from curate.pipeline.steps import Pipeline, on_all_nodes
from curate.store.folder import Folder

#: A disk with less is full before the first shard is done.
LEAST_FREE_BYTES = 10_000_000


def op_faults(op: Op) -> list[str]:
    """What keeps an op from its work: options, files and weights that are not there, packages that are missing."""
    if fault := lacking_packages(op):
        return [fault]
    spec = _asked(op)
    if isinstance(spec, str):
        return [spec]
    name = spec["op"]
    faults = []
    try:
        op.check()
    except CurateError as error:
        faults.append(str(error))
    except Exception as error:  # noqa: BLE001 - an op may be a user's, and weights come over a network
        faults.append(f"{name}: {explained(error) or one_line(error)}")
    return faults


def check_ops(ops: Iterable[Op]) -> None:
    """
    Raises:
        CurateError: for all that keeps ops from their work.
    """
    if faults := [fault for op in ops for fault in op_faults(op)]:
        raise Findings(faults)


def _asked(op: Op) -> dict[str, object] | str:
    """An op's spec, which names its weights and files; or what is wrong with them."""
    try:
        return op.spec()
    except CurateError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - as above
        return f"op '{op.table()}': {explained(error) or one_line(error)}"


def folder_fault(url: str, what: str) -> str:
    """Why a folder cannot be written, found by trying; empty when it can. Leaves nothing behind.

    what: how the fault names it: `root`, `write: to`.
    """
    try:
        folder = Folder(url)
        if folder.local:
            return _local_fault(Path(folder.path("")), what)
        name = f".curate-check-{uuid.uuid4().hex}"
        folder.write_bytes(name, b"")
        folder.remove(name)
    except Exception as error:  # noqa: BLE001 - every object store has error classes of its own
        return f"{what} '{url}' cannot be written: {_cause(error)}"
    return ""


def _local_fault(path: Path, what: str) -> str:
    above = path
    while not above.exists() and above != above.parent:
        above = above.parent
    if not above.is_dir():
        return f"{what} '{path}' cannot be written: '{above}' is a file, not a folder"
    try:
        with tempfile.TemporaryFile(dir=above) as file:
            # A full disk takes an empty file.
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
        free = os.statvfs(above)
        if free.f_bavail * free.f_frsize < LEAST_FREE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(above))
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)).parent == above:
            error.filename = str(above)
        return f"{what} '{path}' cannot be written: {_cause(error)}"
    return ""


def cluster_fault(cluster: Cluster) -> str:
    """Why there can be no workers: no Ray here, or none that answers at `--address`; empty when there can."""
    if not cluster.address or cluster.workers == 0 or cluster.fault():
        return cluster.fault()
    try:
        cluster.start()
    except CurateError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - Ray has many
        return f"no Ray cluster answers at '{cluster.address}': {_cause(error)}"
    finally:
        with contextlib.suppress(Exception):
            cluster.stop()
    return ""


def seen_by_all_nodes(pipeline: Pipeline, cluster: Cluster) -> Pipeline:
    """A pipeline whose root all nodes of the cluster, which is joined here, see.

    Raises:
        CurateError: when a node does not see the root, or no cluster answers.
    """
    pipeline = on_all_nodes(pipeline)
    cluster.start()
    if fault := unseen_fault(pipeline.root):
        raise CurateError(fault)
    return pipeline


def unseen_fault(root: str) -> str:
    """Which nodes of the running cluster do not see a local root, found by trying; empty when all do.

    Each would write to a disk of its own, and the next step would miss what the others wrote.
    """
    folder = Folder(root)
    if not folder.local:
        return ""
    nodes = alive_nodes()
    if len(nodes) < 2:
        return ""
    name = f".curate-check-{uuid.uuid4().hex}"
    folder.write_bytes(name, b"")
    try:
        blind = [address for node, address in nodes.items() if not sees(node, folder.path(name))]
    finally:
        folder.remove(name)
    if not blind:
        return ""
    return (
        f"root '{root}' is not seen by {len(blind)} of {len(nodes)} nodes ({', '.join(sorted(set(blind))[:5])}): name "
        "storage that every node sees, --set root=s3://BUCKET/..., or mount this folder on all of them"
    )


def _cause(error: Exception) -> str:
    return str(error) if isinstance(error, CurateError) else explained(error) or one_line(error)
