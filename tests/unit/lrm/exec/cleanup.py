"""Takes away what a node's agents left running, and its cgroups: for the end of tests."""

from __future__ import annotations

import time

from hacluster.paths import Paths
from lrm.exec.cgroups import Cgroups
from lrm.exec.launch import cgroup_name


def clear_cgroups(paths: Paths, node: str = "node1") -> None:
    """Kill everything below the node's cgroup and remove it; nothing is raised when that takes too long."""
    cgroups = Cgroups.find(cgroup_name(node, paths))
    if cgroups is None:
        return
    for _ in range(100):
        cgroups.kill(cgroups.base)
        cgroups.remove_empty()
        if not cgroups.base.exists():
            return
        time.sleep(0.01)
