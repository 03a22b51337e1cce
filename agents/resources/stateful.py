"""ocf:hacluster:Stateful: a promotable resource that only remembers its role, for tests and as a pattern."""

from __future__ import annotations

from agents import sdk
from agents.callback import client
from agents.resources.dummy import Dummy
from hacluster.vocabulary.ocf_exit import OcfExit

PROMOTED = "promoted\n"
UNPROMOTED = "unpromoted\n"


class Stateful(Dummy):
    """A state file with a role in it, and a promotion score set at each turn."""

    name = "Stateful"
    shortdesc = "A promotable resource that does nothing"
    longdesc = """Remembers in a state file whether it is promoted. It sets its own promotion score, as a real
        promotable resource has to: 5 when it starts, 10 while it is promoted."""
    actions = (
        sdk.Action("start", "20s"),
        sdk.Action("stop", "20s"),
        sdk.Action("promote", "10s"),
        sdk.Action("demote", "10s"),
        sdk.Action("monitor", "20s", interval="10s", depth="0", role="Promoted"),
        sdk.Action("monitor", "20s", interval="11s", depth="0", role="Unpromoted"),
        sdk.Action("notify", "5s"),
        sdk.Action("reload-agent", "10s"),
    )

    promoted_score = sdk.Integer("The promotion score while promoted.", default="10", reloadable=True)
    unpromoted_score = sdk.Integer("The promotion score after a start.", default="5", reloadable=True)

    def start(self) -> OcfExit | None:
        """Become unpromoted."""
        self.misbehave()
        if self.file.read() is None:
            self.file.write(UNPROMOTED)
            self._score(self.unpromoted_score)
        return None

    def stop(self) -> OcfExit | None:
        """Forget the role and the score."""
        self.misbehave()
        if self.file.read() is not None:
            self._score(None)
        self.file.remove()
        return None

    def promote(self) -> OcfExit | None:
        """Become promoted; only something that runs can."""
        self.misbehave()
        self._must_run()
        self.file.write(PROMOTED)
        self._score(self.promoted_score)
        return None

    def demote(self) -> OcfExit | None:
        """Become unpromoted."""
        self.misbehave()
        self._must_run()
        self.file.write(UNPROMOTED)
        self._score(self.unpromoted_score)
        return None

    def notify(self) -> OcfExit | None:
        """Nothing to do; the environment can be looked at with envfile."""
        self.misbehave()
        return None

    def monitor(self) -> OcfExit | None:
        """The role in the state file."""
        self.misbehave()
        text = self.file.read()
        if text is None:
            return OcfExit.NOT_RUNNING
        return OcfExit.RUNNING_PROMOTED if text == PROMOTED else OcfExit.OK

    def reload_agent(self) -> OcfExit | None:
        """Set the score anew."""
        self.misbehave()
        text = self.file.read()
        if text is None:
            return OcfExit.NOT_RUNNING
        self._score(self.promoted_score if text == PROMOTED else self.unpromoted_score)
        return None

    def _must_run(self) -> None:
        if self.file.read() is None:
            raise sdk.AgentFailure(OcfExit.NOT_RUNNING, f"{self.instance} does not run here")

    def _score(self, score: int | None) -> None:
        """Tell the cluster. Without an answer the action still succeeds, as with all agents, but loudly."""
        error = client.set_promotion_score(self.environ, self.instance, score)
        if error:
            self.log("ERROR", f"the promotion score of {self.instance} could not be set: {error}")


AGENT = Stateful
