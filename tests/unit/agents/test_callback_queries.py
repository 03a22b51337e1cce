"""The read-only commands on a CIB in a file: what agents grep for is there, as Pacemaker's tools print it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from agents.catalog import our_sbin_dir

CIB = """<cib crm_feature_set="3.16.2" validate-with="pacemaker-3.9" epoch="1" num_updates="1" admin_epoch="0"
 have-quorum="1" dc-uuid="1"><configuration><crm_config><cluster_property_set id="o">
<nvpair id="o1" name="stonith-enabled" value="false"/></cluster_property_set></crm_config>
<nodes><node id="1" uname="node1"><instance_attributes id="n1"><nvpair id="n1a" name="standby" value="on"/>
</instance_attributes></node><node id="2" uname="node2"/><node id="3" uname="node3"/></nodes>
<resources><group id="g"><primitive id="a" class="ocf" provider="heartbeat" type="Dummy"/>
<primitive id="b" class="ocf" provider="heartbeat" type="Dummy"/></group>
<clone id="c"><meta_attributes id="cm"><nvpair id="cm1" name="promotable" value="true"/></meta_attributes>
<primitive id="s" class="ocf" provider="pacemaker" type="Stateful"/></clone>
<primitive id="x" class="ocf" provider="heartbeat" type="Dummy"/></resources><constraints/></configuration>
<status><node_state id="1" uname="node1" in_ccm="true" crmd="online" join="member" expected="member">
<transient_attributes id="1"><instance_attributes id="status-1">
<nvpair id="status-1-m" name="master-s" value="10"/><nvpair id="f1" name="fail-count-x#start_0" value="2"/>
<nvpair id="f2" name="fail-count-x#monitor_10000" value="3"/></instance_attributes></transient_attributes>
<lrm id="1"><lrm_resources><lrm_resource id="a" class="ocf" provider="heartbeat" type="Dummy">
<lrm_rsc_op id="a_last_0" operation_key="a_start_0" operation="start" call-id="3" rc-code="0" op-status="0"
 interval="0" transition-key="1:1:0:u" transition-magic="0:0;1:1:0:u"/></lrm_resource>
<lrm_resource id="s" class="ocf" provider="pacemaker" type="Stateful">
<lrm_rsc_op id="s_last_0" operation_key="s_promote_0" operation="promote" call-id="5" rc-code="0"
 op-status="0" interval="0" transition-key="1:1:0:u" transition-magic="0:0;1:1:0:u"/></lrm_resource>
<lrm_resource id="x" class="ocf" provider="heartbeat" type="Dummy">
<lrm_rsc_op id="x_last_failure_0" operation_key="x_start_0" operation="start" call-id="6" rc-code="1"
 op-status="0" interval="0" transition-key="1:1:0:u" transition-magic="0:1;1:1:0:u" exit-reason="bad"/>
</lrm_resource></lrm_resources></lrm></node_state>
<node_state id="2" uname="node2" in_ccm="true" crmd="online" join="member" expected="member">
<lrm id="2"><lrm_resources><lrm_resource id="s" class="ocf" provider="pacemaker" type="Stateful">
<lrm_rsc_op id="s_last_0" operation_key="s_start_0" operation="start" call-id="5" rc-code="0" op-status="0"
 interval="0" transition-key="1:1:0:u" transition-magic="0:0;1:1:0:u"/></lrm_resource>
<lrm_resource id="b" class="ocf" provider="heartbeat" type="Dummy">
<lrm_rsc_op id="b_last_0" operation_key="b_start_0" operation="start" call-id="7" rc-code="193" op-status="-1"
 interval="0" transition-key="1:1:0:u" transition-magic="-1:193;1:1:0:u"/></lrm_resource>
</lrm_resources></lrm></node_state></status></cib>
"""


@pytest.fixture
def cib(tmp_path: Path) -> Path:
    path = tmp_path / "cib.xml"
    path.write_text(CIB)
    return path


def run(cib: Path, command: str, folder: Path | None = None) -> tuple[int, str, str]:
    name, *argv = command.split()
    done = subprocess.run(
        [str((folder or our_sbin_dir()) / name), *argv],
        env={"CIB_file": str(cib), "HACLUSTER_NODE": "node1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("options", ["-1 --output-as=xml", "-1X", "-r --as-xml"])
def test_crm_mon_answers_what_agents_grep_for(cib: Path, options: str) -> None:
    code, out, _ = run(cib, f"crm_mon {options}")
    assert code == 0
    for pattern in (
        r'<node name="node2" .* online="true"',  # pgsql
        r'<node name="node3" .* online="false"',
        r'<resource id="s" .* role="(Promoted|Master)"',  # pgsql
        r'resource.*id="s".* role="(Promoted|Master)".* active="true".* orphaned="false".* failed="false"',
        r'<node name="node1" .*standby="true"',  # rabbitmq-cluster
        r'<node .*unclean="false".*type="member"',  # galera
        r'<resource id="x" .*role="Started" active="true".*failed="true"',
        r'<resource id="b" .*role="Starting" active="true"',
        r'<group id="g" number_resources="2" managed="true"',
        r'<clone id="c" multi_state="true"',
    ):
        assert re.search(pattern, out), pattern


NODE = re.compile(r'<node name="(\S+)" id="\d+" online="(\w+)" standby="(\w+)".*unclean="(\w+)"')
RESOURCE = re.compile(
    r'<resource id="(\S+)" resource_agent="(\S+)" role="(\w+)".*active="(\w+)"'
    r'.*managed="(\w+)".*failed="(\w+)"'
)


@pytest.mark.skipif(
    not Path("/usr/sbin/crm_mon").exists(), reason="the package pacemaker-cli-utils is not installed"
)
def test_pacemakers_own_crm_mon_says_the_same(cib: Path) -> None:
    _, ours, _ = run(cib, "crm_mon -1 --output-as=xml")
    code, theirs, err = run(cib, "crm_mon -1 --output-as=xml", Path("/usr/sbin"))
    assert code == 0, err
    assert NODE.findall(ours) == NODE.findall(theirs)

    def active(text: str) -> list[tuple[str, ...]]:
        return [one for one in RESOURCE.findall(text) if one[3] == "true"]

    assert active(ours) == active(theirs)
    assert len(active(ours)) == 5
    for number in ("0", "64", "102", "105", "124"):
        assert run(cib, f"crm_error -X {number}") == run(cib, f"crm_error -X {number}", Path("/usr/sbin"))


def test_crm_mon_for_people(cib: Path) -> None:
    code, out, _ = run(cib, "crm_mon -1")
    assert code == 0
    assert "Online: [ node2 ]" in out
    assert "OFFLINE: [ node3 ]" in out
    assert "node1: standby" in out
    assert "s\t(ocf:pacemaker:Stateful):\t Promoted node1" in out


def test_crm_mon_in_the_background(cib: Path, tmp_path: Path) -> None:
    """As ClusterMon has it: a pid file, and a page that is written again and again."""
    page, pid = tmp_path / "page.html", tmp_path / "pid"
    assert run(cib, f"crm_mon -p {pid} -d -i 1 -h {page}")[0] == 0
    until = time.monotonic() + 20
    while not page.exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    try:
        assert "Online: [ node2 ]" in page.read_text()
    finally:
        os.kill(int(pid.read_text()), 9)


def test_operations_end_with_their_status(cib: Path) -> None:
    """azure-events looks at the last word of each line."""
    code, out, _ = run(cib, "crm_resource --list-operations -N node2")
    assert code == 0
    assert [(line.split()[0], line.split()[-1]) for line in out.splitlines()] == [
        ("s", "complete"),
        ("b", "pending"),
    ]
    assert len(run(cib, "crm_resource -O")[1].splitlines()) == 5


def test_fail_counts(cib: Path) -> None:
    assert run(cib, "crm_failcount -G -r x -N node1")[1] == "scope=status  name=fail-count-x value=5\n"
    assert run(cib, "crm_failcount -G -q -r x -n monitor -I 10s")[1] == "3\n"
    assert run(cib, "crm_failcount -G -q -r a -N node2")[1] == "0\n"
    assert run(cib, "crm_failcount -r x -v 7")[0] == 64


def test_what_cannot_be_answered_says_why(cib: Path, tmp_path: Path) -> None:
    assert run(cib, "cibadmin -C -o resources")[0] in (3, 64)
    assert run(cib, "crm_simulate -S")[0] == 64
    assert run(tmp_path / "none", "crm_mon -1")[0] == 66
    (tmp_path / "bad.xml").write_text("<cib>")
    assert run(tmp_path / "bad.xml", "crm_mon -1")[0] == 66
    (tmp_path / "doctype.xml").write_text('<!DOCTYPE cib [<!ENTITY a "b">]><cib/>')
    assert "document type" in run(tmp_path / "doctype.xml", "crm_mon -1")[2]
    assert run(cib, "crm_ticket -G granted -t t")[0] == 105
    assert run(cib, "crm_ticket -L") == (0, "", "")


def test_the_shell_librarys_detour_by_CIB_file(cib: Path, tmp_path: Path) -> None:
    """crm_mon_no_validation feeds crm_mon from cibadmin by a bash substitution (galera, redis)."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    folder = our_sbin_dir()
    script = (
        f"CIB_file=<(CIB_file={cib} {folder}/cibadmin -Q | "
        'sed \'s/validate-with="[^"]*"/validate-with="none"/\') '
        f"{folder}/crm_mon -1X"
    )
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert 'role="Promoted"' in done.stdout, done.stderr
