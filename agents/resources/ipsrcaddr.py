"""ocf:hacluster:IPsrcaddr: the source address of what this node sends by its routes."""

from __future__ import annotations

import os
import socket

from agents import iproute, sdk
from agents.resources.state_file import StateFile
from agents.rtnetlink import Rtnetlink
from hacluster.vocabulary.ocf_exit import OcfExit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEFAULTS = frozenset({"", "0.0.0.0/0", "::/0", "default"})


class IPsrcaddr(sdk.Agent):
    """Sets `src` of one route; parameters are named as those of heartbeat's agent."""

    name = "IPsrcaddr"
    shortdesc = "The preferred source address"
    longdesc = """Makes an address of this node the source of packets that leave by one route, the default
        route unless told otherwise. The address has to be there: put it after an IPaddr in a group. Stop
        gives the route back as it was, also when the kernel has taken it away together with the address."""

    ipaddress = sdk.Text("The source address.", required=True)
    destination = sdk.Text("The network of the route, as ADDRESS/BITS.", default="0.0.0.0/0")
    table = sdk.Text("The routing table, a number or a name.")

    @property
    def file(self) -> StateFile:
        """The route as it was."""
        name = f"IPsrcaddr-{self.instance.replace('/', '-')}.state"
        return StateFile(os.path.join(self.state_folder, name))

    @property
    def family(self) -> str:
        """As ip(8) has it."""
        return iproute.family_of(self.ipaddress)

    def validate(self) -> None:
        """The address must be one."""
        kind = socket.AF_INET6 if self.family == "-6" else socket.AF_INET
        try:
            socket.inet_pton(kind, self.ipaddress)
        except OSError:
            text = f"parameter ipaddress: {self.ipaddress!r} is not an address"
            raise sdk.AgentFailure(OcfExit.ERR_CONFIGURED, text) from None

    def start(self) -> OcfExit | None:
        """Set the source address."""
        route = self._route()
        if route is not None and route.get("prefsrc") == self.ipaddress:
            return None
        if route is None:
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"there is no route to {self._selector()}")
        if not self._is_ours():
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"{self.ipaddress} is no address of this node")
        self.file.write(" ".join(_words(route, route.get("prefsrc", ""))) + "\n")
        self._replace(_words(route, self.ipaddress))
        return None

    def stop(self) -> OcfExit | None:
        """Give the route back as it was."""
        route, before = self._route(), self.file.read()
        changed = route is not None and route.get("prefsrc") == self.ipaddress
        lost = route is None and before is not None
        if changed or lost:
            assert route is not None or before is not None
            words = before.split() if before is not None else _words(route or {}, "")
            try:
                self._replace(words)
            except sdk.AgentFailure as failure:
                if changed:
                    raise
                self.log(
                    "WARNING", f"the route that went with its address cannot come back: {failure.reason}"
                )
        self.file.remove()
        return None

    def monitor(self) -> OcfExit | None:
        """The route has this source."""
        route = self._route()
        if route is not None and route.get("prefsrc") == self.ipaddress:
            return OcfExit.OK
        return OcfExit.NOT_RUNNING

    def _selector(self) -> str:
        return "default" if self.destination in _DEFAULTS else self.destination

    def _table(self) -> tuple[str, ...]:
        return ("table", self.table) if self.table else ()

    def _route(self) -> dict[str, Any] | None:
        found = iproute.routes(self.family, "exact", self._selector(), *self._table())
        return found[0] if found else None

    def _is_ours(self) -> bool:
        kind = socket.AF_INET6 if self.family == "-6" else socket.AF_INET
        packed = socket.inet_pton(kind, self.ipaddress)
        with Rtnetlink() as kernel:
            return any(address.local == packed for address in kernel.addresses(int(kind)))

    def _replace(self, words: list[str]) -> None:
        iproute.run(self.family, "route", "replace", *words, *self._table())


def _words(route: dict[str, Any], source: str) -> list[str]:
    """The route as `ip route replace` reads it, with another source."""
    words = [str(route["dst"])]
    for name, word in (("gateway", "via"), ("dev", "dev"), ("protocol", "proto"), ("metric", "metric")):
        if name in route:
            words += [word, str(route[name])]
    if route.get("scope") not in (None, "global"):
        words += ["scope", str(route["scope"])]
    return [*words, "src", source] if source else words


AGENT = IPsrcaddr
