"""Who may read and write what a running node makes: a table, checked with a umask that forbids nothing."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from hacluster.v1 import crm_pb2
from tests.live.local_cluster import LocalCluster, LocalNode, until

pytestmark = [pytest.mark.slow, pytest.mark.alone]

CIB = """<cib><configuration><crm_config><cluster_property_set id="o">
<nvpair id="o1" name="stonith-enabled" value="false"/></cluster_property_set></crm_config><nodes/>
<resources><primitive id="d" class="ocf" provider="hacluster" type="Dummy"/></resources>
<constraints/></configuration><status/></cib>"""

SECRET, OURS, PUBLIC = ("0600",), ("0640",), ("0644",)
TABLE: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    # path below the root, kind, modes
    (r"run|run/hacluster|var|var/lib|var/lib/hacluster|var/log|var/log/hacluster", "d", ("0755",)),
    (r"run/hacluster/(messaging|lrm|lrm-exec|agent)\.sock", "s", SECRET),
    (r"run/hacluster/crm\.sock", "s", ("0660",)),
    (r"run/hacluster/c", "d", ("0700",)),
    (r"run/hacluster/c/(s|uid\d+\.\d+)", "s", ("0600", "0755")),  # in a folder that nobody else may enter
    (r"run/hacluster/(messaging|lrm|lrm-exec|crm)\.lock", "f", SECRET),
    (r"run/hacluster/(all-voters-seen|nodes-met|boot-seed|agent-tmp-boot|solo-right)", "f", PUBLIC),
    (r"run/hacluster/(attributes\S*|transient\S*)", "f", PUBLIC + OURS),
    (r"run/hacluster/sentinel", "d", ("0755",)),
    (r"run/hacluster/sentinel/(activity|lease)", "f", PUBLIC),
    (r"run/resource-agents", "d", ("1755",)),
    (r"run/resource-agents/Dummy-d\.state", "f", PUBLIC),
    (r"var/lib/hacluster/messaging", "d", ("0750",)),
    (r"var/lib/hacluster/messaging/(incarnation|view)\.[01]", "f", SECRET),
    (r"var/lib/hacluster/messaging/nodes", "f", PUBLIC),  # in a folder that others may not enter
    (r"var/lib/hacluster/(cib|transitions|revisions|fencing)", "d", ("0750",)),
    (r"var/lib/hacluster/cib/(cib\.xml|cib\.xml\.sig|cib\.last|cib-\d+\.raw|log\.\d+|promise)", "f", OURS),
    (r"var/lib/hacluster/transitions/\d+-(graph\.xml\.gz|input\.xml\.gz|summary\.json)", "f", OURS),
    (r"var/lib/hacluster/revisions/[\d.]+\.gz", "f", OURS),
    (r"var/lib/hacluster/lrm", "d", ("0700",)),
    (r"var/lib/hacluster/lrm/(journal|max_term)", "f", SECRET),
    (r"var/log/hacluster/lrm-exec\.log", "f", OURS),
)
NEEDED = ("run/hacluster/crm.sock", "var/lib/hacluster/cib/promise", "var/lib/hacluster/lrm/journal")
GIVEN = re.compile(r"etc(/.*)?|(crm|lrm|messaging)\.log")  # made by who set the node up, not by the node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LocalNode]:
    cluster = LocalCluster(tmp_path, 1, cib=CIB)
    node = cluster.nodes[0]
    before = os.umask(0)
    try:
        node.start()
    finally:
        os.umask(before)
    try:
        until(lambda: (status := node.status()) and status.dc, 40, "a DC")
        until(lambda: (node.root / "run/resource-agents/Dummy-d.state").exists(), 20, "a running resource")
        yield node
    finally:
        cluster.stop()


def modes(root: Path) -> dict[str, tuple[str, str]]:
    """Kind and mode of everything below; what goes away meanwhile is left out."""
    found = {}
    for path in root.rglob("*"):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        kind = {stat.S_IFDIR: "d", stat.S_IFREG: "f", stat.S_IFSOCK: "s"}.get(stat.S_IFMT(mode), "?")
        found[path.relative_to(root).as_posix()] = kind, f"{stat.S_IMODE(mode):04o}"
    return found


def wrong(root: Path) -> list[str]:
    """What is not as the table says, or not in it."""
    found = []
    for name, (kind, mode) in sorted(modes(root).items()):
        if GIVEN.fullmatch(name) or name.endswith(".new"):
            continue
        rows = [(of, allowed) for pattern, of, allowed in TABLE if re.fullmatch(pattern, name)]
        if not any(of == kind and mode in allowed for of, allowed in rows):
            found.append(f"{name} {kind} {mode}: expected {rows or 'no such file'}")
    return found


def test_what_a_node_makes_has_the_modes_of_the_table(node: LocalNode) -> None:
    request = crm_pb2.WriteCibRequest(
        configuration_xml=CIB.replace('"false"', '"no"').encode(), request_id="r"
    )
    reply = node.call("WriteCib", request, crm_pb2.WriteReply)
    assert reply.outcome == crm_pb2.WriteReply.OUTCOME_OK
    revisions = node.paths.var / "revisions"
    until(lambda: len(list(revisions.glob("*.gz"))) > 1, 20, "another revision")
    assert all((node.root / name).exists() for name in NEEDED)
    assert wrong(node.root) == []


def test_what_others_could_write_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "var/lib/hacluster/cib"
    folder.mkdir(parents=True)
    for path in (folder, folder.parent, folder.parent.parent, folder.parent.parent.parent):
        path.chmod(0o755)
    folder.chmod(0o750)
    (folder / "promise").write_text("")
    (folder / "promise").chmod(0o640)
    assert wrong(tmp_path) == []
    (folder / "promise").chmod(0o642)
    (folder / "surprise").write_text("")
    assert [line.split(" ")[0].rpartition("/")[2] for line in wrong(tmp_path)] == ["promise", "surprise"]
