"""ocf:hacluster:IPaddr: a virtual IPv4 or IPv6 address that neighbours learn of at once."""

from __future__ import annotations

import os
import socket
import time

from agents import announcement, sdk
from agents.resources.state_file import StateFile
from agents.rtnetlink import (
    ARPHRD_ETHER,
    FOREVER_S,
    IFA_F_DADFAILED,
    IFA_F_NODAD,
    IFA_F_NOPREFIXROUTE,
    IFA_F_SECONDARY,
    IFA_F_TENTATIVE,
    IFF_LOOPBACK,
    IFF_LOWER_UP,
    IFF_NOARP,
    IFF_UP,
    Address,
    Link,
    Rtnetlink,
    in_network,
)
from hacluster.vocabulary.ocf_exit import OcfExit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LABEL_CHARACTERS_MAX = 15
CARRIER_LEVEL = 10


class IPaddr(sdk.Agent):
    """Adds, checks and removes one address; parameters are named as those of heartbeat's IPaddr2."""

    name = "IPaddr"
    shortdesc = "A virtual IP address"
    longdesc = """Manages one IPv4 or IPv6 address. It is put on the interface that has a route to its
        network, or on the one given by nic. Neighbours are told by gratuitous ARP or neighbour
        advertisements: once before the start has succeeded, and some times more in the background; and again
        when a monitor finds that the interface has lost its carrier since and has it back. Monitor looks into
        the kernel's table; with OCF_CHECK_LEVEL=10 it also wants the interface to have carrier."""
    actions = (
        sdk.Action("start", "20s"),
        sdk.Action("stop", "20s"),
        sdk.Action("monitor", "20s", interval="10s", depth="0"),
        sdk.Action("monitor", "20s", interval="10s", depth="10"),
    )

    ip = sdk.Text("The address, IPv4 or IPv6, without a netmask.", required=True, unique=True)
    nic = sdk.Text("The interface. Without it the one with a route to the network of the address.")
    cidr_netmask = sdk.Text(
        "The netmask, as a prefix length (24) or in dots (255.255.255.0). Without it that of the route."
    )
    broadcast = sdk.Text("The broadcast address. Without it the usual one of the network. IPv4 only.")
    iflabel = sdk.Text("A label: the address is shown as NIC:LABEL. IPv4 only.")
    nodad = sdk.Boolean(
        """Do not wait for duplicate address detection, which takes a second or more. IPv6 only; on by
        default, since the cluster sees to it that the address is active once.""",
        default="true",
    )
    noprefixroute = sdk.Boolean("Add no route to the network together with the address.", default="false")
    preferred_lft = sdk.Text(
        "Seconds the address is preferred as a source, or forever; 0 means never. IPv6 only.",
        default="forever",
    )
    arp_count = sdk.Integer("How often neighbours are told.", default="5", reloadable=True).between(0, 1000)
    arp_interval = sdk.Integer("Milliseconds between that.", default="200", reloadable=True).between(
        1, 60_000
    )
    arp_bg = sdk.Boolean(
        "Tell them in the background from the second time on.", default="true", reloadable=True
    )

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return int(socket.AF_INET6 if ":" in self.ip else socket.AF_INET)

    @property
    def packed(self) -> bytes:
        """The address in network order."""
        return socket.inet_pton(self.family, self.ip)

    def validate(self) -> None:
        """All that can be known without looking at a node."""
        packed = _address(self.family, "ip", self.ip)
        multicast = packed[0] == 0xFF if self.family == socket.AF_INET6 else packed[0] >= 224
        if multicast or not any(packed):
            raise _wrong(f"ip: {self.ip} cannot be the address of a host")
        self._prefix()
        if self.broadcast:
            _address(int(socket.AF_INET), "broadcast", self.broadcast)
        if self.iflabel and (not self.iflabel.isprintable() or " " in self.iflabel):
            raise _wrong(f"iflabel: {self.iflabel!r} cannot be a label")
        if (
            self.nic
            and len(f"{self.nic}:{self.iflabel}" if self.iflabel else self.nic) > LABEL_CHARACTERS_MAX
        ):
            raise _wrong(f"nic and iflabel together have at most {LABEL_CHARACTERS_MAX} characters")
        if self.preferred_lft != "forever" and not self.preferred_lft.isdecimal():
            raise _wrong(f"preferred_lft: {self.preferred_lft!r} is neither a number of seconds nor forever")
        if (
            packed[:2] in (b"\xfe\x80", b"\xfe\x90", b"\xfe\xa0", b"\xfe\xb0")
            and len(packed) == 16
            and not self.nic
        ):
            raise _wrong("a link-local address needs the parameter nic")

    def check_environment(self) -> None:
        """A given interface must exist."""
        with Rtnetlink() as kernel:
            if self.nic and self._link_by_name(kernel) is None:
                raise sdk.AgentFailure(OcfExit.ERR_INSTALLED, f"there is no interface {self.nic}")

    def start(self) -> OcfExit | None:
        """Add the address and tell the neighbours."""
        with Rtnetlink() as kernel:
            links = kernel.links()
            present = self._present(kernel)
            if present is not None:
                return self._already_there(links, present)
            link, prefix = self._choose(kernel, links)
            if not link.flags & IFF_UP:
                kernel.set_up(link.index)
            kernel.add_address(
                link.index,
                self.packed,
                prefix,
                broadcast=self._broadcast(prefix),
                label=self._label(link),
                flags=self._flags(),
                preferred_s=FOREVER_S if self.preferred_lft == "forever" else int(self.preferred_lft),
            )
            self.log("INFO", f"{self.ip}/{prefix} added to {link.name}")
            if self.family == socket.AF_INET6 and not self.nodad:
                self._wait_for_uniqueness(kernel)
            self._announce(link)
            self._note_carrier(link)
        return None

    def stop(self) -> OcfExit | None:
        """Remove the address from wherever it is."""
        with Rtnetlink() as kernel:
            for address in self._all_present(kernel):
                self._keep_neighbours_of(kernel, address)
                if kernel.remove_address(address):
                    self.log("INFO", f"{self.ip} removed")
        self.carrier_file.remove()
        return None

    def monitor(self) -> OcfExit | None:
        """The kernel has the address, on an interface that is up."""
        with Rtnetlink() as kernel:
            present = self._present(kernel)
            if present is None:
                return OcfExit.NOT_RUNNING
            link = kernel.links().get(present.index)
        if link is None:
            return OcfExit.NOT_RUNNING
        if not link.flags & IFF_UP:
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"{link.name}, which has {self.ip}, is down")
        if present.flags & IFA_F_DADFAILED:
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"another machine on {link.name} has {self.ip}")
        if self.check_level >= CARRIER_LEVEL and not link.flags & IFF_LOWER_UP:
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"{link.name} has no carrier")
        if not self.is_probe:
            self._announce_after_a_heal(link)
        return OcfExit.OK

    @property
    def carrier_file(self) -> StateFile:
        """How often the interface's carrier had come and gone when neighbours were told last."""
        name = f"IPaddr-{self.instance.replace(':', '-').replace('/', '-')}.carrier"
        return StateFile(os.path.join(self.state_folder, name))

    def _announce_after_a_heal(self, link: Link) -> None:
        """A switch that was away has forgotten where the address is, and another may know it wrong."""
        before = self.carrier_file.read()
        changes = str(link.carrier_changes)
        if not link.flags & IFF_LOWER_UP or before == changes:
            return
        if before is not None:
            self.log("INFO", f"{link.name} has its carrier back: neighbours are told of {self.ip} again")
            self._announce(link)
        self._note_carrier(link)

    def _note_carrier(self, link: Link) -> None:
        try:
            self.carrier_file.write(str(link.carrier_changes))
        except OSError as error:  # no reason to fail: the address serves
            self.log("WARNING", f"{self.carrier_file.path}: {error}")

    def _prefix(self) -> int | None:
        """The given prefix length; None when the route decides."""
        text = self.cidr_netmask
        bits = 128 if self.family == socket.AF_INET6 else 32
        if not text:
            return None
        if "." in text and bits == 32:
            mask = int.from_bytes(_address(self.family, "cidr_netmask", text), "big")
            prefix = mask.bit_count()
            if mask != (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF:
                raise _wrong(f"cidr_netmask: {text} is not a netmask")
            return prefix
        if not text.isdecimal() or not 0 < int(text) <= bits:
            raise _wrong(f"cidr_netmask: {text!r} is not a prefix length from 1 to {bits}")
        return int(text)

    def _all_present(self, kernel: Rtnetlink) -> list[Address]:
        """Where the address is; with nic, there only."""
        index = None
        if self.nic:
            link = self._link_by_name(kernel)
            if link is None:
                return []
            index = link.index
        packed = self.packed
        found = (address for address in kernel.addresses(self.family) if address.local == packed)
        return [address for address in found if index in (None, address.index)]

    def _present(self, kernel: Rtnetlink) -> Address | None:
        return next(iter(self._all_present(kernel)), None)

    def _link_by_name(self, kernel: Rtnetlink) -> Link | None:
        return next((link for link in kernel.links().values() if link.name == self.nic), None)

    def _already_there(self, links: dict[int, Link], present: Address) -> OcfExit:
        link = links.get(present.index)
        if link is not None and not link.flags & IFF_UP:
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"{link.name}, which has {self.ip} already, is down")
        return OcfExit.OK

    def _choose(self, kernel: Rtnetlink, links: dict[int, Link]) -> tuple[Link, int]:
        """The interface and the prefix length: as given, else those of the most specific route.

        Routes without a gateway count, the default route does not: an address that nobody on the link
        could reach is a mistake. With nic but without a route the address stands alone (/32, /128).
        """
        packed = self.packed
        routes = [
            route
            for route in kernel.connected_routes(self.family)
            if in_network(packed, route.network, route.prefix) and route.index in links
        ]
        if self.nic:
            routes = [route for route in routes if links[route.index].name == self.nic]
        routes.sort(key=lambda route: (not route.usable, -route.prefix, route.metric, route.index))
        if routes:
            return links[routes[0].index], self._prefix() or routes[0].prefix
        if not self.nic:
            raise sdk.AgentFailure(
                OcfExit.ERR_GENERIC, f"no interface has a route to the network of {self.ip}: set nic"
            )
        for link in links.values():
            if link.name == self.nic:
                return link, self._prefix() or len(packed) * 8
        raise sdk.AgentFailure(OcfExit.ERR_INSTALLED, f"there is no interface {self.nic}")

    def _broadcast(self, prefix: int) -> bytes:
        if self.family == socket.AF_INET6:
            return b""
        if self.broadcast:
            return socket.inet_pton(socket.AF_INET, self.broadcast)
        if prefix > 30:
            return b""
        hosts = (1 << (32 - prefix)) - 1
        return (int.from_bytes(self.packed, "big") | hosts).to_bytes(4, "big")

    def _label(self, link: Link) -> str:
        if not self.iflabel or self.family == socket.AF_INET6:
            return ""
        label = f"{link.name}:{self.iflabel}"
        if len(label) > LABEL_CHARACTERS_MAX:
            raise sdk.AgentFailure(
                OcfExit.ERR_ARGS, f"the label {label} has more than {LABEL_CHARACTERS_MAX} characters"
            )
        return label

    def _flags(self) -> int:
        flags = IFA_F_NOPREFIXROUTE if self.noprefixroute else 0
        if self.family == socket.AF_INET6 and self.nodad:
            flags |= IFA_F_NODAD
        return flags

    def _keep_neighbours_of(self, kernel: Rtnetlink, address: Address) -> None:
        """The first address of a network takes the others with it, unless the kernel promotes one of them."""
        if address.flags & IFA_F_SECONDARY or self.family == socket.AF_INET6:
            return
        others = (
            one
            for one in kernel.addresses(self.family)
            if one.index == address.index
            and one.flags & IFA_F_SECONDARY
            and in_network(one.local, address.local, address.prefix)
        )
        if next(others, None) is None:
            return
        link = kernel.links().get(address.index)
        path = f"/proc/sys/net/ipv4/conf/{link.name if link else ''}/promote_secondaries"
        try:
            with open(path, "w") as file:
                file.write("1\n")
        except OSError as error:
            self.log("WARNING", f"other addresses of this network may go with {self.ip}: {path}: {error}")

    def _wait_for_uniqueness(self, kernel: Rtnetlink) -> None:
        """Duplicate address detection has ended well; otherwise the address is taken back."""

        def decided() -> bool:
            present = self._present(kernel)
            return (
                present is None
                or not present.flags & IFA_F_TENTATIVE
                or bool(present.flags & IFA_F_DADFAILED)
            )

        self.wait(decided, "duplicate address detection", step_ms=20)
        present = self._present(kernel)
        if present is None or present.flags & IFA_F_DADFAILED:
            if present is not None:
                kernel.remove_address(present)
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"another machine has {self.ip}")

    def _announce(self, link: Link) -> None:
        """Once now. The rest in the background, and only for as long as the address stays."""
        silent = link.flags & (IFF_LOOPBACK | IFF_NOARP) or link.hardware != ARPHRD_ETHER
        if silent or self.arp_count == 0:
            return
        try:
            send = self._sender(link)
            send()
        except OSError as error:  # no reason to keep the address from serving
            self.log("WARNING", f"neighbours on {link.name} were not told of {self.ip}: {error}")
            return
        if self.arp_bg:
            self.later = self._go_on(link, send)
            return
        for pause_s in self._go_on(link, send):
            time.sleep(pause_s)

    def _go_on(self, link: Link, send: sdk.Test) -> Iterator[float]:
        """Announce as often as wanted, and only for as long as the address stays."""
        try:
            for _ in range(self.arp_count - 1):
                yield self.arp_interval / 1000
                with Rtnetlink() as kernel:
                    if self._present(kernel) is None:
                        return
                send()
            yield self.arp_interval / 1000  # whoever closes the socket may wait, but not now
        except OSError as error:
            self.log("WARNING", f"neighbours on {link.name} were told of {self.ip} less often: {error}")

    def _sender(self, link: Link) -> sdk.Test:
        """What sends one announcement."""
        packed = self.packed
        if self.family == socket.AF_INET6:
            router = _forwards(link.name)
            return lambda: announcement.send_advertisement(link.index, link.mac, packed, router=router)
        arp = announcement.ArpSender(link.name)
        return lambda: arp.send(link.mac, packed)


def _forwards(interface: str) -> bool:
    """A router must say so in its advertisements, or hosts stop using it."""
    try:
        with open(f"/proc/sys/net/ipv6/conf/{interface}/forwarding") as file:
            return file.read().strip() == "1"
    except OSError:
        return False


def _address(family: int, parameter: str, text: str) -> bytes:
    try:
        return socket.inet_pton(family, text)
    except OSError:
        kind = "IPv6" if family == socket.AF_INET6 else "IPv4"
        raise _wrong(f"{parameter}: {text!r} is not an {kind} address") from None


def _wrong(reason: str) -> sdk.AgentFailure:
    return sdk.AgentFailure(OcfExit.ERR_CONFIGURED, f"parameter {reason}")


AGENT = IPaddr
