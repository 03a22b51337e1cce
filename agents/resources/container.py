"""ocf:hacluster:Container: one container of podman or docker."""

from __future__ import annotations

import json
import os
import shlex
import subprocess

from agents import sdk
from hacluster.vocabulary.ocf_exit import OcfExit

_AUTO = "auto"
_ENGINES = ("podman", "docker")


class Container(sdk.Agent):
    """Started from an image; parameters are named as those of heartbeat's podman and docker."""

    name = "Container"
    shortdesc = "A container of podman or docker"
    longdesc = """Runs a container from an image and removes it at stop, so that the next start begins from
        the image again (reuse keeps it). Without monitor_cmd it is well while it runs and, where the image
        has a health check, while that does not say unhealthy."""
    actions = (
        sdk.Action("start", "90s"),
        sdk.Action("stop", "90s"),
        sdk.Action("monitor", "30s", interval="30s", depth="0"),
    )

    image = sdk.Text("The image.", required=True)
    engine = sdk.Text(
        "What runs it; auto takes the first that is installed.", options=(_AUTO, *_ENGINES), default=_AUTO
    )
    name_ = sdk.Text("The container's name; without one the resource's.", unique=True)
    name_.name = "name"
    run_opts = sdk.Text("More options of run, as a shell splits them (-p 80:80 -v /srv:/srv).")
    run_cmd = sdk.Text("The command in it; without one the image's.")
    monitor_cmd = sdk.Text("A command in it that says whether it is well.", reloadable=True)
    allow_pull = sdk.Boolean("Fetch the image when it is missing.", default="false")
    reuse = sdk.Boolean("Keep the container at stop and start it again.", default="false")
    force_kill = sdk.Boolean("Kill it at stop instead of asking it to end.", default="false")

    @property
    def container(self) -> str:
        """The container's name."""
        return self.name_ or self.instance.replace(":", "-").replace("/", "-")

    def validate(self) -> None:
        """Words must be words."""
        for name, text in (
            ("run_opts", self.run_opts),
            ("run_cmd", self.run_cmd),
            ("monitor_cmd", self.monitor_cmd),
        ):
            try:
                shlex.split(text)
            except ValueError as error:
                raise sdk.AgentFailure(OcfExit.ERR_CONFIGURED, f"parameter {name}: {error}") from None

    def check_environment(self) -> None:
        """The engine, and the image unless it may be fetched."""
        self._program()
        if not self.allow_pull and self._run("image", "inspect", self.image).returncode != 0:
            raise sdk.AgentFailure(OcfExit.ERR_INSTALLED, f"the image {self.image} is not on this node")

    def start(self) -> OcfExit | None:
        """Run it and wait until it is well."""
        state = self._state()
        if state is None or (state != "running" and not self.reuse):
            if state is not None:
                self._must("rm", "-f", self.container)
            options = [*shlex.split(self.run_opts), self.image, *shlex.split(self.run_cmd)]
            self._must("run", "-d", f"--name={self.container}", *options)
        elif state != "running":
            self._must("start", self.container)

        def well() -> bool:
            if self._state() != "running":
                log = self._run("logs", "--tail", "5", self.container)
                said = " ".join((log.stdout + log.stderr).split()) or "it said nothing"
                raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"{self.container} has ended at once: {said}")
            return not self._complaint()

        self.wait(well, f"{self.container} to be well", step_ms=100, step_ms_max=1_000)
        return OcfExit.OK

    def stop(self) -> OcfExit | None:
        """End it; what does not end in time is killed."""
        if self._engine() is None or self._state() is None:
            return OcfExit.OK
        if self._state() == "running":
            patience_s = max((self.remaining_ms() * 2 // 3) // 1000, 1)
            if self.force_kill:
                self._must("kill", self.container)
            else:
                self._must("stop", "-t", str(patience_s), self.container)
        if not self.reuse:
            self._must("rm", "-f", self.container)
        if self._state() == "running":
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"{self.container} does not end")
        return OcfExit.OK

    def monitor(self) -> OcfExit | None:
        """It runs and is well."""
        if self._engine() is None:
            if self.is_probe:
                return OcfExit.NOT_RUNNING
            self._program()
        if self._state() != "running":
            return OcfExit.NOT_RUNNING
        complaint = "" if self.is_probe else self._complaint()
        if complaint:
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, complaint)
        return OcfExit.OK

    def _complaint(self) -> str:
        """Why it is not well; "" when it is."""
        if self.monitor_cmd:
            done = self._run("exec", self.container, *shlex.split(self.monitor_cmd))
            return (
                ""
                if done.returncode == 0
                else f"monitor_cmd ended with {done.returncode}: {done.stderr.strip()}"
            )
        done = self._run("inspect", "--format", "{{json .State}}", self.container)
        try:
            state = json.loads(done.stdout or "{}")
        except ValueError:
            return f"{self._engine()} inspect: {done.stdout[:80]!r} is not JSON"
        health = state.get("Health") or state.get("Healthcheck") or {}
        status = str(health.get("Status", "")).lower()
        return f"{self.container} is unhealthy by its own check" if status == "unhealthy" else ""

    def _state(self) -> str | None:
        """running, exited, …; None when there is no such container. AgentFailure when that is unknown."""
        done = self._run("inspect", "--type=container", "--format", "{{.State.Status}}", self.container)
        if done.returncode == 0:
            return done.stdout.strip().lower()
        said = done.stderr.lower()
        if "no such" in said or "no container with name" in said:
            return None
        raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"{self._engine()} inspect: {done.stderr.strip()}")

    def _engine(self) -> str | None:
        """The program's path; None when it is not installed."""
        wanted = _ENGINES if self.engine == _AUTO else (self.engine,)
        for name in wanted:
            for folder in (self.environ.get("PATH") or "/usr/bin:/bin").split(":"):
                path = os.path.join(folder, name)
                if os.access(path, os.X_OK):
                    return path
        return None

    def _program(self) -> str:
        path = self._engine()
        if path is None:
            what = "neither podman nor docker is" if self.engine == _AUTO else f"{self.engine} is not"
            raise sdk.AgentFailure(OcfExit.ERR_INSTALLED, f"{what} installed")
        return path

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        limit_s = max(self.remaining_ms() - 200, 200) / 1000
        try:
            return subprocess.run(
                [self._program(), *words],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            text = f"{self.engine} {words[0]} does not end"
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, text) from None

    def _must(self, *words: str) -> None:
        done = self._run(*words)
        if done.returncode != 0:
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"{words[0]} {self.container}: {done.stderr.strip()}")


AGENT = Container
