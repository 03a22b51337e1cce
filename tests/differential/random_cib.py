"""Random CIBs with every feature of the scheduler, from a seed. Pure but for the generator handed in."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from crm.cib.model import Element, element

AGENTS = (("ocf", "heartbeat", "Dummy"), ("ocf", "pacemaker", "Dummy"), ("lsb", "", "apache"))
STATEFUL = ("ocf", "pacemaker", "Stateful")
SCORES = ("INFINITY", "-INFINITY", "0", "1", "50", "100", "-50", "2000")
SITES = ("east", "west")


class RandomCib:
    """Builds one document. `features` limits what may appear; None allows everything."""

    def __init__(self, seed: int, features: frozenset[str] | None = None) -> None:
        self._rng = random.Random(seed)
        self._features = features
        self._number = 0
        self.nodes: list[str] = []
        self.resources: list[str] = []  # top-level ids
        self.primitives: list[str] = []
        self.promotables: list[str] = []
        self.clones: list[str] = []
        self.groups: list[str] = []
        self.tickets: list[str] = []
        self.remote_nodes: list[str] = []

    def build(self) -> Element:
        """A CIB whose cluster nodes are all members and whose history is empty."""
        rng = self._rng
        self.nodes = [f"n{number}" for number in range(1, rng.randint(1, 8) + 1)]
        count = rng.randint(1, 20)
        resources = self._resources(count)
        fencing = self._may("fencing", 0.5)
        if fencing:
            resources.append(self._fence_device())
        constraints = self._constraints()
        configuration = element(
            "configuration",
            None,
            self._options(fencing),
            element("nodes", None, *(self._node(index, name) for index, name in enumerate(self.nodes, 1))),
            element("resources", None, *resources),
            element("constraints", None, *constraints),
            *self._defaults(),
            *self._topology(fencing),
            *self._tags(),
        )
        attributes = {
            "validate-with": "pacemaker-3.9",
            "have-quorum": "0" if self._may("no-quorum", 0.06) else "1",
            "admin_epoch": "0",
            "epoch": "1",
            "num_updates": "0",
            "execution-date": "1700000000",
            "dc-uuid": "1",
        }
        return element("cib", attributes, configuration, self._status())

    def _may(self, feature: str, chance: float) -> bool:
        rolled = self._rng.random() < chance
        return rolled and (self._features is None or feature in self._features)

    def _id(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}{self._number}"

    def _pairs(self, tag: str, owner: str, values: Mapping[str, str]) -> tuple[Element, ...]:
        if not values:
            return ()
        set_id = f"{owner}-{tag}"
        pairs = (
            element("nvpair", {"id": f"{set_id}-{name.strip('#')}", "name": name, "value": value})
            for name, value in values.items()
        )
        return (element(tag, {"id": set_id}, *pairs),)

    def _options(self, fencing: bool) -> Element:
        rng = self._rng
        values = {"stonith-enabled": "true" if fencing else "false"}
        for feature, name, choices, chance in (
            ("quorum-policy", "no-quorum-policy", ("stop", "ignore", "freeze", "demote"), 0.4),
            ("asymmetric", "symmetric-cluster", ("false",), 0.06),
            ("placement", "placement-strategy", ("utilization", "minimal", "balanced"), 0.2),
            ("health", "node-health-strategy", ("migrate-on-red", "only-green", "progressive"), 0.1),
            ("maintenance", "maintenance-mode", ("true",), 0.03),
            ("startup-probes", "enable-startup-probes", ("false",), 0.04),
            ("stop-all", "stop-all-resources", ("true",), 0.02),
            ("fatal", "start-failure-is-fatal", ("false",), 0.1),
            ("orphans", "stop-orphan-resources", ("false",), 0.05),
            ("concurrent", "concurrent-fencing", ("true", "false"), 0.1),
            ("startup-fencing", "startup-fencing", ("false",), 0.05),
        ):
            if self._may(feature, chance):
                values[name] = rng.choice(choices)
        return element("crm_config", None, *self._property_set(values))

    def _property_set(self, values: Mapping[str, str]) -> tuple[Element, ...]:
        set_id = "cib-bootstrap-options"
        pairs = (
            element("nvpair", {"id": f"{set_id}-{name.strip('#')}", "name": name, "value": value})
            for name, value in values.items()
        )
        return (element("cluster_property_set", {"id": set_id}, *pairs),)

    def _node(self, index: int, name: str) -> Element:
        rng = self._rng
        values = {"site": rng.choice(SITES), "rank": str(rng.randint(0, 5))}
        for feature, attribute, choices, chance in (
            ("standby", "standby", ("on",), 0.07),
            ("maintenance", "maintenance", ("true",), 0.03),
            ("health", "#health-disk", ("red", "yellow", "green"), 0.1),
        ):
            if self._may(feature, chance):
                values[attribute] = rng.choice(choices)
        capacity = {}
        if self._may("placement", 0.6):
            capacity = {"cpu": str(rng.randint(1, 8)), "memory": str(rng.randint(512, 4096))}
        return element(
            "node",
            {"id": str(index), "uname": name},
            *self._pairs("instance_attributes", f"node-{name}", values),
            *self._pairs("utilization", f"node-{name}", capacity),
        )

    def _defaults(self) -> list[Element]:
        made = []
        if self._may("defaults", 0.3):
            values = {"resource-stickiness": self._rng.choice(("0", "1", "100", "INFINITY"))}
            if self._rng.random() < 0.3:
                values["migration-threshold"] = self._rng.choice(("1", "2", "3"))
            made.append(element("rsc_defaults", None, *self._pairs("meta_attributes", "rsc-options", values)))
        return made

    def _topology(self, fencing: bool) -> list[Element]:
        if not fencing or not self._may("topology", 0.1):
            return []
        level = {"id": self._id("fl"), "target": self.nodes[0], "index": "1", "devices": "fence"}
        return [element("fencing-topology", None, element("fencing-level", level))]

    def _tags(self) -> list[Element]:
        if not self.resources or not self._may("tags", 0.1):
            return []
        chosen = self._rng.sample(self.resources, min(2, len(self.resources)))
        refs = (element("obj_ref", {"id": name}) for name in chosen)
        return [element("tags", None, element("tag", {"id": "all-of-them"}, *refs))]

    def _fence_device(self) -> Element:
        agent = {"id": "fence", "class": "stonith", "type": "fence_ipmilan"}
        return element("primitive", agent, *self._operations("fence"))

    def _resources(self, count: int) -> list[Element]:
        made: list[Element] = []
        while len(self.primitives) < count:
            kind = self._rng.choices(
                ("primitive", "group", "clone", "promotable", "remote", "guest"), (10, 5, 4, 3, 0.6, 0.4)
            )[0]
            if kind == "group" and self._may("group", 1):
                made.append(self._group(self._id("g")))
            elif kind == "clone" and self._may("clone", 1):
                made.append(self._clone(promotable=False))
            elif kind == "promotable" and self._may("promotable", 1):
                made.append(self._clone(promotable=True))
            elif kind == "remote" and self._may("remote", 1):
                made.append(self._remote())
            elif kind == "guest" and self._may("guest", 1):
                made.append(self._guest())
            else:
                made.append(self._primitive(self._id("r")))
            self.resources.append(made[-1].id)
        return made

    def _meta(self) -> dict[str, str]:
        rng = self._rng
        values: dict[str, str] = {}
        for feature, name, choices, chance in (
            ("priority", "priority", ("1", "5", "10", "100"), 0.15),
            ("stickiness", "resource-stickiness", ("0", "1", "100", "INFINITY", "-5"), 0.2),
            ("threshold", "migration-threshold", ("1", "2", "3"), 0.15),
            ("failure-timeout", "failure-timeout", ("60s", "10min"), 0.1),
            ("unmanaged", "is-managed", ("false",), 0.05),
            ("target-role", "target-role", ("Stopped", "Started"), 0.1),
            ("multiple-active", "multiple-active", ("stop_only", "block", "stop_unexpected"), 0.08),
            ("migrate", "allow-migrate", ("true",), 0.15),
            ("requires", "requires", ("nothing", "quorum", "fencing"), 0.08),
            ("maintenance", "maintenance", ("true",), 0.03),
            ("critical", "critical", ("false",), 0.05),
        ):
            if self._may(feature, chance):
                values[name] = rng.choice(choices)
        return values

    def _operations(self, owner: str, *, promotable: bool = False) -> tuple[Element, ...]:
        rng = self._rng
        operations = []
        if rng.random() < 0.7:
            op = {"id": f"{owner}-monitor", "name": "monitor", "interval": rng.choice(("10s", "20s", "1min"))}
            if self._may("on-fail", 0.2):
                op["on-fail"] = rng.choice(("ignore", "block", "stop", "restart", "standby"))
            operations.append(element("op", op))
        if promotable and rng.random() < 0.6:
            op = {"id": f"{owner}-monitor-p", "name": "monitor", "interval": "9s", "role": "Promoted"}
            operations.append(element("op", op))
        if rng.random() < 0.2:
            op = {"id": f"{owner}-start", "name": "start", "interval": "0", "timeout": "30s"}
            operations.append(element("op", op))
        return (element("operations", None, *operations),) if operations else ()

    def _primitive(
        self,
        name: str,
        *,
        agent: tuple[str, str, str] | None = None,
        promotable: bool = False,
        plain: bool = False,
    ) -> Element:
        standard, provider, kind = agent or self._rng.choice(AGENTS)
        self.primitives.append(name)
        attributes = {"id": name, "class": standard, "type": kind}
        if provider:
            attributes["provider"] = provider
        load = {}
        if self._may("placement", 0.4):
            load = {"cpu": str(self._rng.randint(1, 3))}
        parameters = {"state": f"/run/{name}"} if kind == "Dummy" and self._rng.random() < 0.3 else {}
        return element(
            "primitive",
            attributes,
            *self._pairs("instance_attributes", name, parameters),
            *self._pairs("meta_attributes", name, {} if plain else self._meta()),
            *self._pairs("utilization", name, load),
            *self._operations(name, promotable=promotable),
        )

    def _group(self, name: str) -> Element:
        members = [self._primitive(self._id("r")) for _ in range(self._rng.randint(1, 4))]
        self.groups.append(name)
        return element("group", {"id": name}, *self._pairs("meta_attributes", name, self._meta()), *members)

    def _clone(self, *, promotable: bool) -> Element:
        rng = self._rng
        name = self._id("c")
        values = self._meta()
        values.pop("allow-migrate", None)
        for feature, key, choices, chance in (
            ("clone-max", "clone-max", ("1", "2", "3", "5"), 0.4),
            ("clone-node-max", "clone-node-max", ("1", "2"), 0.15),
            ("unique", "globally-unique", ("true", "false"), 0.25),
            ("interleave", "interleave", ("true",), 0.4),
            ("ordered", "ordered", ("true",), 0.15),
            ("notify", "notify", ("true",), 0.2),
            ("clone-min", "clone-min", ("1", "2"), 0.08),
        ):
            if self._may(feature, chance):
                values[key] = rng.choice(choices)
        if promotable:
            values["promotable"] = "true"
            if rng.random() < 0.2:
                values["promoted-max"] = rng.choice(("1", "2"))
            self.promotables.append(name)
        if not promotable and self._may("group", 0.3):
            inner = self._group(self._id("g"))
            self.groups.remove(inner.id)
        else:
            agent = STATEFUL if promotable else ("ocf", "pacemaker", "Dummy")
            inner = self._primitive(self._id("r"), agent=agent, promotable=promotable)
        self.clones.append(name)
        return element("clone", {"id": name}, *self._pairs("meta_attributes", name, values), inner)

    def _remote(self) -> Element:
        name = self._id("remote")
        self.remote_nodes.append(name)
        return self._primitive(name, agent=("ocf", "pacemaker", "remote"), plain=True)

    def _guest(self) -> Element:
        name, guest = self._id("vm"), self._id("guest")
        self.remote_nodes.append(guest)
        made = self._primitive(name, agent=("ocf", "heartbeat", "VirtualDomain"), plain=True)
        return made.with_children(
            (*self._pairs("meta_attributes", name, {"remote-node": guest}), *made.children)
        )

    def _constraints(self) -> list[Element]:
        made: list[Element] = []
        if not self.resources:
            return made
        for _ in range(self._rng.randint(0, max(2, len(self.resources)))):
            kind = self._rng.choices(("location", "colocation", "order", "ticket"), (5, 4, 4, 0.6))[0]
            if not self._may(kind, 1):
                continue
            match kind:
                case "location":
                    made.append(self._location())
                case "colocation":
                    made.append(self._colocation())
                case "order":
                    made.append(self._order())
                case _:
                    made.append(self._ticket())
        return made

    def _role(self, resource: str, chance: float) -> dict[str, str]:
        if resource in self.promotables and self._rng.random() < chance:
            return {"role": self._rng.choice(("Promoted", "Unpromoted"))}
        return {}

    def _location(self) -> Element:
        rng = self._rng
        resource = rng.choice(self.resources)
        name = self._id("loc")
        base = {"id": name, "rsc": resource}
        if self._may("discovery", 0.08):
            base["resource-discovery"] = rng.choice(("never", "exclusive"))
        if not self._may("rules", 0.3):
            node = rng.choice(self.nodes + self.remote_nodes)
            return element("rsc_location", {**base, "node": node, "score": rng.choice(SCORES)})
        rule = {"id": f"{name}-rule", "score": rng.choice(SCORES), **self._role(resource, 0.4)}
        expression = {"id": f"{name}-e", **rng.choice(_EXPRESSIONS)}
        children = [element("expression", expression)]
        if rng.random() < 0.2:
            rule["boolean-op"] = rng.choice(("and", "or"))
            children.append(element("expression", {"id": f"{name}-e2", **rng.choice(_EXPRESSIONS)}))
        return element("rsc_location", base, element("rule", rule, *children))

    def _two(self) -> tuple[str, str]:
        names = self.resources if len(self.resources) > 1 else [*self.resources, *self.resources]
        first, second = self._rng.sample(names, 2)
        return first, second

    def _colocation(self) -> Element:
        rng = self._rng
        name = self._id("col")
        if self._may("sets", 0.15) and len(self.resources) > 2:
            chosen = rng.sample(self.resources, 3)
            return element(
                "rsc_colocation",
                {"id": name, "score": rng.choice(("INFINITY", "100"))},
                self._set(name, 0, chosen[:2], "role"),
                self._set(name, 1, chosen[2:], "role"),
            )
        dependent, primary = self._two()
        values = {"id": name, "rsc": dependent, "with-rsc": primary, "score": rng.choice(SCORES)}
        for key, resource in (("rsc-role", dependent), ("with-rsc-role", primary)):
            for role in self._role(resource, 0.5).values():
                values[key] = role
        if self._may("node-attribute", 0.1):
            values["node-attribute"] = "site"
        if self._may("influence", 0.08):
            values["influence"] = "false"
        return element("rsc_colocation", values)

    def _set(self, owner: str, index: int, names: Sequence[str], word: str) -> Element:
        values = {"id": f"{owner}-set-{index}"}
        if self._rng.random() < 0.3:
            values["sequential"] = "false"
        if word == "action" and self._rng.random() < 0.15 and values.get("sequential"):
            values["require-all"] = "false"
        return element("resource_set", values, *(element("resource_ref", {"id": name}) for name in names))

    def _order(self) -> Element:
        rng = self._rng
        name = self._id("ord")
        if self._may("sets", 0.2) and len(self.resources) > 2:
            chosen = rng.sample(self.resources, 3)
            return element(
                "rsc_order",
                {"id": name, "kind": rng.choice(("Mandatory", "Optional"))},
                self._set(name, 0, chosen[:2], "action"),
                self._set(name, 1, chosen[2:], "action"),
            )
        first, then = self._two()
        values = {"id": name, "first": first, "then": then}
        if self._may("order-kinds", 0.35):
            values["kind"] = rng.choice(("Mandatory", "Optional", "Serialize"))
        if self._may("asymmetric-order", 0.15) and values.get("kind") != "Serialize":
            values["symmetrical"] = "false"
        if first in self.promotables and rng.random() < 0.5:
            values["first-action"] = rng.choice(("promote", "demote"))
            values["then-action"] = rng.choice(("start", "stop"))
        return element("rsc_order", values)

    def _ticket(self) -> Element:
        resource = self._rng.choice(self.resources)
        ticket = self._rng.choice(("ticketA", "ticketB"))
        if ticket not in self.tickets:
            self.tickets.append(ticket)
        values = {
            "id": self._id("tic"),
            "rsc": resource,
            "ticket": ticket,
            "loss-policy": self._rng.choice(("stop", "demote", "freeze")),
        }
        return element("rsc_ticket", values)

    def _status(self) -> Element:
        states = []
        for index, name in enumerate(self.nodes, 1):
            values = {"in_ccm": "true", "crmd": "online", "join": "member", "expected": "member"}
            transient = {}
            for promotable in self.promotables:
                if self._rng.random() < 0.6:
                    child = self._child_of(promotable)
                    transient[f"master-{child}"] = str(self._rng.choice((5, 10, 100)))
            states.append(
                element(
                    "node_state",
                    {"id": str(index), "uname": name, **values},
                    element(
                        "transient_attributes",
                        {"id": str(index)},
                        *self._pairs("instance_attributes", f"status-{index}", transient),
                    ),
                )
            )
        tickets = [
            element("ticket_state", {"id": ticket, "granted": "true", "last-granted": "1600000000"})
            for ticket in self.tickets
            if self._rng.random() < 0.6
        ]
        return element("status", None, *states, *([element("tickets", None, *tickets)] if tickets else []))

    def _child_of(self, clone: str) -> str:
        number = int(clone[1:])
        return f"r{number + 1}"


_EXPRESSIONS: tuple[dict[str, str], ...] = (
    {"attribute": "site", "operation": "eq", "value": "east"},
    {"attribute": "site", "operation": "ne", "value": "east"},
    {"attribute": "rank", "operation": "gt", "value": "2", "type": "number"},
    {"attribute": "rank", "operation": "lte", "value": "3", "type": "integer"},
    {"attribute": "#uname", "operation": "eq", "value": "n1"},
    {"attribute": "#kind", "operation": "eq", "value": "cluster"},
    {"attribute": "missing", "operation": "not_defined"},
    {"attribute": "rank", "operation": "defined"},
)
