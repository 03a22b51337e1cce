"""Reports of orphans on disk (cluster-protocol.md 9.7): written before entries are cut, and kept.

One XML file each, `orphans/<time>-<node>-<first index>.xml`, which people read as well (`hacli cib orphans`).
When it is decided what is merged, the file says why each change that is left was left. What is done with is
not deleted: it lies in `orphans/done/`, with all its entries.
"""

from __future__ import annotations

from typing import Final

from crm.cib import codec as xml
from crm.cib.model import Element, element
from crm.cib.replication.leading import BOOTSTRAP
from crm.cib.replication.model import Kind, Orphan, Report
from crm.cib.storage import Storage
from crm.replica.effects import DecideOrphans, SaveOrphans
from crm.replica.events import Orphans
from hacluster.digits import is_count
from hacluster.errors import InvalidDocument

FOLDER: Final = "orphans"
DONE: Final = "orphans/done"
DECIDED, LEFT, MERGED = "decided", "left", "merged"
"""Attributes: of a report, of an entry that stays in it (why), and of one that is merged."""


class OrphanFiles:
    """The reports of one node. Writing may raise OSError."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def save(self, orphans: SaveOrphans, *, node: str, wall_s: int) -> str:
        """Write down what is about to be cut; returns the file's name, unique per second and first entry."""
        first = orphans.entries[0].index
        name = f"{FOLDER}/{wall_s}-{node}-{first}.xml"
        children = []
        for entry in orphans.entries:
            attributes = {
                "index": str(entry.index),
                "term": str(entry.term),
                "basis": entry.basis.value,
                "kind": entry.kind.value,
                "author": entry.author,
                "request-id": entry.request_id,
                "version": str(entry.version),
                "digest-before": entry.digest_before,
                "digest-after": entry.digest_after,
            }
            children.append(Element("entry", attributes, (), entry.payload.decode()))
        root = element(
            "orphans",
            {
                "node": node,
                "saved": str(wall_s),
                "after-index": str(orphans.after),
                "after-chain": orphans.after_chain.hex(),
                "committed": str(orphans.committed),
            },
            *children,
            element("base", {}, orphans.base),
            orphans.content,
        )
        self._storage.replace(name, xml.render(root).encode())
        return name

    def found(self) -> list[Orphans]:
        """What nobody has dealt with yet."""
        return [_summary(name, root) for name, root in self._all()]

    def undecided(self) -> list[Report]:
        """Those that are not decided. Of what older versions wrote without its base nothing can be merged."""
        reports = []
        for name, root in self._all():
            part = root.child("base")
            base = part.child("configuration") if part is not None else None
            if base is not None and not root.get(DECIDED):
                reports.append(_report(name, root, base))
        return reports

    def kept(self, name: str) -> Report | None:
        """The report in this file, when it is there and not decided."""
        return next((report for report in self.undecided() if report.file == name), None)

    def decide(self, decision: DecideOrphans) -> Orphans | None:
        """What is merged goes from the report; returns what is left of it, if it is there and anything is.

        The whole is in `orphans/done/` before anything goes.
        """
        root = dict(self._all()).get(decision.file)
        if root is None:  # somebody has dealt with it meanwhile
            return None
        left = {str(index): why for index, why in decision.left}
        merged = {str(index) for index in decision.merged}
        first = _orphans(root)[: _number(root.get("committed"))]  # commits come in order
        committed = {str(one.index) for one in first}

        def marked(child: Element) -> Element:
            if child.tag != "entry":
                return child
            if child.get("index") in merged:
                return child.with_attribute_map({MERGED: "true"})
            return child.with_attribute_map({LEFT: left.get(child.get("index"))})

        whole = root.mapped(marked).with_attribute_map({DECIDED: "true"})
        if merged or not left:
            self._storage.replace(decision.file.replace(FOLDER, DONE, 1), xml.render(whole).encode())
        if not left:
            self._storage.remove(decision.file)
            return None
        rest = whole.mapped(lambda child: None if child.get(MERGED) else child)
        rest = rest.with_attribute_map({"committed": str(len(committed & left.keys()))})
        rest = rest.with_child(element("base", {}, decision.base))
        self._storage.replace(decision.file, xml.render(rest).encode())
        return _summary(decision.file, rest)

    def _all(self) -> list[tuple[str, Element]]:
        found = []
        for name in self._storage.names(FOLDER):
            try:
                root = xml.parse(self._storage.read(f"{FOLDER}/{name}") or b"", source=name)
            except InvalidDocument:
                continue  # for people: a damaged one is left where it is
            found.append((f"{FOLDER}/{name}", root))
        return found


def _summary(name: str, root: Element) -> Orphans:
    count = sum(1 for entry in root.all("entry") if entry.get("kind") == Kind.PATCH.value)
    return Orphans(count, _number(root.get("committed")), root.get("node"), name)


def _number(text: str) -> int:
    return int(text) if is_count(text) else 0


def _report(name: str, root: Element, base: Element) -> Report:
    return Report(file=name, base=base, orphans=_orphans(root))


def _orphans(root: Element) -> tuple[Orphan, ...]:
    patches = [entry for entry in root.all("entry") if entry.get("kind") == Kind.PATCH.value]
    patches = [entry for entry in patches if entry.get("author") != BOOTSTRAP]
    return tuple(
        Orphan(
            index=_number(entry.get("index")),
            request_id=entry.get("request-id"),
            author=entry.get("author"),
            payload=entry.text.encode(),
        )
        for entry in patches
    )
