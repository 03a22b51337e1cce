"""ocf:hacluster:Dummy: nothing but a state file, and ways to be slow or to fail, for tests of a cluster."""

from __future__ import annotations

import os
import time

from agents import sdk
from agents.resources.state_file import StateFile
from hacluster.vocabulary.ocf_exit import OcfExit


class Dummy(sdk.Agent):
    """Active while its state file exists."""

    name = "Dummy"
    shortdesc = "A resource that does nothing"
    longdesc = """Manages a state file and nothing else. With its parameters it can be slow and can fail in a
        chosen way, to see what a cluster makes of it."""
    actions: tuple[sdk.Action, ...] = (
        *sdk.STANDARD_ACTIONS,
        sdk.Action("migrate_to", "20s"),
        sdk.Action("migrate_from", "20s"),
        sdk.Action("reload-agent", "20s"),
    )

    state = sdk.Text("The state file. By default one in HA_RSCTMP, named after the resource.", unique=True)
    fake = sdk.Text(
        "A value without any effect: its change reloads the resource.", default="dummy", reloadable=True
    )
    op_sleep = sdk.Duration("How long each action takes.", default="0")
    fail = sdk.Text(
        """Actions that fail: a list of ACTION[=CODE][@NODE], separated by blanks. CODE is an OCF exit code
        (1 by default); without NODE the action fails on every node. Example: "start=5@node1 stop"."""
    )
    envfile = sdk.Text("Write the environment of each action to this file.")

    @property
    def file(self) -> StateFile:
        """The state file of this instance."""
        name = f"{self.name}-{self.instance.replace(':', '-').replace('/', '-')}.state"
        return StateFile(self.state or os.path.join(self.state_folder, name))

    def validate(self) -> None:
        """The list of failures must be readable."""
        for word in self.fail.split():
            _failure(word)

    def check_environment(self) -> None:
        """The state file must be writable."""
        folder = os.path.dirname(self.file.path) or "/"
        if os.path.isdir(folder) and not os.access(folder, os.W_OK):
            raise sdk.AgentFailure(OcfExit.ERR_PERM, f"no permission to write in {folder}")

    def start(self) -> OcfExit | None:
        """Write the state file."""
        self.misbehave()
        if self.file.read() is None:
            self.file.write("started\n")
        return None

    def stop(self) -> OcfExit | None:
        """Remove the state file."""
        self.misbehave()
        self.file.remove()
        return None

    def monitor(self) -> OcfExit | None:
        """Look for the state file."""
        self.misbehave()
        return OcfExit.OK if self.file.read() is not None else OcfExit.NOT_RUNNING

    def migrate_to(self) -> OcfExit | None:
        """On the source: what ran here runs on the target from now on."""
        self.misbehave()
        if self.file.read() is None:
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"{self.instance} does not run here")
        self.file.remove()
        return None

    def migrate_from(self) -> OcfExit | None:
        """On the target."""
        self.misbehave()
        self.file.write("migrated\n")
        return None

    def reload_agent(self) -> OcfExit | None:
        """Take over the new parameters."""
        self.misbehave()
        return OcfExit.OK if self.file.read() is not None else OcfExit.NOT_RUNNING

    def misbehave(self) -> None:
        """Record the environment, be slow and fail as the parameters ask for."""
        if self.envfile:
            with open(self.envfile, "a") as file:
                file.writelines(f"{name}={value}\n" for name, value in sorted(self.environ.items()))
        if self.op_sleep:
            time.sleep(self.op_sleep / 1000)
        for word in self.fail.split():
            action, code, node = _failure(word)
            if action == self.action and node in ("", self.meta("on_node")):
                raise sdk.AgentFailure(code, f"{action} fails because the parameter fail says so")


def _failure(word: str) -> tuple[str, OcfExit, str]:
    """(action, exit code, node) of one ACTION[=CODE][@NODE]."""
    rest, _, node = word.partition("@")
    action, _, code = rest.partition("=")
    try:
        return action, OcfExit(int(code or "1")), node
    except ValueError:
        raise sdk.AgentFailure(
            OcfExit.ERR_CONFIGURED, f"parameter fail: {word!r} is not ACTION[=CODE][@NODE] with an OCF code"
        ) from None


AGENT = Dummy
