"""Devices that fail, hang or lie, with a second level behind them: nothing moves before one has worked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from crm.cib.model import Element
from hacluster.v1 import crm_pb2
from tests.live.local_cluster import LocalCluster, until
from tests.live.test_fencing import POWER_CUT, history
from tests.live.test_three_services import Ground, begun, change

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(240)]

AGENT = """#!/bin/sh
# Ends the lab's node that it is told to, unless a file says how the device misbehaves.
while IFS='=' read -r name value; do
    case "$name" in
        action) action="$value" ;;
        port) port="$value" ;;
        device) device="$value" ;;
    esac
done
base="{base}"
if [ "$action" = metadata ]; then
    cat <<'END'
<resource-agent name="fence_power"><parameters><parameter name="port"><content type="string"/></parameter>
<parameter name="device"><content type="string"/></parameter></parameters><actions>
<action name="on"/><action name="off"/><action name="reboot"/><action name="status"/><action name="monitor"/>
<action name="metadata"/></actions></resource-agent>
END
    exit 0
fi
[ "$action" = monitor ] && exit 0
root="$base/n${port#node}"
echo "$(date +%s%N) $action $device" >> "$base/fence.log"
case "$(cat "$base/$device" 2>/dev/null)" in
    once) rm "$base/$device"; exit 1 ;;
    fails) exit 1 ;;
    hangs) sleep 600 & wait ;;
    lies) exit 0 ;;
esac
case "$action" in
    status) test -e "$root/run" || exit 2; exit 0 ;;
    on) exit 0 ;;
esac
{power_cut}
rm -rf "$root/run"
echo "$(date +%s%N) $action-done $device" >> "$base/fence.log"
exit 0
"""


def device(name: str) -> str:
    return f"""<primitive id="{name}" class="stonith" type="fence_power"><instance_attributes id="{name}-p">
<nvpair id="{name}-n" name="device" value="{name}"/>
<nvpair id="{name}-h" name="pcmk_host_list" value="node1 node2 node3"/>
<nvpair id="{name}-t" name="pcmk_reboot_timeout" value="1500ms"/></instance_attributes></primitive>"""


CIB = f"""<cib><configuration><crm_config><cluster_property_set id="cib-bootstrap-options">
<nvpair id="o1" name="stonith-enabled" value="true"/><nvpair id="o2" name="fence-verify" value="false"/>
</cluster_property_set></crm_config><resources>{device("d1")}{device("d2")}
<group id="g"><primitive id="a" class="ocf" provider="hacluster" type="Dummy"/>
<primitive id="b" class="ocf" provider="hacluster" type="Dummy"/></group></resources>
<constraints><rsc_location id="l" rsc="g" node="node1" score="100"/>
<rsc_location id="l2" rsc="g" node="node2" score="50"/></constraints><fencing-topology>
<fencing-level id="t1" target-pattern="node." index="1" devices="d1"/>
<fencing-level id="t2" target-pattern="node." index="2" devices="d2"/></fencing-topology>
</configuration></cib>"""


@dataclass
class Site:
    """The cluster and its devices."""

    base: Path
    cluster: LocalCluster
    ground: Ground

    def uses(self) -> list[tuple[int, str]]:
        """When (ns) and for what devices were used, e.g. "reboot d1", or had done it: "reboot-done d1"."""
        lines = (self.base / "fence.log").read_text().splitlines()
        return [(int(at), words) for at, _, words in (line.partition(" ") for line in lines)]

    def lose_node1(self) -> list[str]:
        """Its daemons end; once the others have taken over, what devices were used for until then.

        What ran there began elsewhere when the last of them had done it, not before.
        """
        first, second = self.cluster.nodes[:2]
        before = begun(second, "start", "a")
        first.kill()
        self.ground.wait_on(second, 40)
        assert begun(second, "start", "a") == before + 1
        uses = self.uses()
        started_ns = self.ground.files("a")[second.name][1]
        done_ns, last = next((at, words) for at, words in reversed(uses) if "-done" in words)
        assert done_ns < started_ns
        record = max(history(second), key=lambda one: one.began_s)
        assert (record.state, record.device, record.target) == ("done", last.split()[1], "node1")
        return [words for _, words in uses]

    def bring_back(self) -> None:
        (self.base / "d1").unlink(missing_ok=True)
        (self.base / "fence.log").unlink()
        first = self.cluster.nodes[0]
        first.kill()
        first.start()
        self.ground.wait_on(first, 40)
        self.ground.wait_whole(40)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    base = tmp_path_factory.mktemp("devices")
    folder = base / "agents"
    folder.mkdir()
    (folder / "fence_power").write_text(AGENT.replace("{base}", str(base)).replace("{power_cut}", POWER_CUT))
    (folder / "fence_power").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HACLUSTER_FENCE_FOLDER", str(folder))
        cluster = LocalCluster(base, 3, cib=CIB)
        site = Site(base, cluster, Ground(cluster))
        try:
            cluster.start()
            site.ground.wait_on(cluster.nodes[0], 60)
            site.ground.wait_whole(60)
            yield site
        finally:
            cluster.stop()


@pytest.fixture
def site(whole: Site) -> Iterator[Site]:
    yield whole
    whole.bring_back()


def test_one_that_always_fails_is_tried_by_all_and_one_that_failed_once_again(site: Site) -> None:
    (site.base / "d1").write_text("fails")
    (site.base / "d2").write_text("once")
    assert site.lose_node1() == ["reboot d1"] * 4 + ["reboot d2"] * 2 + ["reboot-done d2"]


def test_one_that_hangs_is_ended_and_then_comes_the_next_level(site: Site) -> None:
    (site.base / "d1").write_text("hangs")
    assert site.lose_node1() == ["reboot d1"] * 2 + ["reboot d2", "reboot-done d2"]
    until(lambda: not agents_of(site), 10, "the agents that hung are gone")


def test_one_that_lies_is_found_out_by_its_own_status(site: Site) -> None:
    second = site.cluster.nodes[1]
    assert change(second, lambda item: verified(item, "true")).outcome == crm_pb2.WriteReply.OUTCOME_OK
    (site.base / "d1").write_text("lies")
    used = [words for words, _ in groupby(site.lose_node1())]
    assert used[:5] == ["off d1", "status d1", "off d2", "off-done d2", "status d2"]
    assert change(second, lambda item: verified(item, "false")).outcome == crm_pb2.WriteReply.OUTCOME_OK


def verified(item: Element, value: str) -> Element:
    if item.id == "o2":
        return Element("nvpair", {**item.attributes, "value": value})
    return item.mapped(lambda child: verified(child, value))


def agents_of(site: Site) -> list[str]:
    """Processes of our fence agents."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(site.base / "agents/fence_power").encode() in words:
                found.append(entry.name)
    return found
