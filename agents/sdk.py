"""Write a resource agent in a page: declare parameters and actions, write start, stop and monitor.

Meta-data, validation, environment, exit codes and exit reasons come from here, and so do both doors: the
command `ha-agent TYPE ACTION`, and `run` in a forked child of the warm agent host. Heavy imports are avoided
on purpose (no dataclasses, no typing, no re): a cold start is paid for at each monitor.
"""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module

from agents.resources import MODULES
from hacluster.vocabulary.ocf_exit import OcfExit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Method = Callable[[], OcfExit | None]
    Steps = Iterator[float]
    Test = Callable[[], None]

OCF_PROVIDER = "hacluster"
TIMEOUT_MS_DEFAULT = 20_000
RSCTMP_DEFAULT = "/run/resource-agents"

_REASON = "ocf-exit-reason:"
_TRUE = frozenset({"1", "true", "yes", "on", "ja", "y"})
_FALSE = frozenset({"0", "false", "no", "off", "nein", "n"})
_UNITS_MS = {
    "ms": 1,
    "msec": 1,
    "s": 1_000,
    "sec": 1_000,
    "": 1_000,
    "m": 60_000,
    "min": 60_000,
    "h": 3_600_000,
}


class AgentFailure(Exception):
    """An action did not succeed: `rc` for the cluster, `reason` for people. Raise it from any depth."""

    def __init__(self, rc: OcfExit, reason: str) -> None:
        super().__init__(reason)
        self.rc = rc
        self.reason = reason


class Parameter:
    """One declared parameter: a descriptor that reads as its value on an agent. Use a subclass.

    `longdesc` is for people. `required` parameters have no default. `unique` ones must differ between
    resources (`unique_group`: together). A change of `reloadable` ones needs no restart. `replaced_with`
    names the parameter to use instead of this deprecated one.
    """

    content_type = "string"

    def __init__(
        self,
        longdesc: str,
        *,
        shortdesc: str = "",
        default: str | None = None,
        required: bool = False,
        unique: bool = False,
        unique_group: str = "",
        reloadable: bool = False,
        replaced_with: str = "",
    ) -> None:
        assert not (required and default is not None), "a required parameter has no default"
        self.name = ""
        self.longdesc = longdesc
        self.shortdesc = shortdesc
        self.default = default
        self.required = required
        self.unique = unique
        self.unique_group = unique_group
        self.reloadable = reloadable
        self.replaced_with = replaced_with

    def __set_name__(self, owner: type[Agent], name: str) -> None:
        self.name = self.name or name

    def parse(self, text: str) -> object:
        """The value for `text`. Raises ValueError saying what is allowed."""
        raise NotImplementedError

    def value(self, environ: Mapping[str, str]) -> object:
        """The value in an environment; an empty one counts as not given, as shell agents have it."""
        text = environ.get(f"OCF_RESKEY_{self.name}", "")
        if text:
            return self.parse(text)
        if self.required:
            raise ValueError("it is required")
        return self.parse(self.default or "")


class Text(Parameter):
    """A string; empty when there is neither a value nor a default. `options` limits it to some."""

    def __init__(
        self,
        longdesc: str,
        *,
        options: tuple[str, ...] = (),
        shortdesc: str = "",
        default: str | None = None,
        required: bool = False,
        unique: bool = False,
        unique_group: str = "",
        reloadable: bool = False,
        replaced_with: str = "",
    ) -> None:
        super().__init__(
            longdesc,
            shortdesc=shortdesc,
            default=default,
            required=required,
            unique=unique,
            unique_group=unique_group,
            reloadable=reloadable,
            replaced_with=replaced_with,
        )
        self.options = options
        self.content_type = "select" if options else "string"

    def __get__(self, agent: Agent, owner: type[Agent]) -> str:
        return str(agent.values[self.name])

    def parse(self, text: str) -> str:
        """The text itself, if it is one of the options."""
        if self.options and text not in self.options:
            raise ValueError(f"{text!r} is none of {', '.join(self.options)}")
        return text


class Integer(Parameter):
    """A whole number, 0 without a default, from `minimum` to `maximum`."""

    content_type = "integer"
    minimum = 0
    maximum = 2**31 - 1

    def __get__(self, agent: Agent, owner: type[Agent]) -> int:
        number = agent.values[self.name]
        assert isinstance(number, int)
        return number

    def between(self, minimum: int, maximum: int) -> Integer:
        """The same parameter with limits: `sdk.Integer("…").between(1, 65535)`."""
        self.minimum, self.maximum = minimum, maximum
        return self

    def parse(self, text: str) -> int:
        """The number, if it lies within the limits."""
        if not text:
            return 0
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
        if not self.minimum <= number <= self.maximum:
            raise ValueError(f"{number} is not between {self.minimum} and {self.maximum}")
        return number


class Duration(Parameter):
    """A time ("30", "30s", "500ms", "2min"; without a unit seconds), read as milliseconds."""

    def __get__(self, agent: Agent, owner: type[Agent]) -> int:
        value_ms = agent.values[self.name]
        assert isinstance(value_ms, int)
        return value_ms

    def parse(self, text: str) -> int:
        """Milliseconds."""
        if not text:
            return 0
        digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
        unit = text[len(digits) :].strip()
        whole, _, fraction = digits.partition(".")
        if unit not in _UNITS_MS or not whole.isdecimal() or not (fraction.isdecimal() or "." not in digits):
            raise ValueError(f"{text!r} is not a duration such as 30s, 500ms or 2min")
        scale = _UNITS_MS[unit]
        return int(whole) * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)


class Boolean(Parameter):
    """Yes or no, in any of the spellings of OCF agents; no without a default."""

    content_type = "boolean"

    def __get__(self, agent: Agent, owner: type[Agent]) -> bool:
        return bool(agent.values[self.name])

    def parse(self, text: str) -> bool:
        """True or false."""
        word = text.lower()
        if word in _TRUE:
            return True
        if word in _FALSE or not word:
            return False
        raise ValueError(f"{text!r} is neither true nor false")


class Action:
    """One action an agent advertises. Times are OCF's advice to tools, as text ("20s")."""

    def __init__(
        self, name: str, timeout: str = "20s", *, interval: str = "", depth: str = "", role: str = ""
    ) -> None:
        self.name = name
        self.timeout = timeout
        self.interval = interval
        self.depth = depth
        self.role = role


STANDARD_ACTIONS = (
    Action("start", "20s"),
    Action("stop", "20s"),
    Action("monitor", "20s", interval="10s", depth="0"),
)


class Agent:
    """The base of every agent. Subclasses declare parameters and write methods named after the actions.

    A method returns an OcfExit, or None for OK; "-" in an action's name is "_" in the method's. All actions
    must be idempotent. `validate` checks what types cannot, on any node; `check_environment` checks this
    node, before start and for validate-all with OCF_CHECK_LEVEL >= 10. Both raise AgentFailure.
    """

    name = ""
    version = "1.0"
    shortdesc = ""
    longdesc = ""
    actions: tuple[Action, ...] = STANDARD_ACTIONS

    def __init__(self, action: str, environ: Mapping[str, str]) -> None:
        self.environ = dict(environ)
        self.action = action
        self.instance = self.environ.get("OCF_RESOURCE_INSTANCE") or "default"
        self.interval_ms = self._meta_number("interval", 0)
        self.timeout_ms = self._meta_number("timeout", TIMEOUT_MS_DEFAULT)
        self.check_level = _number(self.environ.get("OCF_CHECK_LEVEL", ""), 0)
        self.values: dict[str, object] = {}
        self.later: Steps | None = None
        """What is left to do when the result has been told: a generator that yields the seconds to pass
        before its next step. Nobody waits for it, it may come late, and it may be cut off."""
        self._started_ns = time.monotonic_ns()

    @classmethod
    def parameters(cls) -> Iterator[Parameter]:
        """The declared parameters, those of base classes first, in the order they were written."""
        for base in reversed(cls.__mro__):
            for attribute in vars(base).values():
                if isinstance(attribute, Parameter):
                    yield attribute

    @classmethod
    def preload_imports(cls) -> None:
        """Import what actions import late, for the warm host."""

    @property
    def is_probe(self) -> bool:
        """True for a monitor that asks whether the resource happens to run here."""
        return self.action == "monitor" and self.interval_ms == 0

    @property
    def state_folder(self) -> str:
        """HA_RSCTMP: a folder for state files; a reboot empties it."""
        return self.environ.get("HA_RSCTMP") or RSCTMP_DEFAULT

    def remaining_ms(self) -> int:
        """What is left of the action's time; bound every wait with it. Never negative."""
        used_ms = (time.monotonic_ns() - self._started_ns) // 1_000_000
        return max(self.timeout_ms - used_ms, 0)

    def meta(self, name: str) -> str:
        """A CRM_meta_* value, empty when the cluster did not send it."""
        return self.environ.get(f"OCF_RESKEY_CRM_meta_{name}", "")

    def log(self, level: str, text: str) -> None:
        """One line to stderr in the form of shell agents; `level` is DEBUG, INFO, WARNING or ERROR."""
        line = " ".join(text.split())
        _write(2, f"{time.strftime('%b %d %H:%M:%S')} {level}: {line}\n")

    def wait(
        self, ready: Callable[[], bool], what: str, *, step_ms: int = 10, step_ms_max: int = 250
    ) -> None:
        """Return as soon as `ready()`; ask at growing intervals until the action's time is nearly used up.

        Then raises AgentFailure, so that the reason is known before the cluster kills the action.
        """
        while not ready():
            left_ms = self.remaining_ms() - min(500, self.timeout_ms // 10)
            if left_ms <= 0:
                raise AgentFailure(OcfExit.ERR_GENERIC, f"{what} did not happen within {self.timeout_ms} ms")
            time.sleep(min(step_ms, left_ms) / 1000)
            step_ms = min(step_ms * 2, step_ms_max)

    def validate(self) -> None:
        """Check the parameters together, without looking at this node."""

    def check_environment(self) -> None:
        """Check that this node has what the resource needs."""

    def start(self) -> OcfExit | None:
        """Activate the resource and return when it works."""
        raise NotImplementedError

    def stop(self) -> OcfExit | None:
        """Deactivate it; success also when it does not run."""
        raise NotImplementedError

    def monitor(self) -> OcfExit | None:
        """OK, NOT_RUNNING, RUNNING_PROMOTED, or what is wrong."""
        raise NotImplementedError

    def load_values(self) -> None:
        """Parse all parameters. Raises AgentFailure that names every wrong one."""
        wrong = []
        for parameter in self.parameters():
            try:
                self.values[parameter.name] = parameter.value(self.environ)
            except ValueError as error:
                wrong.append(f"parameter {parameter.name}: {error}")
        if wrong:
            raise AgentFailure(OcfExit.ERR_CONFIGURED, "; ".join(wrong))

    def _meta_number(self, name: str, default: int) -> int:
        return _number(self.meta(name), default)


def metadata(agent: type[Agent]) -> str:
    """The meta-data of an agent, OCF RA API 1.1."""
    lines = [
        '<?xml version="1.0"?>',
        f'<resource-agent name="{_escape(agent.name)}" version="{_escape(agent.version)}">',
        "<version>1.1</version>",
        f'<longdesc lang="en">{_escape(_folded(agent.longdesc))}</longdesc>',
        f'<shortdesc lang="en">{_escape(agent.shortdesc)}</shortdesc>',
        "<parameters>",
        *(_parameter_xml(parameter) for parameter in agent.parameters()),
        "</parameters>",
        "<actions>",
        *(_action_xml(action) for action in agent.actions),
        _action_xml(Action("meta-data", "5s")),
        _action_xml(Action("validate-all", "20s")),
        "</actions>",
        "</resource-agent>",
    ]
    return "\n".join(lines) + "\n"


def load(kind: str) -> type[Agent]:
    """The class of our agent of type `kind`. Raises LookupError when we have none."""
    module = import_module(MODULES[kind])
    agent: type[Agent] = module.AGENT
    assert issubclass(agent, Agent)
    return agent


def preload() -> None:
    """Import all our agents: for the warm host, before it forks."""
    for kind in MODULES:
        load(kind).preload_imports()


def do_in_background(steps: Steps) -> None:
    """What a process that ends with its action does with an agent's `later`: a child does it."""
    if in_background():
        return
    try:
        for pause_s in steps:
            time.sleep(pause_s)
    finally:
        os._exit(0)


def run(
    kind: str,
    action: str,
    environ: Mapping[str, str],
    do_later: Callable[[Steps], None] = do_in_background,
) -> int:
    """Run one action of our agent of type `kind` in this process; the exit code is returned.

    Output goes to file descriptors 1 and 2. `environ` is all the agent sees; os.environ is not read.
    Start and stop may leave children behind: call it in a process that ends afterwards. `do_later` is
    given what the agent has left to do when its result is known.
    """
    try:
        agent = load(kind)
    except LookupError:
        _write(2, f"{_REASON}there is no agent {kind}; there are {', '.join(sorted(MODULES))}\n")
        return OcfExit.ERR_INSTALLED
    return run_agent(agent, action, environ, do_later)


def run_agent(
    agent_class: type[Agent],
    action: str,
    environ: Mapping[str, str],
    do_later: Callable[[Steps], None] = do_in_background,
) -> int:
    """Run one action of any agent class, as `run` does."""
    if action == "meta-data":
        _write(1, metadata(agent_class))
        return OcfExit.OK
    known = {one.name for one in agent_class.actions} | {"validate-all"}
    if action not in known:
        _write(2, f"usage: {agent_class.name} {{{'|'.join(sorted(known | {'meta-data'}))}}}\n")
        return OcfExit.OK if action in ("usage", "help") else OcfExit.ERR_UNIMPLEMENTED
    agent = agent_class(action, environ)
    try:
        code = _run_checked(agent)
        if agent.later is not None:
            do_later(agent.later)
        return code
    except AgentFailure as failure:
        _write(2, f"{_REASON}{' '.join(failure.reason.split())}\n")
        return failure.rc
    except Exception as error:
        import traceback  # seldom needed, and not cheap

        _write(2, traceback.format_exc())
        _write(2, f"{_REASON}{action} of {agent_class.name} failed: {type(error).__name__}: {error}\n")
        return OcfExit.ERR_PERM if isinstance(error, PermissionError) else OcfExit.ERR_GENERIC


def in_background() -> bool:
    """Fork. True in the caller, at once; False in the child, which must end with os._exit.

    The child has a session of its own and /dev/null for its output, so that nobody waits for it. An action
    ends soon after, and the child is then reaped by whoever adopts it: no second fork is needed for that.
    """
    if os.fork():
        return True
    os.setsid()
    let_go_of_output()
    return False


def let_go_of_output() -> None:
    """Connect this process's input and output to /dev/null."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def main(agent: type[Agent]) -> None:
    """The last line of an agent that is a script of its own: `sdk.main(MyAgent)`; ends the process."""
    action = sys.argv[1] if len(sys.argv) == 2 else "usage"
    sys.exit(int(run_agent(agent, action, os.environ)))


def _run_checked(agent: Agent) -> int:
    """Parameters first. With wrong ones nothing was ever started: stop succeeds, a probe finds nothing."""
    try:
        agent.load_values()
        agent.validate()
        if agent.action == "start" or (agent.action == "validate-all" and agent.check_level >= 10):
            agent.check_environment()
    except AgentFailure as failure:
        if agent.action == "stop":
            agent.log("WARNING", f"nothing to stop with these parameters: {failure.reason}")
            return OcfExit.OK
        if agent.is_probe:
            agent.log("INFO", f"cannot run here: {failure.reason}")
            return OcfExit.NOT_RUNNING
        raise
    if agent.action == "validate-all":
        return OcfExit.OK
    method = getattr(agent, agent.action.replace("-", "_"))
    rc: OcfExit | None = method()
    return OcfExit.OK if rc is None else rc


def _parameter_xml(parameter: Parameter) -> str:
    attributes = f' name="{_escape(parameter.name)}"'
    for attribute, value in (
        ("required", parameter.required),
        ("unique", parameter.unique),
        ("reloadable", parameter.reloadable),
    ):
        attributes += f' {attribute}="1"' if value else ""
    if parameter.unique_group:
        attributes += f' unique-group="{_escape(parameter.unique_group)}"'
    content = f'<content type="{parameter.content_type}"'
    if parameter.default is not None:
        content += f' default="{_escape(parameter.default)}"'
    options = parameter.options if isinstance(parameter, Text) else ()
    chosen = "".join(f'<option value="{_escape(option)}"/>' for option in options)
    content += f">{chosen}</content>" if chosen else "/>"
    deprecated = ""
    if parameter.replaced_with:
        deprecated = f'<deprecated><replaced-with name="{_escape(parameter.replaced_with)}"/></deprecated>\n'
    summary = parameter.shortdesc or _folded(parameter.longdesc).partition(". ")[0].rstrip(".")
    return (
        f"<parameter{attributes}>\n"
        f'<longdesc lang="en">{_escape(_folded(parameter.longdesc))}</longdesc>\n'
        f'<shortdesc lang="en">{_escape(summary)}</shortdesc>\n'
        f"{deprecated}{content}\n</parameter>"
    )


def _action_xml(action: Action) -> str:
    text = f'<action name="{_escape(action.name)}" timeout="{_escape(action.timeout)}"'
    for attribute, value in (("interval", action.interval), ("depth", action.depth), ("role", action.role)):
        text += f' {attribute}="{_escape(value)}"' if value else ""
    return text + "/>"


def _folded(text: str) -> str:
    return " ".join(text.split())


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _number(text: str, default: int) -> int:
    return int(text) if text.isdecimal() else default


def _write(descriptor: int, text: str) -> None:
    """All of `text`, unbuffered; a reader that went away is no reason for an action to fail."""
    data = text.encode(errors="backslashreplace")
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except OSError:
            return
