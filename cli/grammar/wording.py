"""One object -> the words of the language: the head, and a line for each set, op, rule …"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cli.grammar.access import xpath_text
from cli.grammar.document import section
from cli.grammar.lexer import in_quotes, quoted, split_words
from cli.grammar.references import id_index, referenced_ids
from cli.grammar.resource_sets import sets_text
from cli.grammar.resources import usual_provider
from cli.grammar.words import score_text
from crm.cib.model import COMMENT, Element
from hacluster.errors import InvalidRequest

_SET_KEYWORDS: Final = {
    "instance_attributes": "params",
    "meta_attributes": "meta",
    "utilization": "utilization",
}
_OBSCURED: Final = "******"


class UnsayableError(Exception):
    """The language has no words for this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How to print: patterns of attribute names whose values are hidden, ids that must be printed."""

    obscure: tuple[str, ...] = ()
    printed_ids: frozenset[str] = frozenset()
    nodes: tuple[str, ...] = ()
    ids: Mapping[str, Element] = field(default_factory=dict)
    full_types: bool = False

    @classmethod
    def of(cls, cib: Element, *, obscure: tuple[str, ...] = ()) -> Style:
        """What the objects of that CIB need to be printed."""
        return cls(
            obscure=obscure,
            printed_ids=referenced_ids(cib),
            nodes=tuple(sorted(one.get("uname") for one in section(cib, "nodes").all("node"))),
            ids=id_index(cib),
        )


def object_lines(item: Element, style: Style) -> list[str]:
    """The lines of one object. Raises UnsayableError where the language has no words for it."""
    builder = _BUILDERS.get(item.tag)
    if builder is None:
        raise UnsayableError
    return builder(item, style)


def _head(item: Element, *words: str) -> list[str]:
    lines = [" ".join(words)]
    if "description" in item.attributes:
        lines.append(f"description={quoted(item.get('description'))}")
    return lines


def _node(item: Element, style: Style) -> list[str]:
    name = item.get("uname")
    if item.get("type") not in ("", "normal"):
        name += f":{item.get('type')}"
    words = ["node", name] if item.id == item.get("uname") else ["node", f"{item.id}:", name]
    lines = _head(item, *words)
    for one in parts(item):
        keyword = "attributes" if one.tag == "instance_attributes" else one.tag
        lines.append(_set_text(keyword, one, style))
    return lines


def parts(item: Element) -> Iterable[Element]:
    """The children that are no comments."""
    return (child for child in item.children if child.tag != COMMENT)


def _type_text(item: Element, style: Style) -> str:
    if item.get("template"):
        return f"@{item.get('template')}"
    usual = (item.get("class"), item.get("provider")) == ("ocf", usual_provider(item.get("type")))
    if usual and item.get("provider") == "heartbeat" and not style.full_types:
        return item.get("type")  # a bare name is read as heartbeat's, but for what Pacemaker ships
    return ":".join(item.get(name) for name in ("class", "provider", "type") if item.get(name))


def _typed(keyword: str) -> Callable[[Element, Style], list[str]]:
    def build(item: Element, style: Style) -> list[str]:
        lines = _head(item, keyword, item.id, _type_text(item, style))
        for one in parts(item):
            if one.tag == "operations":
                lines += _operations(one, style)
            else:
                lines.append(_set_text(_keyword(one), one, style))
        return lines

    return build


def _keyword(item: Element) -> str:
    keyword = _SET_KEYWORDS.get(item.tag)
    if keyword is None:
        raise UnsayableError
    return keyword


def _operations(item: Element, style: Style) -> list[str]:
    lines: list[str] = []
    if "id-ref" in item.attributes:
        lines.append(f"operations  $id-ref={item.get('id-ref')}")
    elif item.id:
        lines.append(f"operations $id={quoted(item.id)}")
    for one in parts(item):
        if one.tag != "op":
            raise UnsayableError
        attributes = {
            name: value
            for name, value in one.attributes.items()
            if name != "name" and (name != "id" or value in style.printed_ids)
        }
        attributes.setdefault("interval", "0")
        lines.append(" ".join(["op", one.get("name"), *(f"{k}={quoted(v)}" for k, v in attributes.items())]))
        lines += [_set_text("op_" + _keyword(inner), inner, style) for inner in parts(one)]
        # crmsh prints it again; read again it says the same, but for where it would be a pair of a set
        if "description" in one.attributes and not one.children:
            lines.append(f"description={quoted(one.get('description'))}")
    return lines


def _set_text(keyword: str, item: Element, style: Style) -> str:
    words = [keyword]
    if "id-ref" in item.attributes:
        return f"{keyword} $id-ref={item.get('id-ref')}"
    if item.id in style.printed_ids:
        words.append(f"$id={item.id}")
    if "score" in item.attributes:
        words.append(f"{item.get('score')}:")
    words += [_rule_text(one, style) for one in item.all("rule")]
    words += [_pair_text(one, style) for one in item.all("nvpair")]
    return " ".join(words)


def _pair_text(item: Element, style: Style) -> str:
    name = item.get("name")
    if "id-ref" in item.attributes:
        return _word(f"@{item.get('id-ref')}" + (f":{name}" if name else ""))
    if item.id in style.printed_ids:
        name = f"${item.id}:{name}"
    name = _word(name)
    if "value" not in item.attributes:
        return name
    value = item.get("value")
    if any(re.fullmatch(pattern, item.get("name")) for pattern in style.obscure):
        value = _OBSCURED
    return f"{name}={quoted(value)}"


def without_values(item: Element, patterns: Sequence[str]) -> Element:
    """With ****** for the values of attributes whose names fit one of the regular expressions."""
    if item.tag == "nvpair" and any(re.fullmatch(one, item.get("name")) for one in patterns):
        return item.with_attributes(value=_OBSCURED)
    return item.mapped(lambda child: without_values(child, patterns)) if patterns else item


def _rule_text(item: Element, style: Style) -> str:
    words = ["rule"]
    if "id-ref" in item.attributes:
        return f"rule $id-ref={item.get('id-ref')}"
    if item.id in style.printed_ids:
        words.append(f"$id={item.id}")
    if item.get("role"):
        words.append(f"$role={item.get('role')}")
    score = item.get("score-attribute") or score_text(item.get("score"))
    if score and score != "inf":
        words.append(f"{score}:")
    joint = f" {item.get('boolean-op', 'and')} "
    words.append(joint.join(_expression_text(one) for one in parts(item)))
    return " ".join(words)


def _expression_text(item: Element) -> str:
    if item.tag == "expression":
        operation, attribute = item.get("operation"), _word(item.get("attribute"))
        if operation in ("defined", "not_defined"):
            return f"{operation} {attribute}"
        typed = f"{item.get('type')}:" if item.get("type") else ""
        value = quoted(item.get("value"))
        if item.get("value-source"):
            value = _word(f"{item.get('value-source')}{{{item.get('value')}}}")
        return f"{attribute} {typed}{operation} {value}"
    if item.tag != "date_expression":
        raise UnsayableError
    match item.get("operation"):
        case "lt":
            return f"date lt {quoted(item.get('end'))}"
        case "gt":
            return f"date gt {quoted(item.get('start'))}"
        case "in_range" | "date_spec" as operation:
            pairs = [f"{name}={quoted(item.get(name))}" for name in ("start", "end") if item.get(name)]
            for one in parts(item):
                pairs += [f"{name}={quoted(value)}" for name, value in one.attributes.items() if name != "id"]
            return " ".join(["date", "in" if operation == "in_range" else "spec", *pairs])
        case _:
            raise UnsayableError


def _container(keyword: str) -> Callable[[Element, Style], list[str]]:
    def build(item: Element, style: Style) -> list[str]:
        inner = [child.id for child in item.all("primitive", "group", "clone", "master", "bundle")]
        lines = _head(item, keyword, item.id, *inner)
        lines += [
            _set_text(_keyword(one), one, style)
            for one in parts(item)
            if one.tag not in ("primitive", "group")
        ]
        return lines

    return build


def _attribute_words(item: Element) -> list[str]:
    return [f"{name}={quoted(value)}" for name, value in item.attributes.items()]


def _bundle(item: Element, style: Style) -> list[str]:
    lines = _head(item, "bundle", item.id)
    for one in (child for child in parts(item) if child.tag != "primitive"):
        if one.tag in ("network", "storage"):
            inner = [word for child in parts(one) for word in (child.tag, *_attribute_words(child))]
            lines.append(" ".join([one.tag, *_attribute_words(one), *inner]))
        elif one.tag in ("docker", "podman", "rkt"):
            lines.append(" ".join([one.tag, *_attribute_words(one)]))
        else:
            lines.append(_set_text(_keyword(one), one, style))
    lines += [f"primitive {one.id}" for one in item.all("primitive")]
    return lines


def _tag(item: Element, _style: Style) -> list[str]:
    return [" ".join(["tag", item.id, *(one.id for one in item.all("obj_ref"))])]


def _location(item: Element, style: Style) -> list[str]:
    if "rsc-pattern" in item.attributes:
        what = _word(f"/{item.get('rsc-pattern')}/")
    elif item.all("resource_set"):
        what = f"{{ {_sets(item, 0)} }}"
    else:
        what = item.get("rsc")
    known = ("id", "rsc", "rsc-pattern", "score", "score-attribute", "node", "description")
    extra = [f"{name}={quoted(value)}" for name, value in item.attributes.items() if name not in known]
    words = ["location", item.id, what, *extra]
    rules = item.all("rule")
    if rules:
        return [" ".join(words), *(_rule_text(one, style) for one in rules)]
    score = item.get("score-attribute") or score_text(item.get("score"))
    if not score or not item.get("node"):
        raise UnsayableError
    return [" ".join([*words, f"{score}:", _word(item.get("node"))])]


def _sets(item: Element, simple: int) -> str:
    text = sets_text(item.all("resource_set"), simple)
    if text is None:
        raise UnsayableError
    return text


def _word(text: str) -> str:
    """A word as it is where it reads as one, else in quotes."""
    try:
        return text if split_words(text) == (text,) else in_quotes(text)
    except InvalidRequest:
        return in_quotes(text)


def _reference(item: Element, name: str, *marks: str) -> str:
    mark = next((item.get(one) for one in marks if item.get(one)), "")
    return item.get(name) + (f":{mark}" if mark else "")


def _colocation(item: Element, _style: Style) -> list[str]:
    score = item.get("score-attribute") or score_text(item.get("score"))
    if not score or "influence" in item.attributes:
        raise UnsayableError
    if item.all("resource_set"):
        what = _sets(item, 2)
    else:
        what = " ".join(
            (
                _reference(item, "rsc", "rsc-role", "rsc-instance"),
                _reference(item, "with-rsc", "with-rsc-role", "with-rsc-instance"),
            )
        )
    words = ["colocation", item.id, f"{score}:", what]
    if "node-attribute" in item.attributes:
        words.append(f"node-attribute={quoted(item.get('node-attribute'))}")
    return [" ".join(words)]


def _order(item: Element, _style: Style) -> list[str]:
    if "require-all" in item.attributes:
        raise UnsayableError
    words = ["order", item.id]
    if item.get("kind"):
        words.append(f"{item.get('kind')}:")
    if item.all("resource_set"):
        words.append(_sets(item, 2))
    else:
        words += [_reference(item, "first", "first-action"), _reference(item, "then", "then-action")]
    if "symmetrical" in item.attributes:
        words.append(f"symmetrical={item.get('symmetrical')}")
    return [" ".join(words)]


def _ticket(item: Element, _style: Style) -> list[str]:
    what = _sets(item, 1) if item.all("resource_set") else _reference(item, "rsc", "rsc-role")
    words = ["rsc_ticket", item.id, f"{item.get('ticket')}:", what]
    if "loss-policy" in item.attributes:
        words.append(f"loss-policy={item.get('loss-policy')}")
    return [" ".join(words)]


def _option_lines(keyword: str, item: Element, style: Style) -> list[str]:
    if set(item.attributes) != {"id"}:
        raise UnsayableError
    lines = [f"{keyword} {item.id}:"]
    lines += [_rule_text(one, style) for one in item.all("rule")]
    return [*lines, *(_pair_text(one, style) for one in item.all("nvpair"))]


def _property(item: Element, style: Style) -> list[str]:
    return _option_lines("property", item, style)


def _defaults(item: Element, style: Style) -> list[str]:
    return _option_lines(item.tag, item.children[0], style)


def _topology(item: Element, style: Style) -> list[str]:
    targets: dict[str, list[Element]] = {}
    for level in parts(item):
        if "target-attribute" in level.attributes:
            name = _word(f"attr:{level.get('target-attribute')}={level.get('target-value')}")
        elif "target-pattern" in level.attributes:
            name = _word(f"pattern:{level.get('target-pattern')}")
        else:
            name = f"{level.get('target')}:"
        targets.setdefault(name, []).append(level)
    texts: dict[str, str] = {}
    for name, levels in targets.items():
        by_index = {level.get("index"): level for level in levels}
        indices = [str(number) for number in range(1, len(levels) + 1)]
        if by_index.keys() != set(indices):
            raise UnsayableError
        texts[name] = " ".join(quoted(by_index[index].get("devices")).strip('"') for index in indices)
    if set(texts) == {f"{name}:" for name in style.nodes} and len(set(texts.values())) == 1:
        return [f"fencing_topology {next(iter(texts.values()))}"]
    return ["fencing_topology", *(f"{name} {text}" for name, text in texts.items())]


def _role(item: Element, _style: Style) -> list[str]:
    lines = _head(item, "role", item.id)
    for one in parts(item):
        if one.tag != "acl_permission":
            raise UnsayableError
        words = [one.get("kind")]
        if "description" in one.attributes:
            words.append(f"description={quoted(one.get('description'))}")
        if one.get("xpath"):
            text = xpath_text(one.get("xpath"))
            words.append(f"xpath:{in_quotes(text[6:])}" if text.startswith("xpath:") else text)
        if one.get("reference"):
            words.append(f"ref:{one.get('reference')}")
        if one.get("attribute"):
            words.append(f"attr:{one.get('attribute')}")
        if one.get("object-type"):
            words.append(f"type:{one.get('object-type')}")
        lines.append(" ".join(words))
    return lines


def _acl_roles(item: Element, _style: Style) -> list[str]:
    return [f"{item.tag} {_word(item.id)}", *(one.id for one in item.all("role"))]


def _alert(item: Element, style: Style) -> list[str]:
    lines = _head(item, "alert", item.id, quoted(item.get("path")))
    inner = list(parts(item))
    for index, one in enumerate(inner):
        match one.tag:
            case "select":
                lines.append(_select_text(one))
            case "recipient":
                lines.append(_recipient_text(one, inner[index + 1 :], style))
            case _:
                lines.append(_alert_set(one, style))
    return lines


def _alert_set(item: Element, style: Style) -> str:
    return _set_text("attributes" if item.tag == "instance_attributes" else _keyword(item), item, style)


def _select_text(item: Element) -> str:
    words = ["select"]
    for one in parts(item):
        if one.tag != "select_attributes":
            words.append(one.tag.removeprefix("select_"))
        else:
            words += ["attributes", "{", *(inner.get("name") for inner in parts(one)), "}"]
    return " ".join(words)


def _recipient_text(item: Element, following: Sequence[Element], style: Style) -> str:
    words = [quoted(item.get("value"))]
    if "description" in item.attributes:
        words.append(f"description={quoted(item.get('description'))}")
    words += [_alert_set(one, style) for one in parts(item)]
    if following and following[0].tag in _SET_KEYWORDS:
        words = ["{", *words, "}"]
    return " ".join(["to", *words])


_BUILDERS: Final[dict[str, Callable[[Element, Style], list[str]]]] = {
    "node": _node,
    "template": _typed("rsc_template"),
    "primitive": _typed("primitive"),
    "bundle": _bundle,
    "group": _container("group"),
    "master": _container("ms"),
    "clone": _container("clone"),
    "tag": _tag,
    "rsc_location": _location,
    "rsc_colocation": _colocation,
    "rsc_order": _order,
    "rsc_ticket": _ticket,
    "fencing-topology": _topology,
    "cluster_property_set": _property,
    "rsc_defaults": _defaults,
    "op_defaults": _defaults,
    "acl_role": _role,
    "acl_target": _acl_roles,
    "acl_group": _acl_roles,
    "alert": _alert,
}
