"""Objects of a configuration as JSON and back, lossless: for programs that write configurations. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from cli.grammar.definitions import Definition
from cli.grammar.load import xml_definitions
from crm.cib.model import COMMENT, Element
from hacluster.errors import HaError, InvalidDocument

FORMAT: Final = "hacluster.configuration/1"
DEPTH_MAX: Final = 200


def json_text(items: Iterable[Element]) -> str:
    """The objects as a document that `json_definitions` reads."""
    plain = [data_of(item) for item in items if item.tag != COMMENT]
    return json.dumps({"format": FORMAT, "configuration": plain}, indent=2, ensure_ascii=False)


def data_of(item: Element) -> dict[str, Any]:
    """One element as plain data."""
    data: dict[str, Any] = {"tag": item.tag, "attributes": dict(item.attributes)}
    inner = [data_of(child) for child in item.children if child.tag != COMMENT]
    return data | ({"children": inner} if inner else {}) | ({"text": item.text} if item.text else {})


def json_definitions(text: str, source: str) -> tuple[Definition, ...]:
    """The definitions of such a document. Raises InvalidDocument."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 0)
        raise InvalidDocument(source=source, line=line, what=f"not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InvalidDocument(
            source=source,
            line=1,
            what=f'"format" is not "{FORMAT}"',
            remedy="`hacli --output json configure show` writes such a document",
        )
    found: list[Definition] = []
    for index, data in enumerate(_list(document.get("configuration"), source, "configuration"), 1):
        try:
            found += xml_definitions(_element(data, source, f"configuration[{index}]", 0))
        except InvalidDocument:
            raise
        except HaError as error:
            raise InvalidDocument(source=source, line=0, what=f"configuration[{index}]: {error}") from None
    return tuple(found)


def _list(data: object, source: str, where: str) -> list[Any]:
    if not isinstance(data, list):
        raise InvalidDocument(source=source, line=0, what=f"{where} is no list")
    return data


def _element(data: object, source: str, where: str, depth: int) -> Element:
    if not isinstance(data, dict) or not isinstance(data.get("tag"), str) or depth > DEPTH_MAX:
        raise InvalidDocument(source=source, line=0, what=f'{where} is no object with a "tag"')
    attributes = data.get("attributes", {})
    good = isinstance(attributes, dict) and all(isinstance(value, str) for value in attributes.values())
    if not good or not isinstance(data.get("text", ""), str):
        raise InvalidDocument(source=source, line=0, what=f"{where}: attributes and text are strings")
    children = _list(data.get("children", []), source, f"{where}.children")
    inner = (_element(one, source, f"{where}.{data['tag']}", depth + 1) for one in children)
    return Element(data["tag"], attributes, tuple(inner), data.get("text", ""))
