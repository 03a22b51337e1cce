"""role, acl_target, acl_group and alert: words <-> elements without ids."""

from __future__ import annotations

import re
from typing import Final

from cli.grammar.attributes import SET_ELEMENTS, attribute_set, description
from cli.grammar.words import Words, checked_identifier
from crm.cib.model import Element, element
from hacluster.errors import InvalidRequest

RIGHTS: Final = ("read", "write", "deny")
_NAME: Final = r"[\w.@#-]+"

# shortcut -> (xpath without name, xpath with one name, xpath with two); None: that form does not exist
_SHORTCUTS: Final[dict[str, tuple[str | None, str | None, str | None]]] = {
    "meta": (
        None,
        "//primitive[@id='{0}']/meta_attributes",
        "//primitive[@id='{0}']/meta_attributes/nvpair[@name='{1}']",
    ),
    "params": (
        None,
        "//primitive[@id='{0}']/instance_attributes",
        "//primitive[@id='{0}']/instance_attributes/nvpair[@name='{1}']",
    ),
    "utilization": (None, "//primitive[@id='{0}']/utilization", None),
    "location": (None, "//rsc_location[@id='cli-prefer-{0}' and @rsc='{0}']", None),
    "property": (
        "//crm_config/cluster_property_set",
        "//crm_config/cluster_property_set/nvpair[@name='{0}']",
        None,
    ),
    "nodeattr": (
        "//nodes/node/instance_attributes",
        "//nodes/node/instance_attributes/nvpair[@name='{0}']",
        None,
    ),
    "node": ("//nodes/node", "//nodes/node[@uname='{0}']", None),
    "nodeutil": ("//nodes/node/utilization", "//nodes/node/utilization[@uname='{0}']", None),
    "status": ("/cib/status", None, None),
    "cib": ("/cib", None, None),
}


def role(words: Words) -> Element:
    """`role ID [description=] RIGHT [PERMID:] [description=] SPEC… …`."""
    attributes = {"id": words.take_identifier("role")}
    permissions: list[Element] = []
    description(words, attributes)
    while not words.at_end:
        right = words.take().lower()
        if right not in RIGHTS:
            raise InvalidRequest(what=f"{right!r} is not a right", remedy="read, write or deny")
        permissions += _permissions(words, right)
    if not permissions:
        raise InvalidRequest(what=f"role {attributes['id']} grants nothing", remedy="add read, write or deny")
    return element("acl_role", attributes, *permissions)


def _permissions(words: Words, right: str) -> list[Element]:
    base = {"kind": right}
    word = words.peek()
    if word is not None and word.endswith(":") and "=" not in word:
        base["id"] = checked_identifier(words.take()[:-1])
    description(words, base)
    found: list[dict[str, str]] = []
    while (word := words.peek()) is not None and word.lower() not in RIGHTS:
        words.take()
        spec = _specification(word)
        if "attribute" in spec or "object-type" in spec:
            last = found[-1] if found else {}
            if last.keys() <= {"attribute", "object-type"} and last and not (last.keys() & spec.keys()):
                last |= spec
                continue
        found.append(spec)
    if not found:
        raise InvalidRequest(what=f"{right} is not followed by what it is for")
    for spec in found:
        if "attribute" in spec and "object-type" not in spec:
            raise InvalidRequest(
                what=f"attr:{spec['attribute']} names no type",
                remedy="add type:ELEMENT, as in attr:name type:nvpair",
            )
    return [
        element("acl_permission", ({k: v for k, v in base.items() if k != "id"} if index else base) | spec)
        for index, spec in enumerate(found)
    ]


def _specification(word: str) -> dict[str, str]:
    keyword, _, rest = word.partition(":")
    match keyword.lower():
        case "xpath":
            return {"xpath": rest}
        case "ref":
            return {"reference": rest}
        case "type" | "tag":
            return {"object-type": rest}
        case "attr" | "attribute":
            return {"attribute": rest}
        case _:
            return _shortcut(word, keyword, rest)


def _shortcut(word: str, keyword: str, rest: str) -> dict[str, str]:
    names = rest.split(":") if rest else []
    patterns = _SHORTCUTS.get(keyword.lower())
    pattern = patterns[len(names)] if patterns is not None and len(names) < 3 else None
    if pattern is None:
        raise InvalidRequest(
            what=f"{word!r} is not known in a role",
            remedy="xpath:, ref:, type:, attr: or a shortcut: " + " ".join(_SHORTCUTS),
        )
    return {"xpath": pattern.format(*names)}


def xpath_text(xpath: str) -> str:
    """The shortcut that stands for an xpath, else `xpath:…` unquoted."""
    for keyword, patterns in _SHORTCUTS.items():
        for pattern in patterns:
            if pattern is None:
                continue
            expression = re.escape(pattern)
            for number in range(2):
                mark = re.escape("{%d}" % number)  # noqa: UP031 (braces would need doubling twice)
                expression = expression.replace(mark, f"(?P<n{number}>{_NAME})", 1)
                expression = expression.replace(mark, f"(?P=n{number})")
            match = re.fullmatch(expression, xpath)
            if match is not None:
                return ":".join([keyword, *(value for value in match.groups() if value)])
    return f"xpath:{xpath}"


def acl_target(words: Words) -> Element:
    """`acl_target USER ROLE…`."""
    return _roles(words, "acl_target")


def acl_group(words: Words) -> Element:
    """`acl_group GROUP ROLE…`."""
    return _roles(words, "acl_group")


def _roles(words: Words, tag: str) -> Element:
    name = words.take("the name of the user or group")
    roles = [checked_identifier(words.take()) for _ in words.left]
    if not roles:
        raise InvalidRequest(what=f"{tag} {name} has no roles", remedy="name at least one")
    return element(tag, {"id": name}, *(element("role", {"id": one}) for one in roles))


_ALERT_STOP: Final = frozenset({"to", "select", "attributes", "meta", "params", "{", "}"})


def alert(words: Words) -> Element:
    """`alert ID PATH [description=] [attributes …] [meta …] [select …] [to [{] VALUE … [}]]…`."""
    attributes = {"id": words.take_identifier("alert"), "path": words.take("the path of the alert agent")}
    children: list[Element] = []
    while not words.at_end:
        keyword = words.keyword()
        if description(words, attributes):
            continue
        if keyword in ("attributes", "meta", "params"):
            words.take()
            children.append(attribute_set(words, SET_ELEMENTS[keyword], _ALERT_STOP))
        elif not children and "=" in keyword:
            children.append(attribute_set(words, "instance_attributes", _ALERT_STOP))
        elif keyword == "select":
            words.take()
            _select(children, _selection(words))
        elif keyword == "to":
            words.take()
            children.append(_recipient(words))
        else:
            words.expect_end("attributes, meta, select, to or description=… may stand here")
    return element("alert", attributes, *children)


def _select(children: list[Element], chosen: Element) -> None:
    """An alert has one <select>: a second one adds to it."""
    for index, one in enumerate(children):
        if one.tag == "select":
            children[index] = one.with_children((*one.children, *chosen.children))
            return
    children.append(chosen)


def _selection(words: Words) -> Element:
    chosen: list[Element] = []
    while words.keyword() in ("nodes", "fencing", "resources", "attributes"):
        keyword = words.keyword()
        if keyword != "attributes":
            words.take()
            chosen.append(element(f"select_{keyword}"))
            continue
        if words.peek(1) != "{":
            break
        words.take()
        words.take()
        names: list[Element] = []
        while (name := words.take("`}`")) != "}":
            names.append(element("attribute", {"name": name}))
        chosen.append(element("select_attributes", None, *names))
    if not chosen:
        raise InvalidRequest(
            what="select chooses nothing", remedy="nodes, fencing, resources or attributes { NAME… }"
        )
    return element("select", None, *chosen)


def _recipient(words: Words) -> Element:
    braces = words.peek() == "{"
    if braces:
        words.take()
    attributes = {"value": words.take("the recipient")}
    sets: list[Element] = []
    while not words.at_end:
        keyword = words.keyword()
        if description(words, attributes):
            continue
        if not sets and "=" in keyword:
            sets.append(attribute_set(words, "instance_attributes", _ALERT_STOP))
            continue
        if keyword not in ("attributes", "meta", "params"):
            break
        words.take()
        sets.append(attribute_set(words, SET_ELEMENTS[keyword], _ALERT_STOP))
    if braces and words.take("`}`") != "}":
        raise InvalidRequest(what="the recipient is not closed with `}`")
    return element("recipient", attributes, *sets)
