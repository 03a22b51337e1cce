from __future__ import annotations

import xml.etree.ElementTree as ET

from cli.grammar.definitions import parse_text
from cli.grammar.document import empty_cib
from cli.grammar.load import load
from cli.render.configuration_graph import dot_text, svg_text
from crm.cib.model import Element

TEXT = """
primitive a ocf:hacluster:Dummy
primitive b ocf:hacluster:Dummy
primitive c ocf:hacluster:Dummy
primitive d ocf:hacluster:Dummy
primitive s ocf:hacluster:Stateful
group g a b
clone m s meta promotable=true
order o1 Mandatory: m:promote ( g c ) d
colocation k1 inf: a m:Promoted
order inside Optional: a b
location l1 g 100: n1
rsc_ticket t1 T: d
"""


def cib() -> Element:
    return load(empty_cib(), parse_text(TEXT, "text"), source="text").cib


def test_arrows_go_between_resources_at_the_top() -> None:
    arrows = [line.split(" [")[0].strip() for line in dot_text(cib()).splitlines() if "->" in line]
    assert sorted(arrows) == [
        '"c" -> "d"',
        '"g" -> "d"',
        '"g" -> "m"',  # the colocation
        '"m" -> "c"',
        '"m" -> "g"',
    ]


def test_cards_say_members_locations_and_tickets() -> None:
    text = dot_text(cib())
    assert '"g" [ label="g\\ngroup\\n· a\\n· b\\nl1: 100 n1" ]' in text
    assert "t1: ticket T" in text


def test_the_picture_is_xml_with_everything_inside_its_frame() -> None:
    root = ET.fromstring(svg_text(cib()))
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    cards = [one for one in root.iter("{http://www.w3.org/2000/svg}rect") if one.get("rx")]
    assert len(cards) == 4
    places = [tuple(float(one.get(name, "-1")) for name in ("x", "y", "width", "height")) for one in cards]
    for left, top, wide, high in places:
        assert 0 <= left < left + wide <= width
        assert 0 <= top < top + high <= height
    for index, (left, top, wide, high) in enumerate(places):
        for other in places[index + 1 :]:
            apart_x = left + wide <= other[0] or other[0] + other[2] <= left
            assert apart_x or top + high <= other[1] or other[1] + other[3] <= top


def test_nothing_is_a_picture_too() -> None:
    assert ET.fromstring(svg_text(empty_cib())).tag.endswith("svg")
