"""`hacli simulate --output-as=xml`, attributes and fail counts, the drawing for Graphviz."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from lxml import etree

from cli.commands import simulate
from cli.commands.simulate_options import build_parser

CIB = """<cib have-quorum="1" execution-date="1790000000"><configuration>
<crm_config><cluster_property_set id="o"><nvpair id="o1" name="stonith-enabled" value="false"/>
<nvpair id="o2" name="placement-strategy" value="utilization"/></cluster_property_set></crm_config>
<nodes><node id="1" uname="n1">
<utilization id="u"><nvpair id="u1" name="memory" value="64"/></utilization></node>
<node id="2" uname="n2"/></nodes>
<resources>
<primitive id="web" class="ocf" provider="pacemaker" type="Dummy"/>
<clone id="c"><meta_attributes id="m"><nvpair id="m1" name="promotable" value="true"/></meta_attributes>
<primitive id="db" class="ocf" provider="pacemaker" type="Stateful"/></clone>
<group id="g"><primitive id="ip" class="ocf" provider="pacemaker" type="Dummy"/></group>
<bundle id="b"><docker image="pcmk"/></bundle>
</resources><constraints/></configuration>
<status><node_state id="1" uname="n1" in_ccm="true" crmd="online" join="member" expected="member">
<transient_attributes id="1"><instance_attributes id="t"><nvpair id="t1" name="master-db" value="5"/>
</instance_attributes></transient_attributes></node_state>
<node_state id="2" uname="n2" in_ccm="true" crmd="online" join="member" expected="member"/></status></cib>"""


@pytest.fixture
def source(tmp_path: Path) -> str:
    (tmp_path / "cib.xml").write_text(CIB)
    return str(tmp_path / "cib.xml")


def printed(*words: str) -> str:
    out = io.StringIO()
    assert simulate.main(words, out) == 0
    return out.getvalue()


def test_all_parts_in_order(source: str) -> None:
    words = ("-i", "web_monitor_10000@n1=7", "-q", "true", "-S", "-s", "-U", "-A", "-c", "--output-as=xml")
    root = etree.fromstring(printed("-x", source, *words).encode())
    assert [part.tag for part in root] == [
        "cluster_status",
        "modifications",
        "allocations_utilizations",
        "actions",
        "transition",
        "revised_cluster_status",
        "status",
    ]
    assert str(root.attrib["request"]).startswith("crm_simulate -x ")
    modifications = root.find("modifications")
    assert modifications is not None
    assert modifications.attrib["quorum"] == "true"
    assert root.findall("modifications/inject_attr[@name='fail-count-web#monitor_10000']")
    assert root.findall("cluster_status/node_attributes/node/attribute[@name='master-db'][@value='5']")
    assert root.findall("cluster_status/resources/clone[@multi_state='true']/resource[@id='db']")
    assert root.findall("cluster_status/resources/bundle/replica/resource[@id='b-docker-0']")
    assert root.findall("allocations_utilizations/capacity[@node='n1'][@memory='64'][@comment='Original']")
    assert root.findall("allocations_utilizations/promotion_score[@id='db:0']")
    assert root.findall("actions/rsc_action[@action='promote'][@next-role='Promoted'][@resource='db:0']")
    assert root.findall("transition/rsc_action[@op='promote'][@node='n1']")
    after = root.findall("revised_cluster_status/resources/clone/resource[@role='Promoted']/node")
    assert [one.attrib["name"] for one in after] == ["n1"]


def test_failures_and_attributes_as_text(source: str, tmp_path: Path) -> None:
    failed = str(tmp_path / "failed.xml")
    printed("-x", source, "-i", "web_monitor_10000@n1=7", "-O", failed)
    text = printed("-x", failed, "-A", "-c")
    assert "  * Node Attributes:\n    * Node: n1:\n      * master-db" in text
    assert "      * web: migration-threshold=1000000 fail-count=1 last-failure='Mon Sep 21 " in text
    assert "    * web_monitor_10000 on n1 'not running' (7): call=1, status='Error'" in text


def test_output_to_a_file(source: str, tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    assert printed("-x", source, "-S", f"--output-to={target}") == ""
    assert target.read_text() == printed("-x", source, "-S")


def test_a_failure_that_is_part_of_nothing_is_said(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed("-x", source, "-F", "web_start_0@n1=1", "-F", "ip_stop_0@n2=1")
    assert "Pretending action" in text
    assert "ip_stop_0 on n2 is not part of the transition" in capsys.readouterr().err


def test_the_drawing_shows_what_cannot_run_and_with_all_actions_the_rest(source: str, tmp_path: Path) -> None:
    dot = tmp_path / "out.dot"
    waiting = CIB.replace(
        "<constraints/>", '<constraints><rsc_order id="w" first="ip" then="web"/></constraints>'
    ).replace(
        '<group id="g">',
        '<group id="g"><meta_attributes id="s">'
        '<nvpair id="s1" name="target-role" value="Stopped"/></meta_attributes>',
    )
    (tmp_path / "waiting.xml").write_text(waiting)
    printed("-x", str(tmp_path / "waiting.xml"), "-D", str(dot))
    text = dot.read_text()
    assert text.startswith(' digraph "g" {\n')
    assert '"web_start_0 n1" [ style=dashed color="red" fontcolor="black"]' in text
    printed("-x", source, "-D", str(dot))
    few = dot.read_text()
    assert '"web_start_0 n1" [ style=bold color="green" fontcolor="black"]' in few
    assert 'color="blue"' not in few
    printed("-x", source, "-D", str(dot), "-a")
    assert set(few.splitlines()) < set(dot.read_text().splitlines())
    assert 'color="blue"' in dot.read_text()


def test_every_option_of_crm_simulate_is_there() -> None:
    """The letters and names of crm_simulate 2.1.5."""
    wanted = {
        "-R": "--run", "-S": "--simulate", "-X": "--in-place", "-A": "--show-attrs",
        "-c": "--show-failcounts",
        "-s": "--show-scores", "-U": "--show-utilization", "-P": "--profile", "-N": "--repeat",
        "-u": "--node-up", "-d": "--node-down", "-f": "--node-fail", "-i": "--op-inject", "-F": "--op-fail",
        "-t": "--set-datetime", "-q": "--quorum", "-w": "--watchdog", "-g": "--ticket-grant",
        "-r": "--ticket-revoke", "-b": "--ticket-standby", "-e": "--ticket-activate", "-I": "--save-input",
        "-O": "--save-output", "-G": "--save-graph", "-D": "--save-dotfile", "-a": "--all-actions",
        "-L": "--live-check", "-x": "--xml-file", "-p": "--xml-pipe", "-$": "--version", "-V": "--verbose",
        "-Q": "--quiet", "-h": "--help",
    }  # fmt: skip
    ours = {letters: action for action in build_parser()._actions for letters in action.option_strings}
    for short, long in wanted.items():
        assert ours[short] is ours[long], short
    for name in (
        "--output-as", "--output-to", "--text-fancy", "--help-all", "--help-output", "--help-operations",
        "--help-synthetic", "--help-artifact", "--help-source",
    ):  # fmt: skip
        assert name in ours


def test_help_of_one_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.main(["--help-artifact"]) == 0
    text = capsys.readouterr().out
    assert "--save-graph" in text
    assert "--node-fail" not in text


def test_profile(source: str, tmp_path: Path) -> None:
    (tmp_path / "broken.xml").write_text("<cib")
    text = printed("--profile", str(tmp_path), "-N", "2")
    assert text.startswith("Timings:\n")
    assert "broken.xml ... not read" in text
    assert "cib.xml ... 0." in text
