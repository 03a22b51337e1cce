"""ocf:hacluster:Route: one static route that is there where the resource runs."""

from __future__ import annotations

from agents import iproute, sdk
from hacluster.vocabulary.ocf_exit import OcfExit


class Route(sdk.Agent):
    """`ip route add` and `del`; parameters are named as those of heartbeat's agent."""

    name = "Route"
    shortdesc = "A static route"
    longdesc = """Manages one route to a network or host, by a gateway, an interface, or both. A route to the
        same network that leads elsewhere is replaced, and is not given back."""

    destination = sdk.Text("The network or host, as ADDRESS[/BITS], or default.", required=True)
    device = sdk.Text("The interface.")
    gateway = sdk.Text("The gateway.")
    source = sdk.Text("The source address of packets that take it.")
    table = sdk.Text("The routing table, a number or a name.")
    metric = sdk.Integer("Its metric: of several routes the lowest is taken. 0 leaves that to the kernel.")
    kind = sdk.Text(
        "unreachable, blackhole or prohibit: packets are refused.",
        options=("unicast", "unreachable", "blackhole", "prohibit"),
        default="unicast",
    )

    @property
    def family(self) -> str:
        """As ip(8) has it."""
        return iproute.family_of(self.destination + self.gateway)

    def validate(self) -> None:
        """Where it leads must be said."""
        if self.kind == "unicast" and not (self.device or self.gateway):
            raise sdk.AgentFailure(
                OcfExit.ERR_CONFIGURED, "one of the parameters device and gateway is needed"
            )
        if self.kind != "unicast" and (self.device or self.gateway):
            raise sdk.AgentFailure(
                OcfExit.ERR_CONFIGURED, f"a {self.kind} route has no device and no gateway"
            )

    def start(self) -> OcfExit | None:
        """Add it, or replace one that leads elsewhere."""
        if not self._is_there():
            iproute.run(self.family, "route", "replace", *self._words())
        return None

    def stop(self) -> OcfExit | None:
        """Remove it; another one to the same network is left alone."""
        if self._is_there():
            iproute.run(self.family, "route", "del", *self._words())
        return None

    def monitor(self) -> OcfExit | None:
        """It is in the kernel's table."""
        return OcfExit.OK if self._is_there() else OcfExit.NOT_RUNNING

    def _words(self) -> list[str]:
        words = [] if self.kind == "unicast" else [self.kind]
        words.append(self.destination)
        given = (
            ("via", self.gateway),
            ("dev", self.device),
            ("src", self.source),
            ("metric", str(self.metric) if self.metric else ""),
            ("table", self.table),
        )
        for word, value in given:
            words += [word, value] if value else []
        return words

    def _is_there(self) -> bool:
        table = ("table", self.table) if self.table else ()
        for route in iproute.routes(self.family, "exact", self.destination, *table):
            wanted = (
                ("gateway", self.gateway),
                ("dev", self.device),
                ("prefsrc", self.source),
                ("metric", self.metric or ""),
                ("type", "" if self.kind == "unicast" else self.kind),
            )
            if all(not value or route.get(name) == value for name, value in wanted):
                return True
        return False


AGENT = Route
