"""What the command tree is made of: levels and commands, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `arguments` says what completion offers at each place; "…" repeats the one before."""

    name: str
    handler: str
    summary: str
    arguments: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    usage: str = ""

    @property
    def synopsis(self) -> str:
        """Name and arguments, for help and usage errors."""
        return self.usage or " ".join(
            [self.name, *(f"[{one.upper()}]" for one in self.arguments if one != "…")]
        )


@dataclass(frozen=True, slots=True)
class Level:
    """A level: commands and further levels below it. `session`: its changes are collected until commit."""

    name: str
    summary: str
    commands: tuple[Command, ...] = ()
    levels: tuple[Level, ...] = ()
    aliases: tuple[str, ...] = ()
    session: bool = False

    def level(self, name: str) -> Level | None:
        """The level below of that name or alias."""
        return next((one for one in self.levels if name == one.name or name in one.aliases), None)

    def command(self, name: str) -> Command | None:
        """The command of that name or alias."""
        return next((one for one in self.commands if name == one.name or name in one.aliases), None)

    def names(self) -> tuple[str, ...]:
        """All names, for completion and "did you mean"."""
        return (*(one.name for one in self.levels), *(one.name for one in self.commands))
