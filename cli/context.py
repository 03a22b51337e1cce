"""What every command is handed: options, places, the CIB's source, pending changes, where to print."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from hacluster.errors import ErrorCode, HaError
from hacluster.paths import Paths

if TYPE_CHECKING:
    from cli.client import Client
    from cli.goals import Goal
    from cli.grammar.lexer import Line
    from cli.past import Past
    from cli.workspace import CibSource, Confirm, Workspace

OUTPUTS = ("text", "json", "xml")
EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3  # by the checks of the configuration
EXIT_CONFLICT = 4  # somebody else changed the same objects
EXIT_DRIFT = 5  # `apply --check`: the cluster is not as the file says
EXIT_NOT_REACHED = 6  # -w: the wanted state was not reached
EXIT_UNSAFE = 7  # --safe, or nobody to ask: something else would stop


class UsageError(HaError):
    """The command line itself is wrong: exit status 2."""

    what: str
    usage: str = ""
    left: int = 0  # the words from the wrong one to the end; 0: not known

    def __str__(self) -> str:
        return self.what + (f"\nusage: {self.usage}" if self.usage else "")


class Unsafe(HaError):
    """Something else would be interrupted, and nobody said that it may be: exit status 7."""

    code = ErrorCode.INVALID_REQUEST
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return self.what + (f" ({self.remedy})" if self.remedy else "")


@dataclass(slots=True, kw_only=True)
class Options:
    """The options that stand before the level. Empty and False mean: not given."""

    root: str = ""
    node: str = ""
    cib_file: str = ""
    shadow: str = ""
    script: str = ""
    force: bool = False
    refuse: bool = False
    wait: bool = False
    wait_ms: int = 120_000
    wait_given: bool = False
    output: str = "text"
    display: str = ""
    strict: bool = False
    debug: bool = False
    safe: bool = False
    reason: str = ""
    server: str = ""
    tls: str = ""
    read: str = ""
    confirm_ms: int = 0
    guards: tuple[str, ...] = ()

    @property
    def json(self) -> bool:
        """The answer is for a program."""
        return self.output == "json"

    @json.setter
    def json(self, wanted: bool) -> None:
        self.output = "json" if wanted else "text"

    @property
    def structured(self) -> bool:
        """The answer is for a program, as JSON or XML."""
        return self.output != "text"


@dataclass(slots=True)
class Context:
    """One run of hacli. The daemon's client is made when a command first needs it."""

    options: Options = field(default_factory=Options)
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    interactive: bool = False
    ask: Callable[[str], bool] | None = None
    workspace: Workspace | None = None
    changed_cluster: bool = False
    goals: list[Goal] = field(default_factory=list)
    place: str = ""
    source_name: str = ""
    line: Line | None = None
    past: Past | None = None
    _client: Client | None = None

    @property
    def paths(self) -> Paths:
        """Places below the root that was given."""
        return Paths.from_environment(self.options.root or None)

    @property
    def offline(self) -> bool:
        """The work is on a CIB file; no daemon is asked."""
        return bool(self.options.cib_file or self.options.shadow)

    @property
    def client(self) -> Client:
        """The connection to ha-crm of this node, or of the one that --server names."""
        if self._client is None:
            from cli.client import Client  # gRPC costs start-up time

            server = None
            if self.options.server:
                from cli.afar import server_from

                server = server_from(self.options.server, self.options.tls)
            self._client = Client(self.paths, server)
        return self._client

    def source(self) -> CibSource:
        """Where the CIB is read from and written to."""
        from cli.workspace import FileSource  # lxml costs start-up time

        if self.options.shadow:
            from cli.shadows import Shadows

            return FileSource(str(Shadows.of_this_user().existing(self.options.shadow)))
        if self.options.cib_file:
            return FileSource(self.options.cib_file)
        from cli.cluster_source import ClusterSource

        return ClusterSource(self.client, force=self.options.force, how=self.options.read, said=self.info)

    def close(self) -> None:
        """Close the connection, when one was made."""
        if self._client is not None:
            self._client.close()

    def confirm_wanted(self) -> Confirm | None:
        """What --confirm and --guard say."""
        if not self.options.confirm_ms:
            return None
        from cli.workspace import Confirm

        return Confirm(within_ms=self.options.confirm_ms, guards=self.options.guards)

    @property
    def shows_plans(self) -> bool:
        """Somebody reads along: what a commit leads to is shown before it is written."""
        return self.interactive or self.err.isatty()

    def open_workspace(self) -> Workspace:
        """The pending changes; begins a set of them when there is none."""
        if self.workspace is None:
            from cli.workspace import Workspace

            self.workspace = Workspace.begin(self.source())
        return self.workspace

    def print(self, text: str, end: str = "\n") -> None:
        """What was asked for, to standard output."""
        self.out.write(text + end)

    def emit(self, name: str, data: Mapping[str, Any]) -> None:
        """An answer for programs, to standard output; the form is that of `cli.formats`."""
        from cli.output import document

        self.print(document(name, data, self.options.output))

    def error(self, text: str) -> None:
        """To standard error, marked; in a script with the place of the line."""
        self._mark("ERROR", f"{self.place}: {text}" if self.place else text)

    def point(self, error: HaError) -> None:
        """Say which word is wrong, where the error knows: in a script by line and column, before the error.

        On a terminal: the line that was typed, and a mark below the word.
        """
        if self.line is None or not (self.interactive or self.source_name):
            return
        from cli.grammar.definitions import offset_of

        offset = offset_of(error, self.line.text)
        if offset is None:
            return
        if self.interactive:
            self.err.write(f"  {self.line.text}\n  {' ' * offset}^ column {offset + 1}\n")
        else:
            number, column = self.line.place(offset)
            self.place = f"{self.source_name}:{number}:{column}"

    def warning(self, text: str) -> None:
        """To standard error, marked."""
        self._mark("WARNING", text)

    def info(self, text: str) -> None:
        """To standard error, marked."""
        self._mark("INFO", text)

    def _mark(self, mark: str, text: str) -> None:
        self.out.flush()
        for line in text.splitlines():
            self.err.write(f"{mark}: {line}\n")
        self.err.flush()

    def confirm(self, question: str) -> bool:
        """Ask; -F is yes to all, -n is no to all, and so is having nobody to ask."""
        if self.options.force:
            return True
        if self.options.refuse or not self.can_ask:
            return False
        if self.ask is not None:
            return self.ask(question)
        self.err.write(f"{question} (y/n) ")
        self.err.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    @property
    def can_ask(self) -> bool:
        """Somebody sits there."""
        if self.interactive:
            return self.ask is not None
        return not self.options.script and sys.stdin.isatty() and self.err.isatty()
