"""Random CIBs with the features of the scheduler, from a seed. Pure but for the generator inside."""

from __future__ import annotations

from collections.abc import Mapping

from crm.cib.model import Element, element
from tests.differential.draw import Draw, nvset
from tests.differential.random_constraints import RandomConstraints
from tests.differential.random_resources import RandomResources
from tests.differential.random_rules import RandomRules

NOW_S = 1_700_000_000
SITES = ("east", "west")
_NAMES = (
    tuple(f"n{number}" for number in range(1, 9)),
    ("node1", "node2", "node10", "node11", "node3", "Node4", "b7", "alpha"),
)
_OPTIONS = (
    ("quorum-policy", "no-quorum-policy", ("stop", "ignore", "freeze", "demote", "suicide"), 0.9),
    ("asymmetric", "symmetric-cluster", ("false",), 0.35),
    ("placement", "placement-strategy", ("utilization", "minimal", "balanced"), 0.9),
    ("health", "node-health-strategy", ("migrate-on-red", "only-green", "progressive", "custom"), 0.9),
    ("health", "node-health-base", ("10", "0"), 0.3),
    ("health", "node-health-green", ("10", "100"), 0.3),
    ("health", "node-health-yellow", ("-5", "-1000"), 0.3),
    ("health", "node-health-red", ("-100", "-INFINITY"), 0.3),
    ("maintenance-mode", "maintenance-mode", ("true",), 0.1),
    ("startup-probes", "enable-startup-probes", ("false",), 0.15),
    ("stop-all", "stop-all-resources", ("true",), 0.08),
    ("fatal", "start-failure-is-fatal", ("false",), 0.5),
    ("orphans", "stop-orphan-resources", ("false",), 0.3),
    ("orphans", "stop-orphan-actions", ("false",), 0.3),
    ("startup-fencing", "startup-fencing", ("false",), 0.4),
    ("watchdog", "have-watchdog", ("true",), 0.3),
    ("shutdown-lock", "shutdown-lock", ("true",), 0.9),
    ("shutdown-lock", "shutdown-lock-limit", ("5min", "10s"), 0.4),
    ("priority-delay", "priority-fencing-delay", ("15s",), 0.8),
    ("fence-action", "stonith-action", ("off", "reboot"), 0.5),
    ("cluster-name", "cluster-name", ("lab",), 0.7),
    ("migration-limit", "migration-limit", ("2",), 0.4),
)


class RandomCib:
    """Builds one document: cluster nodes are members, mostly, and there is no history yet."""

    def __init__(self, seed: int, share: float | None = None) -> None:
        self.draw = Draw(seed, share)
        self.nodes: list[str] = []
        self.tickets: list[str] = []

    def build(self) -> Element:
        """The document."""
        draw = self.draw
        rules = RandomRules(draw)
        self.nodes = list(draw.pick(_NAMES)[: draw.number(1, 8)])
        fencing = draw.on("fencing")
        devices = fencing and not draw.chance(0.05)
        resources = RandomResources(draw, rules, self.nodes)
        section = resources.build(draw.number(1, 20), fencing=devices)
        constraints = RandomConstraints(draw, rules, self.nodes, resources.made)
        constraint_section = constraints.build()
        self.tickets = constraints.tickets
        made = resources.made
        nodes = [self._node(index, name) for index, name in enumerate(self.nodes, 1)]
        nodes += [self._remote_node(name) for name in (*made.remotes, *made.guests) if draw.chance(0.4)]
        tags = (
            element("tag", {"id": tag}, *(element("obj_ref", {"id": name}) for name in names))
            for tag, names in constraints.tags.items()
        )
        configuration = element(
            "configuration",
            None,
            self._options(fencing, rules),
            element("nodes", None, *nodes),
            section,
            constraint_section,
            *self._defaults(rules),
            *((self._topology(made.fences),) if made.fences and draw.may("topology", 0.6) else ()),
            *((element("tags", None, *tags),) if constraints.tags else ()),
        )
        attributes = {
            "validate-with": "pacemaker-3.9",
            "crm_feature_set": "3.16.1",
            "have-quorum": "0" if draw.may("no-quorum", 0.3) else "1",
            "admin_epoch": "0",
            "epoch": "1",
            "num_updates": "0",
            "execution-date": str(NOW_S),
            "dc-uuid": "1",
        }
        if attributes["have-quorum"] == "0" and draw.chance(0.3):
            attributes["no-quorum-panic"] = "1"
        return element("cib", attributes, configuration, self._status(made.promotable))

    def _options(self, fencing: bool, rules: RandomRules) -> Element:
        draw = self.draw
        values = {
            "stonith-enabled": "true" if fencing else "false",
            "concurrent-fencing": draw.pick(("true", "true", "false")),  # the default has changed
            "fence-remote-without-quorum": "true",  # what 2.1.5 does, which does not know the option
            **draw.values(_OPTIONS),
        }
        sets = [nvset("cluster_property_set", "cib-bootstrap-options", values)]
        if draw.may("option-rules", 0.2):
            name = draw.id("options")
            more = {"no-quorum-policy": "freeze"}
            sets.append(nvset("cluster_property_set", name, more, rules.date_rule(name)))
        return element("crm_config", None, *sets)

    def _node(self, index: int, name: str) -> Element:
        draw = self.draw
        values = {
            "site": draw.pick(SITES),
            "rank": str(draw.number(0, 5)),
            "release": f"1.{draw.number(1, 12)}",
        }
        values |= draw.values(
            (
                ("standby", "standby", ("on", "off"), 0.2),
                ("maintenance-node", "maintenance", ("true",), 0.12),
                ("health", "#health-disk", ("red", "yellow", "green", "-10"), 0.4),
                ("health", "#health-cpu", ("yellow", "green", "5"), 0.2),
                ("site-name", "site-name", ("lab", "other"), 0.3),
            )
        )
        attributes = {"id": str(index), "uname": name}
        if draw.may("node-score", 0.2):
            attributes["score"] = draw.pick(("100", "-100", "-INFINITY"))
        return element(
            "node",
            attributes,
            *draw.pairs("instance_attributes", f"node-{name}", values),
            *self._capacity(name),
        )

    def _capacity(self, name: str) -> tuple[Element, ...]:
        draw = self.draw
        if not draw.may("placement", 0.85):
            return ()
        values = {"cpu": str(draw.number(1, 8)), "memory": str(draw.number(512, 4096))}
        return draw.pairs("utilization", f"node-{name}", values)

    def _remote_node(self, name: str) -> Element:
        draw = self.draw
        values = {"site": draw.pick(SITES), "rank": str(draw.number(0, 5))}
        values |= draw.values(
            (
                ("standby", "standby", ("on",), 0.15),
                ("maintenance-node", "maintenance", ("true",), 0.1),
                ("discovery-off", "resource-discovery-enabled", ("false",), 0.3),
            )
        )
        return element(
            "node",
            {"id": name, "uname": name, "type": "remote"},
            *draw.pairs("instance_attributes", f"node-{name}", values),
            *self._capacity(name),
        )

    def _defaults(self, rules: RandomRules) -> list[Element]:
        draw = self.draw
        made = []
        values: Mapping[str, str] = draw.values(
            (
                ("default-stickiness", "resource-stickiness", ("0", "1", "100", "INFINITY"), 0.7),
                ("default-threshold", "migration-threshold", ("1", "2", "3"), 0.5),
                ("default-failure-timeout", "failure-timeout", ("2min",), 0.4),
                ("default-migrate", "allow-migrate", ("true",), 0.4),
            )
        )
        sets = list(draw.pairs("meta_attributes", "rsc-options", values))
        if draw.may("default-rules", 0.6):
            name = draw.id("rsc-options-r")
            more = {draw.pick(("resource-stickiness", "priority")): "7"}
            sets.append(nvset("meta_attributes", name, more, rules.resource_rule(name)))
        if sets:
            made.append(element("rsc_defaults", None, *sets))
        if draw.may("op-defaults", 0.6):
            name = draw.id("op-options")
            rule = (rules.operation_rule(name),) if draw.chance(0.5) else ()
            more = {draw.pick(("timeout", "on-fail")): ""}
            for key in more:
                more[key] = {"timeout": "45s"}.get(key, draw.pick(("block", "ignore", "restart")))
            made.append(element("op_defaults", None, nvset("meta_attributes", name, more, *rule)))
        return made

    def _topology(self, fences: list[str]) -> Element:
        draw = self.draw
        levels = []
        for index, device in enumerate(fences, 1):
            target = draw.pick(({"target": self.nodes[0]}, {"target-pattern": "n.*"}))
            values = {"id": draw.id("fl"), **target, "index": str(index), "devices": device}
            levels.append(element("fencing-level", values))
        return element("fencing-topology", None, *levels)

    def _status(self, promotable: Mapping[str, str]) -> Element:
        draw = self.draw
        states = []
        for index, name in enumerate(self.nodes, 1):
            if index > 1 and draw.may("unseen-nodes", 0.1):
                continue
            transient = {}
            for child in promotable.values():
                if draw.chance(0.6):
                    transient[f"master-{child}"] = draw.pick(("5", "10", "100", "-1"))
                elif draw.may("unique", 0.5):
                    transient[f"master-{child}:{draw.number(0, 2)}"] = draw.pick(("5", "10", "100"))
            if draw.may("unfencing", 0.6):
                transient["#node-unfenced"] = str(NOW_S - 5000)
            values = {"in_ccm": "true", "crmd": "online", "join": "member", "expected": "member"}
            attributes = draw.pairs("instance_attributes", f"status-{index}", transient)
            states.append(
                element(
                    "node_state",
                    {"id": str(index), "uname": name, **values},
                    element("transient_attributes", {"id": str(index)}, *attributes),
                )
            )
        granted = [
            element(
                "ticket_state",
                {"id": ticket, "granted": "true", "last-granted": "1600000000"}
                | ({"standby": "true"} if draw.chance(0.2) else {}),
            )
            for ticket in self.tickets
            if draw.chance(0.7)
        ]
        return element("status", None, *states, *((element("tickets", None, *granted),) if granted else ()))
