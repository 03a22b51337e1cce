from __future__ import annotations

from crm.cib.model import Element, element

TREE = element(
    "cib",
    None,
    element("nodes", None, element("node", {"id": "1", "uname": "a"}), element("node", {"id": "2"})),
    element("status"),
)


def test_finding() -> None:
    found = TREE.by_id("2", "node")
    assert found is not None
    assert found.id == "2"
    assert TREE.by_id("2", "primitive") is None
    assert TREE.path("nodes", "node") == element("node", {"id": "1", "uname": "a"})
    assert TREE.path("nodes", "nothing", "node") is None
    assert [item.tag for item in TREE.walk()] == ["cib", "nodes", "node", "node", "status"]


def test_changes_are_copies() -> None:
    node = element("node", {"id": "1", "uname": "a"})
    assert node.with_attributes(uname="b", type="member").attributes == {
        "id": "1",
        "uname": "b",
        "type": "member",
    }
    assert node.with_attributes(uname=None).attributes == {"id": "1"}
    assert node.attributes == {"id": "1", "uname": "a"}


def test_with_child_replaces_the_one_of_the_same_id() -> None:
    nodes = TREE.child("nodes")
    assert nodes is not None
    changed = nodes.with_child(element("node", {"id": "2", "uname": "b"}))
    assert [child.get("uname") for child in changed.children] == ["a", "b"]
    assert len(nodes.with_child(element("node", {"id": "3"})).children) == 3


def test_mapped_keeps_the_object_when_nothing_changes() -> None:
    assert TREE.mapped(lambda child: child) is TREE
    assert TREE.mapped(lambda child: None if child.tag == "status" else child).children == TREE.children[:1]


def test_equal_trees_have_equal_hashes() -> None:
    assert hash(Element("a", {"x": "1", "y": "2"})) == hash(Element("a", {"y": "2", "x": "1"}))
