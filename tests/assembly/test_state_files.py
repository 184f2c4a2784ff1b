"""SQLite on a network file system is warned of, and what a machine spills nobody else sweeps away."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loom_dagster.assembly.scratch import left_behind, scratch_in
from loom_dagster.assembly.state_files import network_of

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:50 / /srv/shared\\040files rw,relatime shared:1 - nfs4 10.0.0.9:/export rw,vers=4.1
31 30 254:1 / /srv/shared\\040files/own rw,relatime - xfs /dev/vdb rw
32 22 0:51 / /mnt/bucket rw,nosuid - fuse.s3fs s3fs rw
33 22 0:52 / /mnt/layers rw,nosuid - fuse.fuse-overlayfs fuse-overlayfs rw
34 22 0:53 / /mnt/twice rw - ext4 /dev/vdc rw
35 22 0:54 / /mnt/twice rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/loom", None),
        ("/srv/shared files/project/.loom", "nfs4"),
        ("/srv/shared filesystem", None),
        ("/srv/shared files/own/.loom", None),
        ("/mnt/bucket", "fuse.s3fs"),
        ("/mnt/layers/x", None),
        ("/mnt/twice/x", "cifs"),
    ],
)
def test_the_file_system_of_a_path_is_that_of_its_innermost_mount(
    tmp_path: Path, path: str, kind: str | None
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert network_of(Path(path), mounts) == kind


def test_a_system_that_does_not_say_and_this_machines_disk_are_no_network(tmp_path: Path) -> None:
    assert network_of(tmp_path, tmp_path / "not-there") is None
    assert network_of(tmp_path) is None


def test_scratch_of_another_container_on_the_same_volume_is_left_alone_until_it_is_old(
    tmp_path: Path,
) -> None:
    scratch = tmp_path / "scratch"
    with scratch_in(tmp_path) as mine:
        _, here, _ = mine.name.split("-")
    theirs, dead = scratch / "999999999-0a1b2c3d-x", scratch / f"999999999-{here}-x"
    theirs.mkdir()
    dead.mkdir()
    with scratch_in(tmp_path) as mine:
        assert {path.name for path in scratch.iterdir()} == {mine.name, theirs.name}
    before = datetime(2026, 1, 1, tzinfo=UTC)
    assert left_behind(tmp_path, before, ()) == []
    os.utime(theirs, (0, 0))
    assert left_behind(tmp_path, before, ()) == [theirs]
