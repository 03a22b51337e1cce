"""Which agents exist on this node, and which program a name stands for.

Answers from the file system at the time of the question; nothing is cached. Meta-data is read elsewhere.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final

from hacluster.errors import InvalidRequest, NotFound, PermissionDenied
from hacluster.vocabulary.agent import AgentName, check_name_part

OCF_ROOTS_VARIABLE: Final = "HACLUSTER_OCF_ROOTS"
FENCE_FOLDER_VARIABLE: Final = "HACLUSTER_FENCE_FOLDER"
OUR_PROVIDER: Final = "hacluster"

_SYSTEMD_SUFFIXES: Final = (".service", ".socket", ".mount", ".timer", ".path")
_SYSTEMD_FOLDERS: Final = ("/etc/systemd/system", "/run/systemd/system", "/lib/systemd/system")
_NOT_INIT_SCRIPTS: Final = frozenset({"README", "rc", "rcS", "rc.local", "skeleton", "functions", "halt"})


def our_ocf_root() -> Path:
    """The folder our own OCF agents are shipped in, the same in a checkout and installed."""
    return Path(str(resources.files("agents") / "ocf"))


def our_fence_folder() -> Path:
    """The folder of our own fence agents."""
    return Path(str(resources.files("agents") / "fencing/sbin"))


def our_sbin_dir() -> Path:
    """The folder of the commands agents call back with: first in PATH, and HA_SBIN_DIR."""
    return Path(str(resources.files("agents") / "sbin"))


_GLUE_PROGRAM: Final = "stonith"
_COMPILED: Final = "stonith2"
_GLUE_LOADERS: Final = frozenset({"external", "rhcs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedAgent:
    """What a name stands for on this node.

    `standard` is never "service". `path` is the program, empty for systemd, where `unit` is set instead.
    `ocf_root` is what OCF_ROOT must be. `ours` tells that the warm host can run it by its type,
    without executing `path`.
    """

    name: AgentName
    standard: str
    path: str = ""
    unit: str = ""
    ocf_root: str = ""
    ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Folders in the order they are searched. `ours` is our own OCF root, and comes before `ocf_roots`.

    Only regular files with an x bit are agents; names with a leading dot are hidden. An agent that root
    would run for anybody who can write its file is refused (not root's or ours, or writable by all).
    """

    ours: Path
    ocf_roots: tuple[Path, ...] = (Path("/usr/lib/ocf"),)
    lsb_folder: Path = Path("/etc/init.d")
    heartbeat_folder: Path = Path("/etc/ha.d/resource.d")
    fence_folder: Path = Path("/usr/sbin")
    glue_folder: Path = Path("/usr/lib/stonith/plugins")
    our_fence_folder: Path = field(default_factory=our_fence_folder)
    systemd_folders: tuple[Path, ...] = tuple(map(Path, _SYSTEMD_FOLDERS))

    @classmethod
    def of_this_node(cls) -> Catalog:
        """The usual places; HACLUSTER_OCF_ROOTS, a list with colons, replaces /usr/lib/ocf, and
        HACLUSTER_FENCE_FOLDER /usr/sbin.
        """
        roots = os.environ.get(OCF_ROOTS_VARIABLE, "") or "/usr/lib/ocf"
        return cls(
            ours=our_ocf_root(),
            ocf_roots=tuple(Path(root) for root in roots.split(":") if root),
            fence_folder=Path(os.environ.get(FENCE_FOLDER_VARIABLE) or "/usr/sbin"),
        )

    def resolve(self, name: AgentName) -> ResolvedAgent:
        """The program for `name`.

        Raises NotFound (nothing of that name, or not a program), PermissionDenied (there is one, but it
        is not safe to run), InvalidRequest (a name that could leave its folder, an unknown standard).
        """
        _check(name)
        match name.standard:
            case "ocf":
                return self._resolve_ocf(name)
            case "lsb":
                return ResolvedAgent(name=name, standard="lsb", path=self._program(name, self.lsb_folder))
            case "heartbeat":
                path = self._first_program(name, (self.heartbeat_folder, self.lsb_folder))
                return ResolvedAgent(name=name, standard="heartbeat", path=path)
            case "service":
                return self._resolve_service(name)
            case "systemd":
                return ResolvedAgent(name=name, standard="systemd", unit=systemd_unit(name.type))
            case "stonith":
                if "/" in name.type:  # cluster-glue's external/NAME
                    return ResolvedAgent(
                        name=name, standard="stonith", path=self._program(name, self.glue_folder)
                    )
                if not name.type.startswith("fence_") and self._has_compiled_plugin(name.type):
                    program = AgentName("stonith", "", _GLUE_PROGRAM)
                    path = self._program(program, self.fence_folder)
                else:
                    path = self._first_program(name, (self.fence_folder, self.our_fence_folder))
                return ResolvedAgent(name=name, standard="stonith", path=path)
            case _:
                raise InvalidRequest(what=f"{name} has no standard that agents are run by")

    def providers(self) -> tuple[str, ...]:
        """OCF providers that have a folder here, sorted."""
        found = {
            entry.name
            for root in self._roots()
            for entry in _entries(root / "resource.d")
            if entry.is_dir() and not entry.name.startswith(".")
        }
        return tuple(sorted(found))

    def list(self, standard: str = "", provider: str = "") -> tuple[AgentName, ...]:
        """Agents of one standard, or of all, sorted by name; `provider` narrows ocf."""
        found: set[AgentName] = set()
        if standard in ("", "ocf"):
            for one in (provider,) if provider else self.providers():
                check_provider(one)
                for root in self._roots():
                    found |= {AgentName("ocf", one, kind) for kind in _programs(root / "resource.d" / one)}
        if not provider:
            found |= self._list_others(standard)
        return tuple(sorted(found))

    def _list_others(self, standard: str) -> set[AgentName]:
        found: set[AgentName] = set()
        if standard in ("", "lsb"):
            scripts = _programs(self.lsb_folder) - _NOT_INIT_SCRIPTS
            found |= {AgentName("lsb", "", kind) for kind in scripts}
        if standard in ("", "heartbeat"):
            found |= {AgentName("heartbeat", "", kind) for kind in _programs(self.heartbeat_folder)}
        if standard in ("", "stonith"):
            programs = _programs(self.fence_folder) | _programs(self.our_fence_folder)
            fence = {kind for kind in programs if kind.startswith("fence_")}
            fence |= {f"external/{kind}" for kind in _programs(self.glue_folder / "external")}
            if _GLUE_PROGRAM in programs:
                plugins = {entry.stem for entry in _entries(self.glue_folder / _COMPILED)}
                fence |= {kind for kind in plugins if self._has_compiled_plugin(kind)}
            found |= {AgentName("stonith", "", kind) for kind in fence}
        if standard in ("", "systemd"):
            units = {
                entry.name.removesuffix(".service")
                for folder in self.systemd_folders
                for entry in _entries(folder)
                if entry.name.endswith(".service")
            }
            found |= {AgentName("systemd", "", unit) for unit in units}
        return found

    def _roots(self) -> tuple[Path, ...]:
        return (self.ours, *self.ocf_roots)

    def _resolve_ocf(self, name: AgentName) -> ResolvedAgent:
        for root in self._roots():
            folder = root / "resource.d" / name.provider
            if not (folder / name.type).exists():
                continue
            path = self._program(name, folder)
            ours = root == self.ours
            return ResolvedAgent(
                name=name,
                standard="ocf",
                path=path,
                ocf_root=str(self.ocf_roots[0] if ours and self.ocf_roots else root),
                ours=ours,
            )
        raise NotFound(kind="agent", name=str(name))

    def _resolve_service(self, name: AgentName) -> ResolvedAgent:
        """An init script when there is one, else the systemd unit (Pacemaker's order)."""
        if (self.lsb_folder / name.type).exists():
            return ResolvedAgent(name=name, standard="lsb", path=self._program(name, self.lsb_folder))
        return ResolvedAgent(name=name, standard="systemd", unit=systemd_unit(name.type))

    def _first_program(self, name: AgentName, folders: tuple[Path, ...]) -> str:
        for folder in folders:
            if (folder / name.type).exists():
                return self._program(name, folder)
        raise NotFound(kind="agent", name=str(name))

    def _has_compiled_plugin(self, kind: str) -> bool:
        """Whether cluster-glue's stonith(8) has it; those that load others' scripts are known by these."""
        path = self.glue_folder / _COMPILED / f"{kind}.so"
        return kind not in _GLUE_LOADERS and path.is_file()

    def _program(self, name: AgentName, folder: Path) -> str:
        """The path of a program in `folder`, after all checks; links may lead to any agent folder."""
        path = f"{folder}/{name.type}"
        try:
            real = os.path.realpath(path, strict=True)
            status = Path(real).stat()
        except OSError as error:
            raise NotFound(kind="agent", name=str(name)) from error
        if not stat.S_ISREG(status.st_mode) or not status.st_mode & 0o111:
            raise NotFound(kind="agent", name=f"{name} ({path} is not an executable file)")
        if status.st_mode & stat.S_IWOTH or status.st_uid not in (0, os.geteuid()):
            raise PermissionDenied(
                what=f"{real} is not safe to run: it must belong to root and not be writable by all"
            )
        if name.standard in ("ocf", "heartbeat") and not self._below_a_folder(real):
            raise PermissionDenied(what=f"{path} leads out of the agents' folders, to {real}")
        return path

    def _below_a_folder(self, real: str) -> bool:
        """Whether this path, in which nothing is a link, is in one of them; they may be links."""
        folders = (*self._roots(), self.heartbeat_folder, self.lsb_folder)
        if any(real.startswith(f"{folder}/") for folder in folders):
            return True
        return any(Path(real).is_relative_to(folder.resolve()) for folder in folders)


def systemd_unit(kind: str) -> str:
    """The unit's name: `.service` is added unless it has a suffix of a kind that can be a resource."""
    return kind if kind.endswith(_SYSTEMD_SUFFIXES) else f"{kind}.service"


def check_provider(provider: str) -> None:
    """Raise InvalidRequest unless `provider` is safe as a folder's name."""
    _check(AgentName("ocf", provider, "any"))


def _check(name: AgentName) -> None:
    try:
        if name.standard == "ocf":
            check_name_part(name.provider, "provider", str(name))
        check_name_part(name.type, "type", str(name))
    except ValueError as error:
        raise InvalidRequest(what=str(error)) from error


def _entries(folder: Path) -> list[Path]:
    """Entries of a folder, sorted; none when it cannot be read: then no agent is there either."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _programs(folder: Path) -> set[str]:
    found = set()
    for entry in _entries(folder):
        if entry.name.startswith("."):
            continue
        try:
            mode = entry.stat().st_mode
        except OSError:
            continue  # a link to nothing
        if stat.S_ISREG(mode) and mode & 0o111:
            found.add(entry.name)
    return found
