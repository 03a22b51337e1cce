"""ocf:hacluster:ping: how many hosts this node reaches, as an attribute for location rules."""

from __future__ import annotations

import os
import select
import socket
import struct
import time

from agents import sdk
from agents.node_attributes import publish
from agents.resources.state_file import StateFile
from hacluster.vocabulary.ocf_exit import OcfExit

_ECHO, _ECHO_REPLY = 8, 0
_ECHO6, _ECHO6_REPLY = 128, 129
_HEADER = struct.Struct("!BBHHH")
_IPV4_HEADER_MIN = 20


class Ping(sdk.Agent):
    """Asks all hosts at once; parameters are named as those of pacemaker's ping."""

    name = "ping"
    shortdesc = "Connectivity of a node, as an attribute"
    longdesc = """Asks hosts by ICMP, all at once, and keeps the number of those that answer, times
        multiplier, as a transient attribute of its node. Run it as a clone, and let a location rule want the
        attribute. With failure_score it fails while the attribute is lower."""
    actions = (
        sdk.Action("start", "60s"),
        sdk.Action("stop", "20s"),
        sdk.Action("monitor", "60s", interval="10s", depth="0"),
        sdk.Action("reload-agent", "60s"),
    )

    host_list = sdk.Text("Hosts, by address or name, separated by blanks.", required=True, reloadable=True)
    name_ = sdk.Text("The attribute's name.", default="pingd")
    name_.name = "name"
    multiplier = sdk.Integer("What each host that answers is worth.", default="1", reloadable=True)
    attempts = sdk.Integer("How often a host is asked.", default="3", reloadable=True).between(1, 100)
    timeout = sdk.Duration("How long an answer may take.", default="2s", reloadable=True)
    dampen = sdk.Duration("How long the cluster waits for more changes.", default="5s", reloadable=True)
    failure_score = sdk.Integer(
        "Below this value of the attribute monitor fails.", default="0", reloadable=True
    )

    @property
    def file(self) -> StateFile:
        """The state file of this instance."""
        return StateFile(os.path.join(self.state_folder, f"ping-{self.instance.replace('/', '-')}.state"))

    def start(self) -> OcfExit | None:
        """Ask, and keep the first value."""
        self.file.write("started\n")
        return self._ask()

    def stop(self) -> OcfExit | None:
        """The attribute is removed."""
        if self.file.read() is not None:
            self.file.remove()
            publish(self, {self.name_: None}, self.dampen)
        return None

    def monitor(self) -> OcfExit | None:
        """Ask again."""
        if self.file.read() is None:
            return OcfExit.NOT_RUNNING
        return OcfExit.OK if self.is_probe else self._ask()

    def reload_agent(self) -> OcfExit | None:
        """Take over the new parameters."""
        return self.monitor() if self.file.read() is None else self._ask()

    def _ask(self) -> OcfExit:
        hosts = self.host_list.split()
        limit_ms = max((self.remaining_ms() - 1_000) // self.attempts, 50)
        reached = reachable(hosts, attempts=self.attempts, timeout_ms=min(self.timeout, limit_ms))
        for host in hosts:
            if host not in reached:
                self.log("WARNING", f"{host} does not answer")
        score = len(reached) * self.multiplier
        publish(self, {self.name_: str(score)}, self.dampen)
        if score < self.failure_score:
            raise sdk.AgentFailure(
                OcfExit.ERR_GENERIC, f"{self.name_} is {score}, below {self.failure_score}"
            )
        return OcfExit.OK


def reachable(hosts: list[str], *, attempts: int, timeout_ms: int) -> set[str]:
    """The hosts that answer, each asked until it does."""
    left = dict(_resolved(hosts, timeout_ms * attempts))
    found: set[str] = set()
    with _Asker() as asker:
        for attempt in range(attempts):
            if not left:
                break
            for family, address in left.values():
                asker.send(family, address, attempt)
            until = time.monotonic() + timeout_ms / 1000
            while left and (rest := until - time.monotonic()) > 0:
                for answered in asker.receive(rest):
                    for host in [h for h, (_, address) in left.items() if address == answered]:
                        found.add(host)
                        del left[host]
    return found


def _resolved(hosts: list[str], limit_ms: int) -> list[tuple[str, tuple[int, str]]]:
    """Names that cannot be resolved do not answer. Nor do those of a name server that does not, in time."""
    known: dict[str, tuple[int, str]] = {}

    def resolve(host: str) -> None:
        try:
            family, _, _, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)[0]
        except OSError:
            return
        known[host] = (int(family), str(address[0]))

    names = []
    for host in hosts:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            socket.inet_pton(family, host)
        except OSError:
            names.append(host)
            continue
        known[host] = (int(family), host)
    if names:
        import threading  # names are seldom used here: an address needs no server

        threads = [threading.Thread(target=resolve, args=(name,), daemon=True) for name in names]
        until = time.monotonic() + limit_ms / 1000
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0))
    return [(host, address) for host, address in list(known.items())]


class _Asker:
    """One raw socket for each family; replies to others' questions are told apart by the identifier."""

    def __init__(self) -> None:
        self._identifier = os.getpid() & 0xFFFF
        self._sockets: dict[int, socket.socket] = {}

    def __enter__(self) -> _Asker:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets.values():
            one.close()

    def send(self, family: int, address: str, sequence: int) -> None:
        """One question. An unreachable network is no answer, not an error."""
        six = family == socket.AF_INET6
        if family not in self._sockets:
            protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
            self._sockets[family] = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
        kind = _ECHO6 if six else _ECHO
        body = b"hacluster ping  "
        packet = _HEADER.pack(kind, 0, 0, self._identifier, sequence) + body
        if not six:  # the kernel counts ICMPv6's checksum itself
            packet = _HEADER.pack(kind, 0, _checksum(packet), self._identifier, sequence) + body
        try:
            self._sockets[family].sendto(packet, (address, 0))
        except OSError:
            return

    def receive(self, within_s: float) -> list[str]:
        """Who has answered; waits for the first."""
        ready, _, _ = select.select(list(self._sockets.values()), [], [], within_s)
        found = []
        for one in ready:
            while True:
                try:
                    data, source = one.recvfrom(2048)
                except OSError:
                    break
                at = 0 if one.family == socket.AF_INET6 else (data[0] & 0xF) * 4 if data else 0
                if len(data) < at + _HEADER.size:
                    continue
                kind, _, _, identifier, _ = _HEADER.unpack_from(data, at)
                wanted = _ECHO6_REPLY if one.family == socket.AF_INET6 else _ECHO_REPLY
                if kind == wanted and identifier == self._identifier:
                    found.append(str(source[0]).partition("%")[0])
        return found


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


AGENT = Ping
