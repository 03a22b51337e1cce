"""Migration, notification, changed parameters on a whole cluster: what agents are called for, and when."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.catalog import OCF_ROOTS_VARIABLE
from crm.cib.model import Element
from hacluster.v1 import crm_pb2
from tests.live.local_cluster import ROOT, LocalCluster, until
from tests.live.test_three_services import Ground, change, with_standby

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(240)]

AGENT = """#!/bin/sh
# Active where its file is. A migration takes a while; a file "ACTION-RESOURCE" makes that action fail.
base="{base}" id="$OCF_RESOURCE_INSTANCE" node="$OCF_RESKEY_CRM_meta_on_node"
said() {{ echo "$(date +%s%N) $1 $action $id $node" >> "$base/said"; }}
action="$1" file="$base/active-$id-$node"
case "$action" in
    meta-data)
        cat <<'END'
<resource-agent name="{name}"><version>{version}</version><parameters>
<parameter name="level" unique="0" {reloadable}><content type="string"/></parameter>
<parameter name="path" unique="1"><content type="string"/></parameter></parameters>
<actions><action name="start" timeout="20s"/><action name="stop" timeout="20s"/>
<action name="monitor" timeout="20s"/><action name="notify" timeout="20s"/>
<action name="migrate_to" timeout="20s"/>
<action name="migrate_from" timeout="20s"/><action name="{reload}" timeout="20s"/></actions></resource-agent>
END
        exit 0 ;;
    monitor) test -e "$file"; exit $(($? * 7)) ;;
    notify)
        action="$OCF_RESKEY_CRM_meta_notify_type-$OCF_RESKEY_CRM_meta_notify_operation"
        lists="stops $OCF_RESKEY_CRM_meta_notify_stop_resource on $OCF_RESKEY_CRM_meta_notify_stop_uname"
        lists="$lists, active on $OCF_RESKEY_CRM_meta_notify_active_uname"
        echo "$action on $node: $lists" >>"$base/told" ;;
esac
said begin
rc=0
test -e "$base/$action-$id" && rc=1
case "$action" in
    start) test $rc = 0 && touch "$file" ;;
    stop) test $rc = 0 && rm -f "$file" ;;
    migrate_to) sleep 0.3; test $rc = 0 && rm "$file" ;;
    migrate_from) test "$OCF_RESKEY_CRM_meta_migrate_target" = "$node" || rc=2
        test $rc = 0 && touch "$file" ;;
    {reload}|pre-*|post-*) ;;
    *) rc=3 ;;
esac
said end
exit $rc
"""

MOVERS = ("m1", "m2", "m3", "m4")


def primitive(name: str, kind: str = "Mover") -> str:
    return f"""<primitive id="{name}" class="ocf" provider="test" type="{kind}">
<instance_attributes id="{name}-p"><nvpair id="{name}-level" name="level" value="1"/>
<nvpair id="{name}-path" name="path" value="/{name}"/></instance_attributes>
<meta_attributes id="{name}-a"><nvpair id="{name}-a-m" name="allow-migrate" value="true"/></meta_attributes>
<operations><op id="{name}-m" name="monitor" interval="10s"/></operations></primitive>"""


CIB = f"""<cib><configuration><crm_config><cluster_property_set id="cib-bootstrap-options">
<nvpair id="o1" name="stonith-enabled" value="false"/><nvpair id="o2" name="migration-limit" value="2"/>
</cluster_property_set></crm_config>
<resources>{"".join(map(primitive, MOVERS))}{primitive("old", "Old")}
<clone id="c"><meta_attributes id="c-a"><nvpair id="c-n" name="notify" value="true"/></meta_attributes>
<primitive id="t" class="ocf" provider="test" type="Mover"/></clone></resources>
<constraints>{
    "".join(
        f'<rsc_location id="l-{name}" rsc="{name}" node="node1" score="100"/>' for name in (*MOVERS, "old")
    )
}
<rsc_order id="o-4" first="m1" then="m4"/></constraints></configuration></cib>"""


@dataclass(frozen=True, slots=True)
class Call:
    """One action of an agent, from its beginning to its end; ns."""

    action: str
    resource: str
    node: str
    begin_ns: int
    end_ns: int

    @property
    def where(self) -> str:
        return f"{self.action} {self.node}"


@dataclass(slots=True)
class Site:
    """The cluster and what its agents said."""

    cluster: LocalCluster
    base: Path
    seen: int = 0

    def calls(self) -> list[Call]:
        """What has ended since the last `settled`."""
        path, found = self.base / "said", []
        began: dict[str, int] = {}
        for line in (path.read_text().splitlines() if path.exists() else [])[self.seen :]:
            at, edge, words = line.split(" ", 2)
            if edge == "begin":
                assert words not in began, f"{words} overlaps itself"
                began[words] = int(at)
            else:
                action, resource, node = words.split()
                found.append(Call(action, resource, node, began.pop(words), int(at)))
        return found

    def of(self, resource: str, calls: Sequence[Call]) -> list[str]:
        """What a resource's agent was called for, in order."""
        return [call.where for call in calls if call.resource == resource]

    def settled(self, what: Callable[[], object], why: str) -> list[Call]:
        """Wait for it and for the end of the transition; the calls that were made for it."""
        until(what, 30, why)
        Ground(self.cluster).wait_whole(30)
        calls = self.calls()
        self.seen += 2 * len(calls)
        assert self.seen == len((self.base / "said").read_text().splitlines()), "something still runs"
        return calls

    def active(self, resource: str) -> list[str]:
        """Where it is."""
        return sorted(path.name.split("-")[2] for path in self.base.glob(f"active-{resource}-*"))

    def all_on(self, node: str) -> bool:
        return all(self.active(name) == [node] for name in (*MOVERS, "old"))

    def standby(self, value: str) -> None:
        self.change(lambda configuration: with_standby(configuration, "node1", value))

    def change(self, edit: Callable[[Element], Element]) -> None:
        reply = change(self.cluster.nodes[1], edit)
        assert reply.outcome == crm_pb2.WriteReply.OUTCOME_OK, reply

    def set(self, **values: str) -> None:
        """Parameters by "RESOURCE_PARAMETER"."""

        def changed(item: Element) -> Element:
            value = values.get(item.id.replace("-", "_")) if item.tag == "nvpair" else None
            if value is not None:
                return Element("nvpair", {**item.attributes, "value": value})
            return item.mapped(changed)

        self.change(changed)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    base = tmp_path_factory.mktemp("migration")
    folder = base / "ocf/resource.d/test"
    folder.mkdir(parents=True)
    for name, version, reloadable, reload in (
        ("Mover", "1.1", 'reloadable="1"', "reload-agent"),
        ("Old", "1.0", "", "reload"),
    ):
        text = AGENT.format(base=base, name=name, version=version, reloadable=reloadable, reload=reload)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(OCF_ROOTS_VARIABLE, f"{base / 'ocf'}:{ROOT / 'agents/ocf'}")
        cluster = LocalCluster(base, 2, cib=CIB)
        site = Site(cluster, base)
        try:
            cluster.start()
            until(lambda: site.all_on("node1") and len(site.active("t")) == 2, 60, "all run")
            site.settled(lambda: True, "")
            yield site
        finally:
            cluster.stop()


MIGRATED = ["migrate_to node1", "migrate_from node2", "stop node1"]


def test_what_can_migrate_is_not_stopped_and_two_at_a_time(site: Site) -> None:
    site.standby("on")
    calls = site.settled(lambda: site.all_on("node2"), "all run on node2")
    for name in MOVERS:
        assert site.of(name, calls) == MIGRATED, name
    leaving = sorted((c for c in calls if c.action == "migrate_to"), key=lambda call: call.begin_ns)
    together = [sum(c.begin_ns <= call.begin_ns < c.end_ns for c in leaving) for call in leaving]
    assert max(together) == 2, "migration-limit"
    told(site, calls)
    arrived = {call.resource: call for call in calls if call.action == "migrate_from"}
    for call in leaving:
        assert call.end_ns < arrived[call.resource].begin_ns


def told(site: Site, calls: Sequence[Call]) -> None:
    """A clone's instances hear before and after that one of them is stopped, and of the state before it."""
    of = {call.where: call for call in calls if call.resource == "t"}
    assert set(of) == {"pre-stop node1", "pre-stop node2", "stop node1", "post-stop node2"}
    stop = of["stop node1"]
    for node in ("node1", "node2"):
        assert of[f"pre-stop {node}"].end_ns < stop.begin_ns
    assert stop.end_ns < of["post-stop node2"].begin_ns
    lines = [line for line in (site.base / "told").read_text().splitlines() if "-stop" in line]
    lines = [re.sub(r"\bt:\d\b", "t", line).replace("node2 node1", "node1 node2") for line in lines]
    assert sorted(lines) == [
        f"{when}: stops t on node1, active on node1 node2"
        for when in ("post-stop on node2", "pre-stop on node1", "pre-stop on node2")
    ]


def test_what_cannot_leave_or_arrive_is_stopped_and_started(site: Site) -> None:
    (site.base / "migrate_to-m1").touch()
    (site.base / "migrate_from-m2").touch()
    site.standby("off")
    calls = site.settled(lambda: site.all_on("node1"), "all run on node1 again")
    (site.base / "migrate_to-m1").unlink()
    (site.base / "migrate_from-m2").unlink()
    for name, failed in (("m1", "migrate_to node2"), ("m2", "migrate_from node1")):
        called = site.of(name, calls)
        assert called.count(failed) == 1, (name, called)
        assert called[-1] == "start node1", (name, called)
        assert called.index("stop node2") < called.index("start node1"), (name, called)
        if name == "m2":
            assert called.index("stop node1") < called.index("start node1"), "half of it may have arrived"
    assert site.of("m3", calls) == ["migrate_to node2", "migrate_from node1", "stop node2"]
    first, then = ([c for c in calls if c.resource == name] for name in ("m1", "m4"))
    assert then[-1].end_ns, "m4 is ordered after m1"
    assert max(c.end_ns for c in first if c.action == "start") < max(
        c.begin_ns for c in then if c.action in ("start", "migrate_from")
    )


def test_a_reloadable_parameter_reloads_and_another_restarts(site: Site) -> None:
    site.set(m3_level="2")
    calls = site.settled(lambda: site.calls(), "something is done")
    assert [(call.where, call.resource) for call in calls] == [("reload-agent node1", "m3")]

    site.set(m3_path="/elsewhere")
    calls = site.settled(lambda: "start node1" in site.of("m3", site.calls()), "it is restarted")
    assert [(call.where, call.resource) for call in calls] == [("stop node1", "m3"), ("start node1", "m3")]

    site.set(m3_level="3", m3_path="/again")
    calls = site.settled(lambda: "start node1" in site.of("m3", site.calls()), "it is restarted")
    assert [(call.where, call.resource) for call in calls] == [("stop node1", "m3"), ("start node1", "m3")]


def test_an_agent_of_ocf_1_0_is_told_by_reload(site: Site) -> None:
    """There what is not unique is reloadable."""
    site.set(old_level="2")
    calls = site.settled(lambda: site.calls(), "something is done")
    assert [(call.where, call.resource) for call in calls] == [("reload node1", "old")]
    site.set(old_path="/elsewhere")
    calls = site.settled(lambda: "start node1" in site.of("old", site.calls()), "it is restarted")
    assert site.of("old", calls) == ["stop node1", "start node1"]


def test_a_reload_that_fails_is_recovered_by_a_restart(site: Site) -> None:
    (site.base / "reload-agent-m3").touch()
    site.set(m3_level="4")
    calls = site.settled(lambda: "start node1" in site.of("m3", site.calls()), "it is restarted")
    (site.base / "reload-agent-m3").unlink()
    assert site.of("m3", calls) == ["reload-agent node1", "stop node1", "start node1"]
