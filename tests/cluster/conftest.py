from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.ray_cluster import RayCluster


@pytest.fixture(scope="session")
def _cluster() -> Iterator[RayCluster]:
    cluster = RayCluster()
    try:
        yield cluster.start()
    finally:
        cluster.close()


@pytest.fixture
def cluster(_cluster: RayCluster) -> RayCluster:
    """Two nodes of two CPUs; what a test before killed of it is there again."""
    _cluster.mend()
    return _cluster
