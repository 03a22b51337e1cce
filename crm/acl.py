"""Who may read and change which parts of the CIB: Pacemaker's `<acls>` section (Pacemaker Explained, "ACLs").

With `enable-acl` nobody but root and hacluster may do what no role allows. A permission names elements by
XPath or id (`reference`) or tag (`object-type`), with an attribute or without. It holds for them and for
all below, until a nearer one says otherwise; at one element deny counts before write, and write before read.
Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias, TypeVar

from lxml import etree

from crm.cib import codec
from crm.cib.document import cluster_options, is_true
from crm.cib.model import COMMENT, Element
from hacluster.errors import PermissionDenied

_Key: TypeAlias = tuple[str, str, int]
_Child = TypeVar("_Child")

PRIVILEGED: Final = frozenset({"root", "hacluster"})


class Kind(StrEnum):
    """What a permission says."""

    READ = "read"
    WRITE = "write"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One `<acl_permission>`: the elements it names, all conditions together; an empty one is none."""

    kind: Kind
    xpath: str = ""
    reference: str = ""
    tag: str = ""
    attribute: str = ""

    def matches(self, tree: etree._Element) -> list[etree._Element]:
        """The elements it names. What cannot be read names everything for a deny, and nothing else."""
        try:
            if self.xpath:
                found = tree.getroottree().xpath(self.xpath)
            else:
                conditions = "@id = $reference" if self.reference else "true()"
                if self.attribute:
                    conditions += " and @*[name() = $attribute]"
                tag = "name() = $tag" if self.tag else "true()"
                found = tree.xpath(
                    f"//*[{tag}][{conditions}]",
                    tag=self.tag,
                    reference=self.reference,
                    attribute=self.attribute,
                )
        except etree.XPathError:
            return [tree] if self.kind is Kind.DENY else []
        return [item for item in found if etree.iselement(item)] if isinstance(found, list) else []


def permissions(
    configuration: Element, user: str, groups: Iterable[str] = ()
) -> tuple[Permission, ...] | None:
    """All that the roles of a user and of its groups allow and forbid; None: everything is allowed."""
    if user in PRIVILEGED or not is_true(cluster_options(configuration).get("enable-acl", "")):
        return None
    section = configuration.child("acls")
    if section is None:
        return ()
    of_group = frozenset(groups)
    roles = [
        role.id
        for entry in section.children
        if (entry.tag in ("acl_target", "acl_user") and (entry.get("name") or entry.id) == user)
        or (entry.tag == "acl_group" and (entry.get("name") or entry.id) in of_group)
        for role in entry.all("role", "role_ref")
    ]
    return tuple(
        permission
        for role in section.all("acl_role")
        if role.id in roles
        for item in role.all("acl_permission")
        if (permission := _permission(item)) is not None
    )


def _permission(item: Element) -> Permission | None:
    """None for one without a kind or a place: it allows nothing."""
    named = {
        "xpath": item.get("xpath"),
        "reference": item.get("reference") or item.get("ref"),
        "tag": item.get("object-type") or item.get("tag"),
        "attribute": item.get("attribute"),
    }
    try:
        kind = Kind(item.get("kind"))
    except ValueError:
        return None
    return Permission(kind=kind, **named) if any(named.values()) else None


@dataclass(slots=True)
class _Node:
    """An element of a document with what is allowed at it."""

    element: Element
    read: bool
    write: bool
    denied: bool
    children: list[_Node]

    def walk(self) -> Iterator[_Node]:
        yield self
        for child in self.children:
            yield from child.walk()


def _judged(cib: Element, rules: tuple[Permission, ...]) -> _Node:
    """The document with what the rules say at each element."""
    tree = etree.fromstring(codec.render(cib).encode(), etree.XMLParser(remove_blank_text=True))
    said: dict[etree._Element, set[Kind]] = {}
    for rule in rules:
        for item in rule.matches(tree):
            said.setdefault(item, set()).add(rule.kind)

    def judge(element: Element, node: etree._Element, above: _Node | None) -> _Node:
        kinds = said.get(node, set())
        denied = Kind.DENY in kinds
        write = not denied and (Kind.WRITE in kinds or (above is not None and above.write))
        read = not denied and (bool(kinds) or (above is not None and above.read))
        judged = _Node(element, read, write, denied, [])
        judged.children = [
            judge(child, below, judged) for child, below in zip(element.children, node, strict=True)
        ]
        return judged

    return judge(cib, tree, None)


def readable(cib: Element, rules: tuple[Permission, ...] | None) -> Element:
    """The document as far as it may be read. Raises PermissionDenied when that is nothing at all.

    An element that may not be read, and holds something that may, is shown with its id alone.
    """
    if rules is None:
        return cib
    found = _shown(_judged(cib, rules))
    if found is None:
        raise PermissionDenied(what="no role lets this user read any part of the CIB")
    return found


def _shown(node: _Node) -> Element | None:
    children = tuple(shown for child in node.children if (shown := _shown(child)) is not None)
    if node.read:
        return node.element.with_children(children)
    return _bare(node.element, children) if children else None


def _bare(element: Element, children: tuple[Element, ...]) -> Element:
    return Element(element.tag, {"id": element.id} if element.id else {}, children)


def may_everything(cib: Element, rules: tuple[Permission, ...] | None, kind: Kind) -> bool:
    """Whether every element may be read, or written: what acts on the cluster as a whole asks for."""
    if rules is None:
        return True
    nodes = _judged(cib, rules).walk()
    return all(node.write if kind is Kind.WRITE else node.read for node in nodes)


def restored(old: Element, new: Element, rules: tuple[Permission, ...] | None) -> Element:
    """What a user who was shown `readable(old)` means by `new`: what could not be seen is as it was."""
    return new if rules is None else _restored(_judged(old, rules), new)


def _restored(node: _Node, new: Element) -> Element:
    old = node.element
    attributes, text = new.attributes, new.text
    if not node.read and new == _bare(old, new.children):
        attributes, text = old.attributes, old.text
    known = _keyed(node.children, lambda child: child.element)
    given = _keyed(new.children, lambda child: child)
    children = [_restored(known[key], child) if key in known else child for key, child in given.items()]
    for at, (key, hidden) in enumerate(known.items()):
        if key not in given and _shown(hidden) is None:
            children.insert(min(at, len(children)), hidden.element)
    return Element(new.tag, attributes, tuple(children), text)


def refusal(old: Element, new: Element, rules: tuple[Permission, ...] | None) -> str:
    """Why this change is not allowed to whom these rules are about; empty when it is."""
    if rules is None or old == new:
        return ""
    return _change(_judged(old, rules), _judged(new, rules), "")


def _change(old: _Node, new: _Node, path: str) -> str:
    if old.element == new.element:
        return ""
    here = f"{path}/{_label(old.element)}"
    own = (old.element.attributes, old.element.text) != (new.element.attributes, new.element.text)
    if own and not (old.write and new.write):
        return f"{here} may not be changed"
    before = _keyed(old.children, lambda child: child.element)
    after = _keyed(new.children, lambda child: child.element)
    stay = [key for key in before if key in after]
    if stay != [key for key in after if key in before] and not (old.write and new.write):
        return f"the order in {here} may not be changed"
    for key, gone in before.items():
        if key not in after and not all(node.write for node in gone.walk()):
            return f"{here}/{_label(gone.element)} may not be removed"
    for key, come in after.items():
        why = _change(before[key], come, here) if key in before else _addition(come, here)
        if why:
            return why
    return ""


def _addition(node: _Node, path: str) -> str:
    """A new element: writable, or a mere holder with an id for what is (never among the ACLs)."""
    here = f"{path}/{_label(node.element)}"
    holder = not node.denied and set(node.element.attributes) <= {"id"} and not node.element.text
    holder = holder and bool(node.children) and "/acls" not in here
    if not (node.write or holder):
        return f"{here} may not be added"
    return next((why for child in node.children if (why := _addition(child, here))), "")


def _keyed(children: Iterable[_Child], element_of: Callable[[_Child], Element]) -> dict[_Key, _Child]:
    """Children by tag and id; those that have the same, or none, by their number, too."""
    found: dict[_Key, _Child] = {}
    seen: dict[tuple[str, str], int] = {}
    for child in children:
        element = element_of(child)
        number = seen[element.tag, element.id] = seen.get((element.tag, element.id), -1) + 1
        found[element.tag, element.id, number] = child
    return found


def _label(element: Element) -> str:
    if element.tag == COMMENT:
        return "a comment"
    return f"{element.tag}[@id='{element.id}']" if element.id else element.tag
