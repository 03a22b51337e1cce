"""Alert agents: programs of the administrator's, run as user hacluster; their result is only logged.

They run in lrm-exec like agents, but some at a time only: a storm of alerts must not hold up operations.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from agents.catalog import ResolvedAgent
from hacluster.errors import InvalidRequest, ResourceExhausted
from hacluster.vocabulary.agent import AgentName
from lrm import log_events
from lrm.calls import AgentCall
from lrm.exec.protocol import Finished, How
from lrm.metadata import Runner

AT_ONCE_MAX: Final = 16
WAITING_MAX: Final = 1_000
TIMEOUT_MS_MAX: Final = 3_600_000
USER: Final = "hacluster"
GROUP: Final = "haclient"
PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"

_RESERVED: Final = frozenset(
    {
        *("GCONV_PATH", "GETCONF_DIR", "GLIBC_TUNABLES", "HOSTALIASES", "LOCALDOMAIN", "LOCPATH", "NIS_PATH"),
        *("NLSPATH", "RESOLV_HOST_CONF", "RES_OPTIONS", "TMPDIR", "TZDIR", "LIBCAP_DEBUG"),
        *("PATH", "IFS", "ENV", "SHELLOPTS", "PS4", "HOME", "SHELL", "LC_ALL", "HACLUSTER_NODE"),
    }
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One call of an alert agent."""

    alert: str
    path: str
    environment: Mapping[str, str]
    timeout_ms: int


class Alerts:
    """Runs alert agents; `run` carries them out until cancelled."""

    def __init__(self, runner: Runner, node: str) -> None:
        self._runner, self._node = runner, node
        self._waiting: asyncio.Queue[Alert] = asyncio.Queue(WAITING_MAX)
        self._as_root = ""

    def add(self, alert: Alert) -> None:
        """Have it run when its turn comes. Raises InvalidRequest, ResourceExhausted."""
        if not alert.path.startswith("/") or "\0" in alert.path:
            raise InvalidRequest(what=f"{alert.path!r} of alert {alert.alert} is not an absolute path")
        if not 0 < alert.timeout_ms <= TIMEOUT_MS_MAX:
            raise InvalidRequest(what=f"{alert.timeout_ms} ms is no timeout of an alert")
        for name, value in alert.environment.items():
            if not name or "=" in name or "\0" in name + value:
                raise InvalidRequest(what=f"{name!r} of alert {alert.alert} cannot be in an environment")
            if _is_reserved(name):
                raise InvalidRequest(
                    what=f"an alert may not set {name}: it would change what runs, not what it is told",
                    remedy=f"take the attribute {name} out of alert {alert.alert}",
                )
        try:
            self._waiting.put_nowait(alert)
        except asyncio.QueueFull:
            raise ResourceExhausted(what=f"{WAITING_MAX} alerts wait") from None

    async def run(self) -> None:
        """Some at once; those that wait when it is cancelled are dropped, and the log says how many."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(AT_ONCE_MAX):
                    tasks.create_task(self._work(), name=f"alerts {number}")
        finally:
            if not self._waiting.empty():
                log.warning(log_events.ALERTS_DROPPED, waiting=self._waiting.qsize())

    async def _work(self) -> None:
        while True:
            alert = await self._waiting.get()
            finished = await self._runner.run_aside(self._call(alert), "alert", alert.timeout_ms)
            _report(alert, finished)

    def _call(self, alert: Alert) -> AgentCall:
        environment = {
            "PATH": PATH,
            "LC_ALL": "C",
            "HOME": "/",
            "SHELL": "/bin/sh",
            "HACLUSTER_NODE": self._node,
            **alert.environment,
        }
        user, as_root = _as_user()
        if as_root and as_root != self._as_root:  # once, not with each alert
            log.warning(log_events.ALERT_AS_ROOT, reason=as_root)
        self._as_root = as_root
        name = AgentName("ocf", "alert", "alert")
        agent = ResolvedAgent(name=name, standard="alert", path=alert.path)
        return AgentCall(agent=agent, argv=(*user, alert.path), env=environment)


def _is_reserved(name: str) -> bool:
    """Variables that programs and their libraries obey, also those that run before privileges are dropped.

    glibc's own list of what a set-user-id program must not see, what shells obey, and what is set here.
    """
    return name in _RESERVED or name.startswith(("LD_", "MALLOC_", "PYTHON", "BASH_"))


def _as_user() -> tuple[tuple[str, ...], str]:
    """What makes root's child a child of user hacluster; nothing, and why, where it stays root's.

    posix_spawn cannot change users, and forking is not for a process with gRPC: setpriv(1) does it.
    """
    program = shutil.which("setpriv", path=PATH)
    if os.geteuid() != 0:
        return (), ""
    try:
        user = pwd.getpwnam(USER)
        group = grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return (), f"there is no user {USER} or no group {GROUP} (the package makes them)"
    if program is None:
        return (), "there is no setpriv (package util-linux)"
    return (program, f"--reuid={user.pw_uid}", f"--regid={group}", "--clear-groups", "--"), ""


def _report(alert: Alert, finished: Finished) -> None:
    names = {"alert": alert.alert, "path": alert.path, "kind": alert.environment.get("CRM_alert_kind", "")}
    if finished.how is How.EXITED and finished.status == 0:
        log.debug(log_events.ALERT_SENT, **names)
        return
    code = os.waitstatus_to_exitcode(finished.status) if finished.how is How.EXITED else 0
    reason = finished.stderr.strip() or (os.strerror(finished.errno) if finished.errno else "")
    log.warning(
        log_events.ALERT_FAILED, **names, how=finished.how.name.lower(), rc=code, reason=reason[-500:]
    )
