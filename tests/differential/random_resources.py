"""Random resources of every variant, with remote and guest nodes and fence devices."""

from __future__ import annotations

from dataclasses import dataclass, field

from crm.cib.model import Element, element
from tests.differential.draw import Draw, nvset
from tests.differential.random_rules import RandomRules

DUMMY = ("ocf", "pacemaker", "Dummy")
STATEFUL = ("ocf", "pacemaker", "Stateful")
AGENTS = (
    DUMMY,
    DUMMY,
    ("ocf", "heartbeat", "Dummy"),
    ("ocf", "heartbeat", "IPaddr2"),
    ("lsb", "", "apache"),
    ("systemd", "", "httpd"),
    ("service", "", "postfix"),
)
_META = (
    ("priority", "priority", ("1", "5", "10", "100", "-3"), 0.3),
    ("stickiness", "resource-stickiness", ("0", "1", "100", "INFINITY", "-5"), 0.3),
    ("threshold", "migration-threshold", ("1", "2", "3", "0"), 0.3),
    ("failure-timeout", "failure-timeout", ("60s", "10min", "P1D"), 0.3),
    ("unmanaged", "is-managed", ("false",), 0.12),
    ("target-role", "target-role", ("Stopped", "Started", "Stopped"), 0.2),
    ("multiple-active", "multiple-active", ("stop_only", "block", "stop_unexpected", "stop_start"), 0.4),
    ("migrate", "allow-migrate", ("true",), 0.5),
    ("requires", "requires", ("nothing", "quorum", "fencing"), 0.25),
    ("maintenance-resource", "maintenance", ("true",), 0.1),
    ("critical", "critical", ("false",), 0.3),
    ("unhealthy", "allow-unhealthy-nodes", ("true",), 0.3),
    ("resource-notify", "notify", ("true",), 0.1),
)
_CLONE_META = (
    ("clone-max", "clone-max", ("1", "2", "3", "5", "0"), 0.6),
    ("interleave", "interleave", ("true", "false"), 0.6),
    ("ordered", "ordered", ("true",), 0.4),
    ("notify", "notify", ("true",), 0.6),
    ("clone-min", "clone-min", ("1", "2"), 0.3),
)


@dataclass
class Inventory:
    """What was made, for the constraints and the status to refer to."""

    top: list[str] = field(default_factory=list)
    members: list[str] = field(default_factory=list)  # inside groups
    inside: dict[str, set[str]] = field(default_factory=dict)  # top-level id -> ids in it
    promotable: dict[str, str] = field(default_factory=dict)  # clone or bundle id -> its primitive
    clones: list[str] = field(default_factory=list)
    bundles: list[str] = field(default_factory=list)
    templates: dict[str, list[str]] = field(default_factory=dict)  # template id -> primitives made from it
    fences: list[str] = field(default_factory=list)
    remotes: list[str] = field(default_factory=list)  # remote nodes: their connections' names
    guests: list[str] = field(default_factory=list)
    primitives: int = 0


class RandomResources:
    """The resources section of one CIB."""

    def __init__(self, draw: Draw, rules: RandomRules, nodes: list[str]) -> None:
        self._draw, self._rules, self._nodes = draw, rules, nodes
        self.made = Inventory()

    def build(self, count: int, *, fencing: bool) -> Element:
        """About `count` primitives, and fence devices."""
        draw, made = self._draw, self.made
        resources: list[Element] = []
        if draw.may("templates", 0.9):
            resources.extend(self._template() for _ in range(draw.number(1, 2)))
        while made.primitives < count:
            resource = self._resource()
            resources.append(resource)
            made.top.append(resource.id)
            made.inside[resource.id] = {one.id for one in resource.walk() if one.id}
        if fencing:
            for _ in range(draw.number(1, 2)):
                resources.insert(draw.number(len(made.templates), len(resources)), self._fence_device())
        return element("resources", None, *resources)

    def _resource(self) -> Element:
        draw = self._draw
        kind = draw.rng.choices(
            ("primitive", "group", "clone", "promotable", "bundle", "remote", "guest"),
            (9, 5, 4, 3, 2, 1, 1),
        )[0]
        if kind == "primitive" or not draw.on(kind):
            kind = "primitive"
        match kind:
            case "group":
                return self._group(draw.id("g"))
            case "clone":
                return self._clone(promotable=False)
            case "promotable":
                return self._clone(promotable=True)
            case "bundle":
                return self._bundle()
            case "remote":
                return self._remote()
            case "guest":
                return self._guest()
            case _:
                return self._primitive(draw.id("r"))

    def _meta(self, owner: str, extra: dict[str, str] | None = None) -> tuple[Element, ...]:
        draw = self._draw
        values = {**draw.values(_META), **(extra or {})}
        sets = draw.pairs("meta_attributes", owner, values)
        if draw.may("meta-rules", 0.2):
            name = draw.id(f"{owner}-meta_attributes-")
            rule = self._rules.date_rule(name)
            more = {draw.pick(("target-role", "resource-stickiness", "is-managed")): ""}
            for key in more:
                more[key] = {"target-role": "Stopped", "is-managed": "false"}.get(key, "300")
            ruled = nvset("meta_attributes", name, more, rule)
            if draw.chance(0.5):
                ruled = ruled.with_attributes(score=draw.pick(("1", "100", "-1")))
            sets = (*sets, ruled)
        return sets

    def _operations(self, owner: str, *, promotable: bool = False, agent: str = "ocf") -> tuple[Element, ...]:
        draw = self._draw
        made = []
        if draw.chance(0.7):
            made.append(self._monitor(owner, draw.pick(("10s", "20s", "1min", "PT30S"))))
        if promotable and draw.chance(0.6):
            made.append(self._monitor(owner, "9s", role="Promoted"))
            if draw.chance(0.3):
                made.append(self._monitor(owner, "11s", role="Unpromoted"))
        if draw.may("stopped-monitor", 0.2) and agent == "ocf":
            made.append(self._monitor(owner, "45s", role="Stopped"))
        if draw.may("duplicate-op", 0.1):
            made.append(self._monitor(owner, "20s"))
        tasks = ("start", "stop", *(("promote", "demote") if promotable else ()))
        made.extend(self._operation(owner, task) for task in tasks if draw.chance(0.2))
        return (element("operations", None, *made),) if made else ()

    def _monitor(self, owner: str, interval: str, role: str = "") -> Element:
        draw = self._draw
        values = {"id": draw.id(f"{owner}-monitor-"), "name": "monitor", "interval": interval}
        if role:
            values["role"] = role
        values |= draw.values(
            (
                ("op-timeout", "timeout", ("20s", "1min"), 0.5),
                ("op-disabled", "enabled", ("false",), 0.15),
                ("start-delay", "start-delay", ("5s",), 0.2),
                (
                    "on-fail",
                    "on-fail",
                    ("ignore", "block", "stop", "restart", "standby", "fence", "restart-container")
                    + (("demote", "demote") if role == "Promoted" else ()),
                    0.6,
                ),
            )
        )
        if draw.may("interval-origin", 0.3):
            values.pop("start-delay", None)
            values["interval-origin"] = "2023-01-01 00:00:03Z"
        children = (
            draw.pairs("meta_attributes", owner, {"timeout": "33s"}) if draw.may("op-meta", 0.2) else ()
        )
        if draw.may("op-params", 0.15):
            children = (*children, *draw.pairs("instance_attributes", owner, {"depth": "10"}))
        return element("op", values, *children)

    def _operation(self, owner: str, task: str) -> Element:
        draw = self._draw
        values = {"id": draw.id(f"{owner}-{task}-"), "name": task, "interval": "0", "timeout": "30s"}
        fail = {
            "start": ("ignore", "block", "stop", "restart", "standby", "fence"),
            "stop": ("block", "fence", "ignore"),
            "promote": ("ignore", "block", "demote", "restart", "fence", "standby"),
            "demote": ("block", "restart", "fence", "stop"),
        }[task]
        if draw.may("on-fail", 0.6):
            values["on-fail"] = draw.pick(fail)
        return element("op", values)

    def _template(self) -> Element:
        name = self._draw.id("t")
        self.made.templates[name] = []
        body = self._body(name, DUMMY)
        return element(
            "template", {"id": name, "class": "ocf", "provider": "pacemaker", "type": "Dummy"}, *body
        )

    def _body(
        self, name: str, agent: tuple[str, str, str], *, promotable: bool = False
    ) -> tuple[Element, ...]:
        draw = self._draw
        load = {"cpu": str(draw.number(0, 3))} if draw.may("placement", 0.6) else {}
        if load and draw.chance(0.4):
            load["memory"] = str(draw.number(200, 2000))
        parameters = {}
        if agent[0] == "ocf" and draw.chance(0.5):
            parameters = {"state": f"/run/{name}", "fake": "abc"}
            if draw.may("value-source", 0.4):
                parameters["level"] = str(draw.number(0, 5))
        return (
            *draw.pairs("instance_attributes", name, parameters),
            *self._parameter_rule(name),
            *self._meta(name),
            *draw.pairs("utilization", name, load),
            *self._operations(name, promotable=promotable, agent=agent[0]),
        )

    def _parameter_rule(self, name: str) -> tuple[Element, ...]:
        draw = self._draw
        if not draw.may("parameter-rules", 0.2):
            return ()
        set_id = draw.id(f"{name}-instance_attributes-")
        rule = self._rules.node_rule(set_id, {})
        return (nvset("instance_attributes", set_id, {"fake": "by-rule"}, rule),)

    def _primitive(
        self, name: str, agent: tuple[str, str, str] | None = None, *, promotable: bool = False
    ) -> Element:
        draw = self._draw
        self.made.primitives += 1
        if agent is None and self.made.templates and draw.chance(0.4):
            template = draw.pick(list(self.made.templates))
            self.made.templates[template].append(name)
            values = {"id": name, "template": template}
            return element("primitive", values, *self._body(name, DUMMY))
        chosen = agent or draw.pick(AGENTS)
        values = {"id": name, "class": chosen[0], "type": chosen[2]}
        if chosen[1]:
            values["provider"] = chosen[1]
        return element("primitive", values, *self._body(name, chosen, promotable=promotable))

    def _group(self, name: str, agent: tuple[str, str, str] | None = None) -> Element:
        draw = self._draw
        promotable = agent == STATEFUL
        ids = [draw.id("r") for _ in range(draw.number(1, 4))]
        members = [self._primitive(one, agent, promotable=promotable) for one in ids]
        self.made.members.extend(ids)
        extra = {}
        if draw.may("loose-group", 0.2):
            extra = {draw.pick(("ordered", "collocated")): "false"}
        return element("group", {"id": name}, *self._meta(name, extra), *members)

    def _clone(self, *, promotable: bool) -> Element:
        draw, made = self._draw, self.made
        name, child = draw.id("c"), draw.id("r")
        values = draw.values(_CLONE_META)
        if draw.may("unique", 0.5):
            values["globally-unique"] = "true"
            if draw.chance(0.6):
                values["clone-node-max"] = draw.pick(("1", "2", "3"))
        elif draw.may("unique-false", 0.3):
            values["globally-unique"] = "false"
            if draw.chance(0.3):
                values["clone-node-max"] = "2"
        if promotable:
            values["promotable"] = "true"
            values |= draw.values(
                (
                    ("promoted-max", "promoted-max", ("1", "2", "3"), 0.5),
                    ("promoted-node-max", "promoted-node-max", ("1", "2"), 0.3),
                    ("target-role", "target-role", ("Promoted", "Unpromoted", "Stopped"), 0.2),
                )
            )
        agent = STATEFUL if promotable else DUMMY
        if draw.may("cloned-group", 0.15):
            group = draw.id("g")
            inner = self._group(group, agent)
            child = next(one.id for one in inner.children if one.tag == "primitive")
            self.made.members = [one for one in made.members if inner.by_id(one) is None]
        else:
            inner = self._primitive(child, agent, promotable=promotable)
        made.clones.append(name)
        if promotable:
            made.promotable[name] = child
        return element("clone", {"id": name}, *self._meta(name, values), inner)

    def _bundle(self) -> Element:
        draw, made = self._draw, self.made
        name = draw.id("b")
        made.bundles.append(name)
        made.primitives += 1
        kind = draw.pick(("docker", "podman"))
        values = {"image": "pcmk:test"}
        if draw.chance(0.7):
            values["replicas"] = str(draw.number(1, 3))
        promotable = draw.may("bundle-promotable", 0.5)
        if promotable:
            values["promoted-max"] = draw.pick(("1", "2"))
        if draw.may("replicas-per-host", 0.3):
            values["replicas-per-host"] = "2"
        if draw.chance(0.3):
            values["run-command"] = "/usr/sbin/pacemaker_remoted"
        if draw.chance(0.2):
            values["network"] = draw.pick(("host", "bridge"))
        if draw.chance(0.2):
            values["options"] = "--log-driver=journald"
        primitive = draw.chance(0.7)
        network = {}
        if draw.chance(0.6):
            network["ip-range-start"] = f"192.168.{draw.number(1, 99)}.{draw.number(2, 200)}"
        if draw.chance(0.4) or (primitive and not network):
            network["control-port"] = str(draw.number(3000, 3999))
        network |= draw.values(
            (
                ("bundle-net", "host-interface", ("eth0",), 0.4),
                ("bundle-net", "host-netmask", ("24",), 0.4),
                ("bundle-net", "add-host", ("false", "true"), 0.3),
            )
        )
        mapping = (element("port-mapping", {"id": f"{name}-port", "port": "80"}),) if draw.chance(0.4) else ()
        children = [element(kind, values)]
        if network or mapping:
            children.append(element("network", network, *mapping))
        if draw.chance(0.5):
            children.append(self._storage(name))
        child: tuple[Element, ...] = ()
        if primitive:
            inner = draw.id("r")
            agent = STATEFUL if promotable else draw.pick((DUMMY, ("ocf", "heartbeat", "apache")))
            child = (self._primitive(inner, agent, promotable=promotable),)
            if promotable:
                made.promotable[name] = inner
        return element("bundle", {"id": name}, *self._meta(name), *children, *child)

    def _storage(self, name: str) -> Element:
        source = {"source-dir": "/srv/html"} if self._draw.chance(0.5) else {"source-dir-root": "/srv/logs"}
        mapping = {"id": f"{name}-map", **source, "target-dir": "/var/www", "options": "rw"}
        return element("storage", None, element("storage-mapping", mapping))

    def _remote(self) -> Element:
        draw = self._draw
        name = draw.id("remote")
        self.made.remotes.append(name)
        self.made.primitives += 1
        values = {"server": f"{name}.example"} if draw.chance(0.5) else {}
        if draw.may("reconnect", 0.4):
            values["reconnect_interval"] = draw.pick(("60s", "2min"))
        return element(
            "primitive",
            {"id": name, "class": "ocf", "provider": "pacemaker", "type": "remote"},
            *draw.pairs("instance_attributes", name, values),
            *(self._meta(name) if draw.may("remote-meta", 0.3) else ()),
            *self._operations(name),
        )

    def _guest(self) -> Element:
        draw = self._draw
        name, guest = draw.id("vm"), draw.id("guest")
        self.made.guests.append(guest)
        self.made.primitives += 1
        values = {"remote-node": guest}
        if draw.chance(0.3):
            values["remote-addr"] = f"{guest}.example"
        if draw.chance(0.3):
            values["allow-migrate"] = "true"
        vm = element(
            "primitive",
            {"id": name, "class": "ocf", "provider": "heartbeat", "type": "VirtualDomain"},
            *draw.pairs("instance_attributes", name, {"config": f"/etc/{name}.xml"}),
            *self._meta(name, values),
            *self._operations(name),
        )
        if not draw.may("guest-in-group", 0.3):
            return vm
        group, other = draw.id("g"), draw.id("r")
        self.made.members.append(name)
        return element("group", {"id": group}, vm, self._primitive(other))

    def _fence_device(self) -> Element:
        draw = self._draw
        name = draw.id("fence")
        self.made.fences.append(name)
        values = {"ipaddr": "10.0.0.1"}
        if draw.may("pcmk-host-list", 0.5):
            values["pcmk_host_list"] = " ".join(self._nodes)
        if draw.may("fence-delay", 0.3):
            values["pcmk_delay_base"] = "5s"
        if draw.may("monitor-timeout", 0.3):
            values["pcmk_monitor_timeout"] = "25s"
        meta = {"provides": "unfencing"} if draw.may("unfencing", 0.5) else {}
        agent = "fence_scsi" if meta else "fence_ipmilan"
        return element(
            "primitive",
            {"id": name, "class": "stonith", "type": agent},
            *draw.pairs("instance_attributes", name, values),
            *draw.pairs("meta_attributes", name, meta),
            *self._operations(name, agent="stonith"),
        )
