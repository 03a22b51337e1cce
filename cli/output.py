"""Answers for programs: JSON of a named, versioned form (`cli.formats`), and the same as XML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from crm.cib.codec import render
from crm.cib.model import Element

VERSION: Final = 1


def document(name: str, data: Mapping[str, Any], form: str = "json") -> str:
    """The data with its format, `hacluster.NAME/1`, as JSON or XML; ends without a line end."""
    whole = {"format": f"hacluster.{name}/{VERSION}", **data}
    if form == "xml":
        return render(_element("hacluster", whole)).rstrip("\n")
    return json.dumps(whole, indent=2, ensure_ascii=False)


def _element(tag: str, data: Any) -> Element:
    """Plain values become attributes, objects elements of their key, lists elements with <item> in them."""
    if not isinstance(data, Mapping):
        return Element(tag, {"value": _text(data)} if data is not None else {}, ())
    plain = {key: _text(value) for key, value in data.items() if _is_plain(value) and value is not None}
    children: list[Element] = []
    for key, value in data.items():
        if isinstance(value, Mapping):
            children.append(_element(key, value))
        elif isinstance(value, (list, tuple)):
            children.append(Element(key, {}, tuple(_element("item", one) for one in value)))
    return Element(tag, plain, tuple(children))


def _is_plain(value: Any) -> bool:
    return not isinstance(value, (Mapping, list, tuple))


def _text(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return "".join(one if one.isprintable() or one in "\t\n" else "\ufffd" for one in text)
