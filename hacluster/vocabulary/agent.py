"""Names of resource agents, the exit codes of the OCF resource agent API, and roles."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hacluster.vocabulary.ocf_exit import OcfExit

__all__ = [
    "STANDARDS",
    "STANDARDS_WITH_PROVIDER",
    "AgentName",
    "OcfExit",
    "Role",
    "check_name_part",
    "check_type",
]

STANDARDS = frozenset({"ocf", "lsb", "systemd", "service", "stonith", "heartbeat"})
STANDARDS_WITH_PROVIDER = frozenset({"ocf"})
NAME_CHARACTERS_MAX = 255


@dataclass(frozen=True, slots=True, order=True)
class AgentName:
    """standard[:provider]:type, for example ocf:hacluster:IPaddr or lsb:nginx.

    `standard` is lower case: ocf, lsb, systemd, service, stonith or heartbeat. `provider` is empty for
    the standards that have none. A systemd type may contain colons.
    """

    standard: str
    provider: str
    type: str

    def __str__(self) -> str:
        if self.provider:
            return f"{self.standard}:{self.provider}:{self.type}"
        return f"{self.standard}:{self.type}"

    @classmethod
    def parse(cls, text: str) -> AgentName:
        """The name written as `text`; the standard in any case. Raises ValueError when it is none.

        Names become paths, so what could leave a folder is refused: slashes, a leading dot, control
        characters, more than 255 characters. The one exception is the absolute path of an lsb script (see
        `check_type`). Whether the agent exists, and may be run, is another question.
        """
        standard, _, rest = text.partition(":")
        standard = standard.lower()
        if standard not in STANDARDS:
            known = ", ".join(sorted(STANDARDS))
            raise ValueError(f"{text!r} begins with no agent standard known here ({known})")
        provider, kind = "", rest
        if standard in STANDARDS_WITH_PROVIDER:
            provider, _, kind = rest.partition(":")
            check_name_part(provider, "provider", text)
        check_type(standard, kind, text)
        return cls(standard, provider, kind)


def check_name_part(part: str, what: str, name: str) -> None:
    """Raise ValueError unless `part` of the agent called `name` is safe as a file's name.

    stonith types may have one slash (external/ssh): both sides are checked.
    """
    folder, slash, rest = part.partition("/")
    if slash and what == "type" and name.lower().startswith("stonith:"):
        check_name_part(folder, "folder", name)
        check_name_part(rest, "folder's type", name)
        return
    if not part:
        raise ValueError(f"{name!r} has no {what}: write STANDARD:TYPE or ocf:PROVIDER:TYPE")
    if slash or part.startswith(".") or not part.isprintable() or len(part) > NAME_CHARACTERS_MAX:
        raise ValueError(f"the {what} of {name!r} cannot name an agent")


def check_type(standard: str, part: str, name: str) -> None:
    """Raise ValueError unless `part` can be the type of an agent of `standard`, called `name`.

    Pacemaker takes an absolute path as the type of an lsb agent, so a configuration may say so. Nothing is
    run by it: scripts are run from the folder of init scripts alone, and the catalog refuses the rest.
    """
    if standard.lower() == "lsb" and part.startswith("/"):
        for one in part[1:].split("/"):
            check_name_part(one, "type", name)
    else:
        check_name_part(part, "type", name)


class Role(StrEnum):
    """The state of a resource instance."""

    UNKNOWN = "Unknown"
    STOPPED = "Stopped"
    STARTED = "Started"
    UNPROMOTED = "Unpromoted"
    PROMOTED = "Promoted"
