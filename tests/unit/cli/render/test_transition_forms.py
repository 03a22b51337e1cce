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
from cli.render.svg import svg_text
from crm.cib import codec
from crm.scheduler.pipeline import schedule
from crm.transition.graph import ActionKind, GraphAction, Synapse, TransitionGraph

ROOT = Path(__file__).parents[4]
BASES = ROOT / "tests" / "fuzz" / "bases"
SVG = "{http://www.w3.org/2000/svg}"


def boxes_of(text: str) -> dict[str, tuple[float, float, float, float]]:
    """(left, top, right, bottom) by the text in the box."""
    root = etree.fromstring(text.encode())
    assert root.tag == f"{SVG}svg"
    found: dict[str, tuple[float, float, float, float]] = {}
    for group in root.iter(f"{SVG}g"):
        rect, words = group.find(f"{SVG}rect"), group.find(f"{SVG}text")
        assert rect is not None
        assert words is not None
        x, y, width, height = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        found[str(words.text)] = (x, y, x + width, y + height)
    return found


@pytest.mark.parametrize("name", ["groups", "clones", "bundles"])
def test_the_picture_shows_every_action_after_its_inputs(name: str) -> None:
    cib = codec.parse((BASES / f"{name}.xml").read_bytes(), source=name)
    graph = schedule(cib, 1_790_000_060).graph
    boxes = boxes_of(svg_text(graph))
    names = {action.id: f"{action.key} {action.node}".strip() for action in graph.actions()}
    assert set(boxes) == set(names.values())
    for synapse in graph.synapses:
        for before, action in itertools.product(synapse.inputs, synapse.actions):
            assert boxes[names[before]][2] < boxes[names[action.id]][0]
    for one, other in itertools.combinations(boxes.values(), 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_circles_and_strange_names_are_drawn_all_the_same() -> None:
    def action(number: int, key: str) -> GraphAction:
        return GraphAction(id=number, kind=ActionKind.PSEUDO, xml={"operation_key": key})

    graph = TransitionGraph(
        synapses=(
            Synapse(id=0, actions=(action(1, 'a<"&>'),), inputs=(2,)),
            Synapse(id=1, actions=(action(2, "b\x01"),), inputs=(1, 3)),
        ),
        unwritten=(action(3, "c"),),
    )
    assert set(boxes_of(svg_text(graph))) == {'a<"&>', "b", "c"}
    assert boxes_of(svg_text(TransitionGraph())) == {}


def test_json_names_inputs_and_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "out.svg"
    words = ["-x", str(BASES / "groups.xml"), "-S", "-s", "--json", "--svg", str(picture)]
    assert simulate.main(words) == 0
    found = json.loads(capsys.readouterr().out)
    start = next(one for one in found["actions"] if one["key"] == "web_start_0")
    first = next(one for one in found["actions"] if one["key"] == "fs_start_0")
    assert first["id"] in start["inputs"]
    assert start["resource"] == "web"
    assert {one["id"]: one["next_node"] for one in found["resources"]}["db"] == "n2"
    assert "Start db ( n2 )" in found["summary"]
    assert any("allocation score" in line for line in found["scores"])
    assert boxes_of(picture.read_text())


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
