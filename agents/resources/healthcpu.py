"""ocf:hacluster:HealthCPU: a node's health by the idle time of its processors."""

from __future__ import annotations

import os
import time

from agents import sdk
from agents.node_attributes import publish
from agents.resources.state_file import StateFile
from hacluster.vocabulary.ocf_exit import OcfExit

_SAMPLE_S = 0.5
_IDLE, _IOWAIT = 3, 4


class HealthCPU(sdk.Agent):
    """Parameters are named as those of pacemaker's HealthCPU."""

    name = "HealthCPU"
    shortdesc = "Health of a node by its processors' idle time"
    longdesc = """Measures how much of the time since the last monitor the processors were idle, and keeps
        green, yellow or red as the attribute #health-cpu of its node. node-health-strategy says what follows
        from that. Run it as a clone."""
    actions = (
        sdk.Action("start", "10s"),
        sdk.Action("stop", "10s"),
        sdk.Action("monitor", "10s", interval="10s", depth="0"),
        sdk.Action("reload-agent", "10s"),
    )

    yellow_limit = sdk.Integer(
        "Per cent idle below which it is yellow.", default="50", reloadable=True
    ).between(0, 100)
    red_limit = sdk.Integer("Per cent idle below which it is red.", default="10", reloadable=True).between(
        0, 100
    )
    dampening = sdk.Duration("How long the cluster waits for more changes.", default="30s", reloadable=True)
    name_ = sdk.Text("The attribute's name.", default="#health-cpu")
    name_.name = "attribute"

    @property
    def file(self) -> StateFile:
        """What the processors had done when it was looked at last."""
        return StateFile(
            os.path.join(self.state_folder, f"HealthCPU-{self.instance.replace('/', '-')}.state")
        )

    def validate(self) -> None:
        """Red is worse than yellow."""
        if self.red_limit > self.yellow_limit:
            raise sdk.AgentFailure(OcfExit.ERR_CONFIGURED, "red_limit is above yellow_limit")

    def start(self) -> OcfExit | None:
        """Look for the first time."""
        if self.file.read() is None:
            self._keep(_ticks())
            time.sleep(_SAMPLE_S)
        self._tell()
        return None

    def stop(self) -> OcfExit | None:
        """The attribute is removed."""
        if self.file.read() is not None:
            self.file.remove()
            publish(self, {self.name_: None}, self.dampening)
        return None

    def monitor(self) -> OcfExit | None:
        """Look again."""
        if self.file.read() is None:
            return OcfExit.NOT_RUNNING
        if not self.is_probe:
            self._tell()
        return OcfExit.OK

    def reload_agent(self) -> OcfExit | None:
        """Take over the new parameters."""
        return self.monitor()

    def _tell(self) -> None:
        before, now = self.file.read() or "", _ticks()
        words = before.split()
        self._keep(now)
        idle, total = now[0], now[1]
        if len(words) == 2:
            idle, total = idle - int(words[0]), total - int(words[1])
        per_cent = 100 if total <= 0 else idle * 100 // total
        colour = "green"
        if per_cent < self.yellow_limit:
            colour = "red" if per_cent < self.red_limit else "yellow"
        if colour != "green":
            self.log("WARNING", f"processors were idle for {per_cent} % of the time: {colour}")
        publish(self, {self.name_: colour}, self.dampening)

    def _keep(self, ticks: tuple[int, int]) -> None:
        self.file.write(f"{ticks[0]} {ticks[1]}\n")


def _ticks() -> tuple[int, int]:
    """Idle and all ticks of all processors (proc(5), /proc/stat); guest time is in user time already."""
    with open("/proc/stat") as file:
        numbers = [int(word) for word in file.readline().split()[1:9]]
    return numbers[_IDLE] + numbers[_IOWAIT], sum(numbers)


AGENT = HealthCPU
