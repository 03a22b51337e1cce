"""ocf:hacluster:SysInfo: facts about a node as attributes, and its health by the room on its disks."""

from __future__ import annotations

import os

from agents import sdk
from agents.node_attributes import publish
from agents.resources.state_file import StateFile
from hacluster.vocabulary.ocf_exit import OcfExit

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class SysInfo(sdk.Agent):
    """Attributes are named as those of pacemaker's SysInfo."""

    name = "SysInfo"
    shortdesc = "Facts about a node, as attributes"
    longdesc = """Keeps facts about its node as transient attributes: arch, os, cpu_cores, cpu_load,
        ram_total, ram_free, free_swap (megabytes), and for each disk its free room as root_free, var_free and
        so on (in disk_unit). With min_disk_free the attribute #health_disk is red while a disk has less;
        node-health-strategy says what follows from that. Run it as a clone."""
    actions = (
        sdk.Action("start", "20s"),
        sdk.Action("stop", "20s"),
        sdk.Action("monitor", "20s", interval="60s", depth="0"),
    )

    disks = sdk.Text("Mounted folders whose room is told, separated by blanks; / is always.", reloadable=True)
    disk_unit = sdk.Text("The unit of that.", options=tuple(_UNITS), default="G", reloadable=True)
    min_disk_free = sdk.Text(
        "How much each must have free, such as 500M; without a unit in disk_unit.", reloadable=True
    )
    delay = sdk.Duration("How long the cluster waits for more changes.", default="0s", reloadable=True)

    @property
    def file(self) -> StateFile:
        """The names of the attributes that were set."""
        return StateFile(os.path.join(self.state_folder, f"SysInfo-{self.instance.replace('/', '-')}.state"))

    def validate(self) -> None:
        """The limit must be a size."""
        self._limit()

    def start(self) -> OcfExit | None:
        """Tell for the first time."""
        self._tell()
        return None

    def stop(self) -> OcfExit | None:
        """Remove what was told."""
        told = self.file.read()
        if told is not None:
            publish(self, dict.fromkeys(told.split()), self.delay)
            self.file.remove()
        return None

    def monitor(self) -> OcfExit | None:
        """Tell again."""
        if self.file.read() is None:
            return OcfExit.NOT_RUNNING
        if not self.is_probe:
            self._tell()
        return OcfExit.OK

    def _tell(self) -> None:
        values = self._facts()
        self.file.write(" ".join(values) + "\n")
        publish(self, values, self.delay)

    def _facts(self) -> dict[str, str]:
        system, memory = os.uname(), _memory_kib()
        values = {
            "arch": system.machine,
            "os": f"{system.sysname}-{system.release}",
            "cpu_cores": str(os.cpu_count() or 1),
            "cpu_load": f"{os.getloadavg()[2]:.2f}",
            "ram_total": str(_in_50_mib(memory.get("MemTotal", 0))),
            "ram_free": str(_in_50_mib(memory.get("MemAvailable", memory.get("MemFree", 0)))),
            "free_swap": str(_in_50_mib(memory.get("SwapFree", 0))),
        }
        limit, healthy = self._limit(), True
        for disk in dict.fromkeys(["/", *self.disks.split()]):
            free = self._free(disk)
            if free is None:
                self.log("WARNING", f"{disk} cannot be looked at")
                continue
            name = disk.strip("/").replace("/", "_") or "root"
            values[f"{name}_free"] = str(free // _UNITS[self.disk_unit])
            healthy = healthy and free >= limit
        if limit:
            values["#health_disk"] = "green" if healthy else "red"
        return values

    @staticmethod
    def _free(disk: str) -> int | None:
        try:
            status = os.statvfs(disk)
        except OSError:
            return None
        return status.f_bavail * status.f_frsize

    def _limit(self) -> int:
        """In bytes; 0 without one."""
        text = self.min_disk_free.strip().upper()
        if not text:
            return 0
        unit = text[-1] if text[-1] in _UNITS else self.disk_unit
        digits = text.rstrip("KMGT")
        if not digits.isdecimal():
            reason = f"parameter min_disk_free: {self.min_disk_free!r} is not a size such as 500M"
            raise sdk.AgentFailure(OcfExit.ERR_CONFIGURED, reason)
        return int(digits) * _UNITS[unit]


def _memory_kib() -> dict[str, int]:
    with open("/proc/meminfo") as file:
        rows = (line.split() for line in file)
        return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def _in_50_mib(kib: int) -> int:
    """Megabytes in steps of 50, as Pacemaker's agent has it: not every page is a change for the cluster."""
    return kib // 1024 // 50 * 50


AGENT = SysInfo
