"""Parts of a document by XPath, as cibadmin answers them."""

from __future__ import annotations

from lxml import etree

from crm.cib.codec import render
from crm.cib.model import Element
from hacluster.errors import InvalidRequest, NotFound


def select(cib: Element, xpath: str) -> bytes:
    """The document, or the parts an XPath names: one by itself, several in <xpath-query>. Raises NotFound."""
    if not xpath:
        return render(cib).encode()
    tree = etree.fromstring(render(cib).encode())
    try:
        found = tree.getroottree().xpath(xpath)
    except etree.XPathError as error:
        raise InvalidRequest(what=f"{xpath!r} is no XPath: {error}") from None
    elements = [item for item in found if etree.iselement(item)] if isinstance(found, list) else []
    if not elements:
        raise NotFound(kind="part of the CIB", name=xpath)
    if len(elements) == 1:
        return etree.tostring(elements[0], with_tail=False)
    holder = etree.Element("xpath-query")
    holder.extend(elements)
    for item in elements:
        item.tail = "\n"
    return etree.tostring(holder)
