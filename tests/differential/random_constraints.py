"""Random constraints between the resources of one CIB: of all four kinds, and of sets."""

from __future__ import annotations

from crm.cib.model import Element, element
from tests.differential.draw import Draw
from tests.differential.random_resources import Inventory
from tests.differential.random_rules import SCORES, RandomRules

TICKETS = ("ticketA", "ticketB")


class RandomConstraints:
    """The constraints section of one CIB, and the tickets it names."""

    def __init__(self, draw: Draw, rules: RandomRules, nodes: list[str], made: Inventory) -> None:
        self._draw, self._rules, self._made = draw, rules, made
        self._nodes = [*nodes, *made.remotes, *made.guests]
        self.tags: dict[str, list[str]] = {}
        self.tickets: list[str] = []
        if draw.may("tags", 0.8) and made.top:
            self.tags = {"tag-one": draw.some(made.top, 2), "tag-two": draw.some(made.top, 3)}

    def build(self) -> Element:
        """Up to one and a half constraints a resource."""
        draw, made = self._draw, self._made
        constraints: list[Element] = []
        if draw.on("asymmetric"):  # where nothing may run without being told, tell most of them
            constraints.extend(
                self._simple_location(name, draw.pick(("0", "50", "INFINITY")))
                for name in made.top
                if draw.chance(0.7)
            )
        for _ in range(draw.number(0, max(2, len(made.top) * 3 // 2))):
            kind = draw.rng.choices(("location", "colocation", "order", "ticket"), (5, 4, 4, 1))[0]
            if not draw.on(kind):
                continue
            constraints.append(
                {
                    "location": self._location,
                    "colocation": self._colocation,
                    "order": self._order,
                    "ticket": self._ticket,
                }[kind]()
            )
        return element("constraints", None, *constraints)

    def _name(self) -> str:
        """A resource to constrain: mostly a top-level one."""
        draw, made = self._draw, self._made
        if made.members and draw.may("member-constraints", 0.2):
            return draw.pick(made.members)
        if made.templates and draw.may("template-constraints", 0.3):
            return draw.pick(list(made.templates))
        if self.tags and draw.chance(0.15):
            return draw.pick(list(self.tags))
        if made.fences and draw.may("fence-constraints", 0.1):
            return draw.pick(made.fences)
        return draw.pick(made.top)

    def _two(self) -> tuple[str, str]:
        for _ in range(5):
            first, second = self._name(), self._name()
            special = {**self.tags, **self._made.templates}
            both = first in special and second in special
            # nothing is related to itself or its own members: 2.1.5 may stop at an assertion
            if not both and not (
                self._all_in(special.get(first, [first])) & self._all_in(special.get(second, [second]))
            ):
                return first, second
        return (self._made.top * 2)[0], (self._made.top * 2)[1]

    def _all_in(self, names: list[str]) -> set[str]:
        return {one for name in names for one in self._made.inside.get(name, {name})}

    def _role(self, name: str, key: str, chance: float) -> dict[str, str]:
        if name in self._made.promotable and self._draw.chance(chance):
            return {
                key: self._draw.pick(("Promoted", "Promoted", "Unpromoted", "Master", "Slave", "Started"))
            }
        return {}

    def _simple_location(self, resource: str, score: str) -> Element:
        values = {"id": self._draw.id("loc"), "rsc": resource}
        return element("rsc_location", {**values, "node": self._draw.pick(self._nodes), "score": score})

    def _location(self) -> Element:
        draw = self._draw
        name, resource = draw.id("loc"), self._name()
        base = {"id": name}
        sets: tuple[Element, ...] = ()
        role = self._role(resource, "role", 0.4)
        if draw.may("location-sets", 0.3):
            sets = (self._set(name, 0, draw.some(self._made.top, 2), "location"),)
            role = {}
        elif draw.may("patterns", 0.3):
            base["rsc-pattern"] = draw.pick(("r.*", "^[gc][0-9]+$", ".*1$", "(vm|remote)(.*)"))
            role = {}
        else:
            base["rsc"] = resource
        if draw.may("discovery", 0.3):
            base["resource-discovery"] = draw.pick(("never", "exclusive", "always"))
        if not draw.may("rules", 0.5):
            if draw.may("location-roles", 0.2) and not role and not sets:
                role = {"role": "Stopped"} if draw.chance(0.2) else {"role": "Started"}
            values = {**base, **role, "node": draw.pick(self._nodes), "score": self._location_score(resource)}
            return element("rsc_location", values, *sets)
        given = {"score": self._location_score(resource)}
        if draw.may("score-attribute", 0.2):
            given = {"score-attribute": draw.pick(("rank", "missing", "site"))}
        count = 2 if draw.may("many-rules", 0.2) else 1
        rules = [self._rules.node_rule(name, {**given, **role}) for _ in range(count)]
        return element("rsc_location", base, *sets, *rules)

    def _location_score(self, resource: str) -> str:
        """Any; what runs on many nodes is mostly kept away from some."""
        draw, made = self._draw, self._made
        many = resource in made.clones or resource in made.bundles
        return "-INFINITY" if many and draw.chance(0.6) else draw.pick(SCORES)

    def _colocation_score(self) -> str:
        """Mostly mandatory."""
        draw = self._draw
        return draw.pick(SCORES) if draw.chance(0.4) else draw.pick(("INFINITY", "INFINITY", "-INFINITY"))

    def _colocation(self) -> Element:
        draw = self._draw
        name = draw.id("col")
        if draw.may("colocation-sets", 0.35) and len(self._made.top) > 2:
            chosen = draw.some(self._made.top, draw.number(3, 5))
            values = {"id": name, "score": draw.pick(("INFINITY", "INFINITY", "100", "-INFINITY"))}
            return element("rsc_colocation", values, *self._sets(name, chosen, "colocation"))
        dependent, primary = self._two()
        values = {"id": name, "rsc": dependent, "with-rsc": primary, "score": self._colocation_score()}
        values |= self._role(dependent, "rsc-role", 0.5)
        values |= self._role(primary, "with-rsc-role", 0.5)
        if draw.may("node-attribute", 0.2):
            values["node-attribute"] = draw.pick(("site", "missing"))
        if draw.may("influence", 0.3):
            values["influence"] = draw.pick(("false", "true"))
        return element("rsc_colocation", values)

    def _sets(self, owner: str, chosen: list[str], kind: str) -> list[Element]:
        cut = self._draw.number(1, len(chosen))
        parts = [part for part in (chosen[:cut], chosen[cut:]) if part]
        return [self._set(owner, index, part, kind) for index, part in enumerate(parts)]

    def _set(self, owner: str, index: int, names: list[str], kind: str) -> Element:
        draw = self._draw
        values = {"id": f"{owner}-set-{index}"}
        if kind in {"order", "colocation"} and draw.chance(0.4):
            values["sequential"] = draw.pick(("false", "true"))
        all_promotable = all(name in self._made.promotable for name in names)
        if kind == "order":
            if draw.may("require-all", 0.3) and values.get("sequential") == "false":
                values["require-all"] = "false"
            if draw.may("set-actions", 0.2):
                values["action"] = draw.pick(("promote", "demote") if all_promotable else ("start", "stop"))
            if draw.may("set-kinds", 0.15):
                values["kind"] = draw.pick(("Optional", "Mandatory", "Serialize"))
        elif all_promotable and draw.chance(0.5):
            values["role"] = draw.pick(("Promoted", "Unpromoted"))
        if kind == "colocation" and draw.may("set-scores", 0.15):
            values["score"] = draw.pick(("50", "INFINITY"))
        references = (element("resource_ref", {"id": name}) for name in names)
        return element("resource_set", values, *references)

    def _order(self) -> Element:
        draw = self._draw
        name = draw.id("ord")
        values = {"id": name}
        if draw.may("order-kinds", 0.6):
            values["kind"] = draw.pick(("Mandatory", "Optional", "Serialize"))
        elif draw.may("order-scores", 0.2):
            values["score"] = draw.pick(("0", "100", "INFINITY"))
        if draw.may("asymmetric-order", 0.3) and values.get("kind") != "Serialize":
            values["symmetrical"] = draw.pick(("false", "false", "true"))
        if draw.may("order-sets", 0.35) and len(self._made.top) > 2:
            chosen = draw.some(self._made.top, draw.number(3, 5))
            return element("rsc_order", values, *self._sets(name, chosen, "order"))
        first, then = self._two()
        values |= {"first": first, "then": then}
        if first in self._made.promotable and draw.chance(0.5):
            values["first-action"] = draw.pick(("promote", "demote", "promote"))
            values["then-action"] = draw.pick(("start", "stop", "start"))
        elif then in self._made.promotable and draw.chance(0.3):
            values["then-action"] = "promote"
        elif draw.may("order-actions", 0.2):
            values["first-action"] = draw.pick(("start", "stop"))
            values["then-action"] = draw.pick(("start", "stop"))
        if draw.may("require-all", 0.25):
            values["require-all"] = "false"
        return element("rsc_order", values)

    def _ticket(self) -> Element:
        draw = self._draw
        ticket = draw.pick(TICKETS)
        if ticket not in self.tickets:
            self.tickets.append(ticket)
        name, resource = draw.id("tic"), self._name()
        policy = draw.pick(("stop", "demote", "fence", "freeze"))
        values = {"id": name, "ticket": ticket}
        if draw.chance(0.8):
            values["loss-policy"] = policy
        if draw.may("ticket-sets", 0.3):
            return element("rsc_ticket", values, self._set(name, 0, draw.some(self._made.top, 2), "ticket"))
        return element("rsc_ticket", {**values, "rsc": resource, **self._role(resource, "rsc-role", 0.5)})
