"""The first configuration of a new cluster: empty, or what an import left in initial-cib.xml.

The file lies at etc/hacluster/initial-cib.xml and is the same on all nodes; the first DC's own counts, and
only while no node of its view has ever had a log. It may hold a <cib> or a <configuration>.
"""

from __future__ import annotations

from crm.cib import codec
from crm.cib.model import Element, element
from hacluster.errors import InvalidDocument
from hacluster.settings import Settings

SECTIONS = ("crm_config", "nodes", "resources", "constraints")


def initial_configuration(settings: Settings, document: bytes | None, *, source: str = "") -> Element:
    """The <configuration>. The nodes are cluster.toml's; attributes of a node in the file are kept.

    Raises InvalidDocument for a file that holds something else.
    """
    given = element("configuration")
    if document is not None:
        root = codec.parse(document, source=source)
        found = root.child("configuration") if root.tag == "cib" else root
        if found is None or found.tag != "configuration":
            raise InvalidDocument(
                source=source,
                line=1,
                what=f"<{root.tag}> is no configuration",
                remedy="it must hold a <cib> with a <configuration>, or a <configuration>",
            )
        given = found
    known = {node.get("uname"): node for node in (given.child("nodes") or element("nodes")).all("node")}
    nodes = element("nodes", {}, *(_node(node.id, node.name, known) for node in settings.nodes))
    sections = {child.tag: child for child in given.children}
    sections["nodes"] = nodes
    first = [sections.get(tag) or element(tag) for tag in SECTIONS]
    rest = [child for child in given.children if child.tag not in SECTIONS]
    return given.with_children((*first, *rest))


def _node(node_id: int, name: str, known: dict[str, Element]) -> Element:
    attributes = {"id": str(node_id), "uname": name}
    old = known.get(name)
    return element("node", attributes) if old is None else old.with_attribute_map(attributes)
