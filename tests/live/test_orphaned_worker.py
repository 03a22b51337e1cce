"""A web server's main process is killed and its worker keeps the port: it starts again once that is ended."""

from __future__ import annotations

import os
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.local_cluster import LocalCluster, LocalNode, until
from tests.live.test_three_services import Ground, attribute, begun

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.timeout(180),
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
    pytest.mark.skipif(
        not Path("/usr/lib/ocf/resource.d/heartbeat/nginx").exists(),
        reason="resource-agents is not installed",
    ),
]

PORT = 8_089
CIB = """<cib><configuration><crm_config><cluster_property_set id="cib-bootstrap-options">
<nvpair id="o1" name="stonith-enabled" value="false"/></cluster_property_set></crm_config>
<resources><primitive id="web" class="ocf" provider="heartbeat" type="nginx"><instance_attributes id="web-p">
<nvpair id="web-c" name="configfile" value="{folder}/nginx.conf"/>
<nvpair id="web-u" name="status10url" value="http://{address}:{port}/"/></instance_attributes><operations>
<op id="web-m" name="monitor" interval="1s" timeout="20s"/>
<op id="web-s" name="start" interval="0s" timeout="40s"/>
<op id="web-x" name="stop" interval="0s" timeout="40s"/></operations></primitive></resources>
</configuration></cib>"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[LocalNode, Path, str]]:
    """A node that serves, nginx's folder and the page's address."""
    folder = tmp_path / "nginx"
    (folder / "html").mkdir(parents=True)
    (folder / "html/index.html").write_text("hello")
    cluster = LocalCluster(tmp_path, 1, cib="-")
    (node,) = cluster.nodes
    # One directive a line: the agent reads the pid file's name with sed.
    (folder / "nginx.conf").write_text(
        f"user root;\nerror_log {folder}/error.log;\npid {folder}/nginx.pid;\nworker_processes 1;\n"
        "events {\n}\nhttp {\naccess_log off;\n"
        f"server {{\nlisten {node.address}:{PORT};\nroot {folder}/html;\n}}\n}}\n"
    )
    text = CIB.format(folder=folder, address=node.address, port=PORT)
    (node.paths.etc / "initial-cib.xml").write_text(text)
    page = f"http://{node.address}:{PORT}/"
    try:
        cluster.start()
        until(lambda: fetched(page), 60, "the page is served")
        Ground(cluster).wait_whole(60)
        yield node, folder, page
    finally:
        cluster.stop()
        if (pid := folder / "nginx.pid").exists():  # the node's end stops no resources
            os.kill(int(pid.read_text()), signal.SIGTERM)


def test_it_recovers_where_it_is(served: tuple[LocalNode, Path, str]) -> None:
    node, folder, page = served
    if "cgroups=true" not in node.log("lrm").lower():
        pytest.skip("without cgroups it is not known whose the worker is")
    main = int((folder / "nginx.pid").read_text())
    (worker,) = children(main)
    os.kill(main, signal.SIGKILL)
    until(lambda: begun(node, "start", "web") == 2, 30, "it is started again")
    until(lambda: fetched(page) and int((folder / "nginx.pid").read_text()) != main, 60, "it serves again")
    assert not Path(f"/proc/{worker}").exists(), "by itself: the old worker has gone with the stop"
    until(lambda: attribute(node, "fail-count-web#monitor_1000") == "1", 20, "one failure")
    assert begun(node, "start", "web") == 2, "the first start after it was the last"
    assert begun(node, "stop", "web") == 1


def fetched(page: str) -> bool:
    try:
        with urllib.request.urlopen(page, timeout=2) as reply:
            return bool(reply.read() == b"hello")
    except OSError:
        return False


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
