"""A transition as a picture and as JSON, and crm_simulate by its own name."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lxml import etree

from cli.commands import simulate
from cli.formats import misfits
from cli.render.svg import svg_text
from crm.cib import codec
from crm.scheduler.pipeline import schedule
from crm.transition.graph import ActionKind, GraphAction, Synapse, TransitionGraph
from tests.unit.cli.runner import hacli

ROOT = Path(__file__).parents[4]
BASES = ROOT / "tests" / "fuzz" / "bases"
SVG = "{http://www.w3.org/2000/svg}"


Box = tuple[float, float, float, float]


def boxes_of(text: str) -> dict[int, Box]:
    """(left, top, right, bottom) by the id of each action that a card or dot stands for."""
    root = etree.fromstring(text.encode())
    assert root.tag == f"{SVG}svg"
    found: dict[int, Box] = {}
    for group in root.iter(f"{SVG}g"):
        ids = [int(one) for one in str(group.attrib["data-id"]).split()]
        rect, dot = group.find(f"{SVG}rect"), group.find(f"{SVG}circle")
        if rect is not None:
            x, y, width, height = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
            box = (x, y, x + width, y + height)
            for words in group.iter(f"{SVG}text"):
                widest = 7.0 if words.attrib["class"] == "n" else 6.0
                assert float(words.attrib["x"]) + widest * len(words.text or "") <= box[2], words.text
        else:
            assert dot is not None
            x, y, r = (float(dot.attrib[name]) for name in ("cx", "cy", "r"))
            box = (x - r, y - r, x + r, y + r)
        assert not found.keys() & set(ids)
        found.update((one, box) for one in ids)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert all(
        left >= 0 and top >= 0 and right <= width and bottom <= height
        for left, top, right, bottom in found.values()
    )
    return found


def tooltips_of(text: str) -> dict[int, str]:
    root = etree.fromstring(text.encode())
    return {
        int(one): str(group.findtext(f"{SVG}title"))
        for group in root.iter(f"{SVG}g")
        for one in str(group.attrib["data-id"]).split()
    }


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("name", ["groups", "clones", "bundles"])
def test_the_picture_shows_every_action_after_its_inputs(name: str) -> None:
    cib = codec.parse((BASES / f"{name}.xml").read_bytes(), source=name)
    transition = schedule(cib, 1_790_000_060)
    graph = transition.graph
    reasons = {action.id: action.reason for action in transition.work.actions}
    text = svg_text(graph, reasons)
    boxes, tooltips = boxes_of(text), tooltips_of(text)
    assert set(boxes) == {action.id for action in graph.actions()}
    for synapse in graph.synapses:
        for before, action in itertools.product(synapse.inputs, synapse.actions):
            assert boxes[before][2] < boxes[action.id][0]
    for one, other in itertools.combinations(set(boxes.values()), 2):
        assert not overlap(one, other)
    for action in graph.actions():
        assert action.key in tooltips[action.id]
        assert action.node in tooltips[action.id]
        if reasons[action.id]:
            assert f"because: {reasons[action.id]}" in tooltips[action.id]
    nodes = {
        action.node for action in graph.actions() if action.node and action.kind is not ActionKind.PSEUDO
    }
    legend = {str(one.text) for one in etree.fromstring(text.encode()).findall(f"{SVG}text")}
    assert nodes <= legend


def test_many_actions_do_not_overlap_and_take_no_time() -> None:
    """Two hundred and more, in chains and side by side, with arrows over many layers."""
    made: list[Synapse] = []
    for number in range(1, 301):
        befores = [number - 7] if number > 7 else []
        befores += [number - 50] if number > 50 and number % 9 == 0 else []
        key = f"resource-with-a-long-name-{number % 40}_{('start', 'stop', 'promote')[number % 3]}_0"
        action = GraphAction(
            id=number,
            kind=ActionKind.PSEUDO if number % 5 == 0 else ActionKind.RESOURCE,
            xml={"operation_key": key, "operation": key.split("_")[1], "on_node": f"node{number % 17}"},
        )
        made.append(Synapse(id=number, actions=(action,), inputs=tuple(befores)))
    began = os.times().user
    text = svg_text(TransitionGraph(synapses=tuple(made)))
    assert os.times().user - began < 3
    boxes = boxes_of(text)
    assert len(boxes) == 300
    for one, other in itertools.combinations(set(boxes.values()), 2):
        assert not overlap(one, other)
    assert "and 5 more nodes" in text


def test_circles_and_strange_names_are_drawn_all_the_same() -> None:
    def action(number: int, key: str) -> GraphAction:
        return GraphAction(id=number, kind=ActionKind.RESOURCE, xml={"operation_key": key})

    graph = TransitionGraph(
        synapses=(
            Synapse(id=0, actions=(action(1, 'a<"&>'),), inputs=(2,)),
            Synapse(id=1, actions=(action(2, "b\x01"),), inputs=(1, 3)),
        ),
        unwritten=(action(3, "c"),),
    )
    text = svg_text(graph)
    assert set(boxes_of(text)) == {1, 2, 3}
    assert tooltips_of(text)[1].startswith('a<"&>')
    assert boxes_of(svg_text(TransitionGraph())) == {}


def test_json_names_inputs_and_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "out.svg"
    words = ["-x", str(BASES / "groups.xml"), "-S", "-s", "--json", "--svg", str(picture)]
    assert simulate.main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == "hacluster.transition/1"
    assert misfits("transition", found) == []
    start = next(one for one in found["actions"] if one["key"] == "web_start_0")
    first = next(one for one in found["actions"] if one["key"] == "fs_start_0")
    assert first["id"] in start["inputs"]
    assert start["resource"] == "web"
    assert {one["id"]: one["next_node"] for one in found["resources"]}["db"] == "n2"
    assert "Start db ( n2 )" in found["summary"]
    assert any("allocation score" in line for line in found["scores"])
    assert boxes_of(picture.read_text())


def test_the_form_that_hacli_is_asked_for() -> None:
    file = ["--cib-file", str(BASES / "groups.xml")]
    status, text = hacli([*file, "--output", "json", "simulate", "-S"])
    assert status == 0
    assert misfits("transition", json.loads(text)) == []
    status, text = hacli([*file, "--output", "json", "simulate", "-S", "--output-as=text"])
    assert "Executing Cluster Transition:" in text


def test_crm_simulate_by_its_own_name() -> None:
    ended = subprocess.run(
        [ROOT / "cli" / "sbin" / "crm_simulate", "-x", str(BASES / "groups.xml"), "-S"],
        env={**os.environ, "HA_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Executing Cluster Transition:" in ended.stdout
    assert "Resource action: web             start on n1" in ended.stdout
