"""Parts of a cluster that are killed while a run uses them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
from collections.abc import Callable, Mapping

from tests.cluster.job import Job
from tests.servers.ray_cluster import RayCluster

__all__ = ["KILLS", "kill_node", "kill_till", "kill_worker", "tills", "workers"]


def workers(cluster: RayCluster) -> list[int]:
    """Processes that settle records."""
    return [
        pid
        for node in cluster.nodes
        if node.alive
        for pid in node.actors()
        if "Till" not in node.actors()[pid]
    ]


def tills(cluster: RayCluster) -> list[int]:
    """The process with the money and the answers of a run."""
    return [
        pid for node in cluster.nodes if node.alive for pid, name in node.actors().items() if "Till" in name
    ]


def kill_worker(cluster: RayCluster, draw: random.Random) -> None:
    _kill(draw.choice(sorted(workers(cluster))))


def kill_till(cluster: RayCluster, draw: random.Random) -> None:
    _kill(tills(cluster)[0])


def kill_node(cluster: RayCluster, draw: random.Random) -> None:
    """The raylet and everything below it, of a node that is not the driver's; another one comes instead."""
    draw.choice([node for node in cluster.nodes[1:] if node.alive]).kill()
    cluster.add()


KILLS: Mapping[str, Callable[[RayCluster, random.Random], None]] = {
    "worker": kill_worker,
    "node": kill_node,
    "till": kill_till,
}


def killed_at(job: Job, what: str, share: float, draw: random.Random) -> subprocess.Popen[str]:
    """A run of which ``what`` is killed once that share of its answers is sold; the driver's run is then begun again."""
    assert job.cluster is not None
    child = job.start()
    job.until_paid(share * len(job.texts), child)
    if what != "driver":
        job.until(lambda: bool(workers(job.cluster) and tills(job.cluster)), child)  # type: ignore[arg-type]
        KILLS[what](job.cluster, draw)
        return child
    child.kill()
    child.communicate()
    return job.start()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
