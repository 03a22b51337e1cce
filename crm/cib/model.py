"""The CIB as an immutable tree of elements: cheap to share, to compare and to change by copy.

Everything that was in a document is kept: unknown elements, unknown attributes, comments (as elements with
tag "#comment" and the words in `text`). Meaning is read from the tree by the scheduler and others; this
module only knows trees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from hacluster.records import record

COMMENT = "#comment"

_NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})


@record(frozen=True)
class Element:
    """One XML element: tag, attributes in document order, children in document order, own text.

    Never change `attributes` in place; `with_attributes` and the other `with_*` methods make changed copies.
    """

    tag: str
    attributes: Mapping[str, str] = _NO_ATTRIBUTES
    children: tuple[Element, ...] = ()
    text: str = ""

    @property
    def id(self) -> str:
        """The attribute `id`, or the empty string."""
        return self.attributes.get("id", "")

    def get(self, name: str, default: str = "") -> str:
        """The attribute `name`, or `default`."""
        return self.attributes.get(name, default)

    def child(self, tag: str) -> Element | None:
        """The first child with this tag, or None."""
        for element in self.children:
            if element.tag == tag:
                return element
        return None

    def all(self, *tags: str) -> tuple[Element, ...]:
        """The children with one of these tags, in document order."""
        return tuple(element for element in self.children if element.tag in tags)

    def path(self, *tags: str) -> Element | None:
        """Follow first children down: `cib.path("configuration", "resources")`, or None."""
        here: Element | None = self
        for tag in tags:
            if here is None:
                return None
            here = here.child(tag)
        return here

    def walk(self) -> Iterator[Element]:
        """This element and all below it, in document order."""
        yield self
        for element in self.children:
            yield from element.walk()

    def by_id(self, wanted: str, *tags: str) -> Element | None:
        """The first element at or below this one with that id (and one of the tags, when given)."""
        for element in self.walk():
            if element.attributes.get("id") == wanted and (not tags or element.tag in tags):
                return element
        return None

    def with_attributes(self, **changes: str | None) -> Element:
        """A copy with attributes set, or removed where the value is None ("_" in a name stays "_")."""
        return self.with_attribute_map(changes)

    def with_attribute_map(self, changes: Mapping[str, str | None]) -> Element:
        """As `with_attributes`, for names that are no Python identifiers."""
        merged = dict(self.attributes)
        for name, value in changes.items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = value
        return Element(self.tag, merged, self.children, self.text)

    def with_children(self, children: tuple[Element, ...]) -> Element:
        """A copy with exactly these children."""
        return Element(self.tag, self.attributes, children, self.text)

    def with_child(self, child: Element) -> Element:
        """A copy in which `child` replaces the first child of the same tag and id, or is added last."""
        for index, old in enumerate(self.children):
            if old.tag == child.tag and old.attributes.get("id") == child.attributes.get("id"):
                return self.with_children((*self.children[:index], child, *self.children[index + 1 :]))
        return self.with_children((*self.children, child))

    def mapped(self, change: Callable[[Element], Element | None]) -> Element:
        """A copy in which each child is replaced by `change(child)`; None removes it. Not recursive."""
        kept = tuple(new for old in self.children if (new := change(old)) is not None)
        return self if kept == self.children else self.with_children(kept)

    def __hash__(self) -> int:
        return hash((self.tag, tuple(sorted(self.attributes.items())), self.children, self.text))


def element(tag: str, attributes: Mapping[str, str] | None = None, *children: Element) -> Element:
    """Build an element: `element("nvpair", {"id": "x"})`."""
    return Element(tag, dict(attributes or {}), tuple(children))
