"""Whether the files of a project lie where SQLite can keep them.

SQLite's log is shared memory, which machines do not share: on a network file system two of them would
overwrite each other's pages, unnoticed. (https://www.sqlite.org/wal.html)
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from loom_dagster.errors import Problem
from loom_dagster.settings import Settings

__all__ = ["check_state_files", "network_of"]

_OF_THIS_MACHINE = {"fuse.fuse-overlayfs", "fuse.lxcfs", "fuse.portal", "fuse.snapfuse"}
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|9p|afs|ceph|glusterfs|lustre|gpfs|beegfs|orangefs|ocfs2|gfs2|virtiofs|fuse\..+"
)
_MOUNTS = Path("/proc/self/mountinfo")


def check_state_files(settings: Settings) -> list[Problem]:
    """A warning where ledger or answers are files on a network file system."""
    files = [f"the {name}" for name in settings.in_files]
    kind = network_of(settings.state_dir) if files else None
    if kind is None:
        return []
    return [
        Problem(
            what=f"{' and '.join(files)} would be SQLite on a network file system ({kind}), which loses data as soon as a "
            "second machine writes to it",
            where=settings.state,
            fix="keep them on Postgres: see docs/deployment.md",
            level="warning",
        )
    ]


def network_of(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """The kind of network file system that ``path`` is on, or will be when it is made; None: a disk of this machine's, or
    nobody knows."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    best, kind = "", None
    where = os.path.realpath(path)
    for line in lines:  # 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
        before, _, after = line.partition(" - ")
        point = before.split()[4].replace("\\040", " ")
        inside = where == point or where.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # the last one of a place hides those before
            best, kind = point, after.split()[0]
    if kind is None or kind in _OF_THIS_MACHINE or not _NETWORK.fullmatch(kind):
        return None
    return kind
