"""ocf:hacluster:Delay: takes its time, to keep its neighbours in an order apart."""

from __future__ import annotations

import os
import time

from agents import sdk
from agents.resources.state_file import StateFile
from hacluster.vocabulary.ocf_exit import OcfExit


class Delay(sdk.Agent):
    """A state file, and a pause in each action."""

    name = "Delay"
    shortdesc = "Waits for a while"
    longdesc = """Waits for a given time in each action. Placed between two resources of a group it keeps
        their starts apart. Unlike heartbeat's agent it does not wait in monitor unless told to."""
    actions = (
        sdk.Action("start", "60s"),
        sdk.Action("stop", "60s"),
        sdk.Action("monitor", "60s", interval="10s", depth="0"),
    )

    startdelay = sdk.Duration("How long start takes.", default="30s")
    stopdelay = sdk.Duration("How long stop takes; without a value as long as start.", reloadable=True)
    mondelay = sdk.Duration("How long monitor takes.", default="0", reloadable=True)

    @property
    def file(self) -> StateFile:
        """The state file of this instance."""
        return StateFile(os.path.join(self.state_folder, f"Delay-{self.instance.replace('/', '-')}.state"))

    def start(self) -> OcfExit | None:
        """Wait, unless it is started."""
        if self.file.read() is None:
            time.sleep(self.startdelay / 1000)
            self.file.write("started\n")
        return None

    def stop(self) -> OcfExit | None:
        """Wait, unless it is stopped."""
        if self.file.read() is not None:
            given = self.environ.get("OCF_RESKEY_stopdelay")
            time.sleep((self.stopdelay if given else self.startdelay) / 1000)
            self.file.remove()
        return None

    def monitor(self) -> OcfExit | None:
        """Wait, then say whether it is started; a probe does not wait."""
        if self.file.read() is None:
            return OcfExit.NOT_RUNNING
        if not self.is_probe:
            time.sleep(self.mondelay / 1000)
        return OcfExit.OK


AGENT = Delay
