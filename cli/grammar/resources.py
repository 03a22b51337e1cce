"""primitive, rsc_template, group, clone, ms, bundle, monitor: words -> elements without ids.

Members of containers are left as `#member` elements; `cli.grammar.load` puts the resources there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cli.grammar.attributes import KEYWORDS, SET_ELEMENTS, attribute_set, description, nvpair
from cli.grammar.words import Words, boolean_as_written, checked_identifier, role_of
from crm.cib.model import Element, element
from hacluster.errors import InvalidRequest

MEMBER: Final = "#member"
MONITOR: Final = "#monitor"
CLASSES: Final = ("ocf", "systemd", "service", "lsb", "stonith", "heartbeat", "upstart", "nagios")
OP_ATTRIBUTES: Final = frozenset(
    {
        *("id", "interval", "timeout", "start-delay", "interval-origin", "enabled", "record-pending"),
        *("role", "on-fail", "description"),
    }
)
# Attributes of operations in schemas before pacemaker-3.0: made ones again for a CIB of such a schema.
OLD_OP_ATTRIBUTES: Final = ("requires",)
# Agents that Pacemaker ships and that resource-agents has not: what look-up finds where they are installed.
_PACEMAKER_AGENTS: Final = frozenset(
    {
        *("ping", "pingd", "controld", "remote", "attribute", "ClusterMon", "HealthCPU", "HealthIOWait"),
        *("HealthSMART", "SysInfo", "SystemHealth", "o2cb", "ifspeed"),
    }
)
_TYPE_REMEDY: Final = "[CLASS:[PROVIDER:]]NAME, as ocf:heartbeat:IPaddr2"
_BUNDLE_TECHNOLOGIES: Final = ("docker", "podman", "rkt")
_BUNDLE_STOP: Final = KEYWORDS | {*_BUNDLE_TECHNOLOGIES, "primitive", "network", "storage"}

ProviderLookup = Callable[[str], str]


def usual_provider(name: str) -> str:
    """The provider of an OCF agent where none is installed to look at."""
    return "pacemaker" if name in _PACEMAKER_AGENTS else "heartbeat"


def agent_attributes(word: str, provider: ProviderLookup) -> dict[str, str]:
    """`[CLASS:[PROVIDER:]]NAME` -> class, provider, type. Raises InvalidRequest."""
    parts = word.split(":")
    if len(parts) > 3 or not all(parts):
        raise InvalidRequest(what=f"{word!r} is not a type", remedy=_TYPE_REMEDY)
    if len(parts) == 3:
        return {"class": parts[0], "provider": parts[1], "type": parts[2]}
    if len(parts) == 2 and parts[0] != "ocf":
        if parts[0] not in CLASSES:
            raise InvalidRequest(
                what=f"{parts[0]!r} is not a class of agents", remedy="one of " + " ".join(CLASSES)
            )
        return {"class": parts[0], "type": parts[1]}
    name = parts[-1]
    return {"class": "ocf", "provider": provider(name), "type": name}


def primitive(words: Words, provider: ProviderLookup = usual_provider) -> Element:
    """`primitive ID TYPE|@TEMPLATE …`."""
    return _typed(words, "primitive", provider)


def rsc_template(words: Words, provider: ProviderLookup = usual_provider) -> Element:
    """`rsc_template ID TYPE …`."""
    return _typed(words, "template", provider)


def _typed(words: Words, tag: str, provider: ProviderLookup) -> Element:
    attributes = {"id": words.take_identifier(tag)}
    kind = words.take(f"the type of {attributes['id']}", _TYPE_REMEDY)
    if kind.startswith("@") and tag == "primitive":
        attributes["template"] = checked_identifier(kind[1:])
    elif kind.startswith("@"):
        raise InvalidRequest(what=f"{kind!r}: a template has a type, not a template", remedy=_TYPE_REMEDY)
    else:
        attributes |= agent_attributes(kind, provider)
    children: list[Element] = []
    operations: list[Element] = []
    frame: Element | None = None
    first = True
    while not words.at_end:
        keyword = words.keyword()
        if description(words, attributes):
            continue
        if keyword in ("params", "meta", "utilization"):
            words.take()
            children.append(attribute_set(words, SET_ELEMENTS[keyword]))
        elif keyword == "operations":
            words.take()
            frame = _operations_frame(words)
        elif keyword == "op":
            words.take()
            operations.append(_op(words))
        elif first and "=" in keyword:
            children.append(attribute_set(words, "instance_attributes"))
        else:
            words.expect_end("params, meta, utilization, operations, op or description=… may stand here")
        # One <operations>, where the first `op` or `operations` stood.
        has_place = any(child.tag == "operations" for child in children)
        if (operations or frame is not None) and not has_place:
            children.append(element("operations"))
        first = False
    built = frame or element("operations")
    whole = built.with_children(tuple(operations))
    return element(tag, attributes, *(whole if child.tag == "operations" else child for child in children))


def _operations_frame(words: Words) -> Element:
    attributes: dict[str, str] = {}
    while (pair := words.take_pair("$id", "$id-ref")) is not None:
        attributes[pair[0][1:]] = pair[1]
    return element("operations", attributes)


def _op(words: Words) -> Element:
    attributes = {"name": words.take("the name of the operation")}
    plain: list[Element] = []
    sets: list[Element] = []
    while (word := words.peek()) is not None:
        lowered = word.lower()
        if lowered in ("op_params", "op_meta"):
            words.take()
            sets.append(attribute_set(words, SET_ELEMENTS[lowered]))
            continue
        if lowered in KEYWORDS or sets or "=" not in word:
            break
        words.take()
        name, _, value = word.partition("=")
        name = "id" if name == "$id" else name
        if name in OP_ATTRIBUTES:
            if any(one.get("name") not in OLD_OP_ATTRIBUTES for one in plain):
                raise InvalidRequest(
                    what=f"{word!r} follows {plain[-1].get('name')}=…, which is a parameter of the agent",
                    remedy=f"put {name} before the parameters, or those after `op_params`",
                )
            attributes[name] = _operation_value(name, value)
        elif name.lower() in OP_ATTRIBUTES:
            raise InvalidRequest(
                what=f"{name} is no attribute of an operation (names count as they are written)",
                remedy=f"{name.lower()}=…, or after `op_params` for the agent",
            )
        else:
            plain.append(nvpair(word))
    attributes.setdefault("interval", "0")
    own = (element("instance_attributes", None, *plain),) if plain else ()
    return element("op", attributes, *own, *sets)


def _operation_value(name: str, value: str) -> str:
    if name == "role":
        return role_of(value)
    if name in ("enabled", "record-pending"):
        return boolean_as_written(value)
    return value


def group(words: Words) -> Element:
    """`group ID MEMBER… [description=] [params …] [meta …]`."""
    attributes = {"id": words.take_identifier("group")}
    members: list[str] = []
    while (word := words.peek()) is not None and "=" not in word:
        if members and word.lower() in ("params", "meta"):
            break
        member = checked_identifier(words.take())
        if member in members:
            raise InvalidRequest(what=f"{member!r} is listed twice in group {attributes['id']}")
        members.append(member)
    if not members:
        raise InvalidRequest(
            what=f"group {attributes['id']} has no members", remedy="name at least one primitive"
        )
    return _container(words, "group", attributes, members)


def clone(words: Words) -> Element:
    """`clone ID RSC …`."""
    return _single(words, "clone")


def ms(words: Words) -> Element:
    """`ms ID RSC …` (or `master`): the old promotable clone."""
    return _single(words, "master")


def _single(words: Words, tag: str) -> Element:
    attributes = {"id": words.take_identifier(tag)}
    child = checked_identifier(words.take(f"the resource that {attributes['id']} clones"))
    return _container(words, tag, attributes, [child])


def _container(words: Words, tag: str, attributes: dict[str, str], members: list[str]) -> Element:
    sets: list[Element] = []
    while not words.at_end:
        keyword = words.keyword()
        if description(words, attributes):
            continue
        if keyword in ("params", "meta"):
            words.take()
            sets.append(attribute_set(words, SET_ELEMENTS[keyword]))
        elif not sets and "=" in (words.peek() or ""):
            sets.append(attribute_set(words, "instance_attributes"))
        else:
            words.expect_end("params, meta or description=… may stand here")
    return element(tag, attributes, *sets, *(element(MEMBER, {"id": member}) for member in members))


def bundle(words: Words) -> Element:
    """`bundle ID docker|podman|rkt … [network …] [storage …] [meta …] [primitive RSC]`."""
    attributes = {"id": words.take_identifier("bundle")}
    children: list[Element] = []
    while not words.at_end:
        keyword = words.keyword()
        if description(words, attributes):
            continue
        if keyword in _BUNDLE_TECHNOLOGIES:
            words.take()
            container = _pairs(words)
            if "description" in container:  # the bundle's: a technology has none
                attributes["description"] = container.pop("description")
            children.append(element(keyword, container))
        elif keyword in ("network", "storage"):
            words.take()
            children.append(_bundle_part(words, keyword))
        elif keyword in ("meta", "params"):
            words.take()
            children.append(attribute_set(words, SET_ELEMENTS[keyword], _BUNDLE_STOP))
        elif keyword == "primitive":
            words.take()
            children.append(element(MEMBER, {"id": words.take_identifier("primitive of the bundle")}))
        else:
            words.expect_end("docker, podman, network, storage, meta or primitive may stand here")
    if not any(child.tag in _BUNDLE_TECHNOLOGIES for child in children):
        raise InvalidRequest(
            what=f"bundle {attributes['id']} names no image", remedy="docker image=…, or podman image=…"
        )
    if sum(child.tag == MEMBER for child in children) > 1:
        raise InvalidRequest(what=f"bundle {attributes['id']} has more than one primitive")
    return element("bundle", attributes, *children)


def _bundle_part(words: Words, keyword: str) -> Element:
    attributes = _pairs(words)
    if "add-host" in attributes:
        attributes["add-host"] = boolean_as_written(attributes["add-host"])
    mapping = "port-mapping" if keyword == "network" else "storage-mapping"
    mappings: list[Element] = []
    while words.keyword() == mapping:
        words.take()
        mappings.append(element(mapping, _pairs(words)))
    return element(keyword, attributes, *mappings)


def _pairs(words: Words) -> dict[str, str]:
    pairs: dict[str, str] = {}
    while (word := words.peek()) is not None and "=" in word:
        words.take()
        name, _, value = word.partition("=")
        pairs[name] = value
    return pairs


def monitor(words: Words) -> Element:
    """`monitor RSC[:ROLE] INTERVAL[:TIMEOUT]`: a `#monitor` element with the `op` to add to RSC."""
    resource, _, role = words.take("the resource").partition(":")
    times = words.take("the interval")
    interval, _, timeout = times.partition(":")
    if not interval or ":" in timeout:
        raise InvalidRequest(
            what=f"{times!r} is not understood here", remedy="INTERVAL[:TIMEOUT], as 10s:20s"
        )
    words.expect_end()
    attributes = {"name": "monitor"}
    if role:
        attributes["role"] = role_of(role)
    attributes["interval"] = interval
    if timeout:
        attributes["timeout"] = timeout
    return element(MONITOR, {"id": checked_identifier(resource)}, element("op", attributes))
