"""ocf:hacluster:Witness: a promotable pseudo resource that tells an observer all it is made to do."""

from __future__ import annotations

import os
import time

from agents import sdk
from agents.resources.stateful import Stateful
from hacluster.vocabulary.ocf_exit import OcfExit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Witness(Stateful):
    """Sends one datagram of JSON when an action begins, and one when it has ended.

    Keys: event ("begin" or "end"), action, resource, node, pid, interval_ms, boottime_ns (CLOCK_BOOTTIME);
    with "end" also rc.
    """

    name = "Witness"
    shortdesc = "Reports its actions to an observer"
    longdesc = """A Stateful resource that reports the begin and the end of each action to a unix datagram
        socket, one JSON object a datagram. An observer outside of the cluster can check with it that a
        resource never runs twice. An observer that is away is not waited for."""

    socket = sdk.Text("The observer's unix datagram socket.", required=True, reloadable=True)

    def start(self) -> OcfExit | None:
        """Reported."""
        return self._reported(super().start)

    def stop(self) -> OcfExit | None:
        """Reported."""
        return self._reported(super().stop)

    def monitor(self) -> OcfExit | None:
        """Reported."""
        return self._reported(super().monitor)

    def promote(self) -> OcfExit | None:
        """Reported."""
        return self._reported(super().promote)

    def demote(self) -> OcfExit | None:
        """Reported."""
        return self._reported(super().demote)

    def notify(self) -> OcfExit | None:
        """Reported."""
        return self._reported(super().notify)

    def _reported(self, action: sdk.Method) -> OcfExit | None:
        self._report({"event": "begin"})
        rc: OcfExit = OcfExit.ERR_GENERIC
        try:
            rc = action() or OcfExit.OK
        except sdk.AgentFailure as failure:
            rc = failure.rc
            raise
        finally:
            self._report({"event": "end", "rc": int(rc)})
        return rc

    def _report(self, fields: Mapping[str, object]) -> None:
        import json
        import socket

        message = {
            **fields,
            "action": self.action,
            "resource": self.instance,
            "node": self.meta("on_node") or self.environ.get("HACLUSTER_NODE", ""),
            "pid": os.getpid(),
            "interval_ms": self.interval_ms,
            "boottime_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        }
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            try:
                sender.sendto(json.dumps(message).encode(), self.socket)
            except OSError as error:
                self.log("WARNING", f"the observer at {self.socket} was not told: {error}")


AGENT = Witness
