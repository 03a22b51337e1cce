from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from lxml import etree

from agents import sdk
from agents.catalog import our_ocf_root
from agents.metadata import parse
from agents.resources import MODULES
from hacluster.vocabulary.ocf_exit import OcfExit

DEBIAN_RNG = Path("/usr/share/resource-agents/metadata.rng")


class Sample(sdk.Agent):
    """An agent in a page."""

    name = "Sample"
    shortdesc = "Sample <agent>"
    longdesc = """Two
        lines & more"""
    actions = (*sdk.STANDARD_ACTIONS, sdk.Action("reload-agent", "5s"))

    needed = sdk.Text("Needed. Always.", required=True)
    mode = sdk.Text("Mode.", options=("a", "b"), default="a")
    count = sdk.Integer("Count.", default="3").between(1, 9)
    wait_for = sdk.Duration("Time.", default="1500ms", reloadable=True)
    enabled = sdk.Boolean("Switch.", unique_group="g")
    folder = sdk.Text("Folder.", unique=True)
    old = sdk.Text("Old.", replaced_with="mode")

    def check_environment(self) -> None:
        if self.folder and not Path(self.folder).is_dir():
            raise sdk.AgentFailure(OcfExit.ERR_INSTALLED, f"there is no {self.folder}")

    def start(self) -> OcfExit | None:
        assert (self.mode, self.count, self.wait_for, self.enabled) == ("a", 3, 1500, False)
        return None

    def stop(self) -> OcfExit | None:
        raise OSError("boom")

    def monitor(self) -> OcfExit | None:
        return OcfExit.NOT_RUNNING

    def reload_agent(self) -> OcfExit | None:
        raise PermissionError("no")


def run(action: str, environ: Mapping[str, str] | None = None, **parameters: str) -> int:
    variables = {f"OCF_RESKEY_{name}": value for name, value in parameters.items()}
    return sdk.run_agent(Sample, action, {**variables, **(environ or {})})


def test_metadata_says_what_was_declared() -> None:
    metadata = parse(sdk.metadata(Sample), "Sample")
    assert (metadata.name, metadata.ocf_version) == ("Sample", (1, 1))
    assert (metadata.shortdesc, metadata.longdesc) == ("Sample <agent>", "Two lines & more")
    assert [parameter.name for parameter in metadata.parameters] == [
        "needed", "mode", "count", "wait_for", "enabled", "folder", "old",
    ]  # fmt: skip
    needed, mode, count, wait_for, enabled, folder, old = metadata.parameters
    assert needed.required
    assert needed.default is None
    assert (mode.type, mode.options, mode.default) == ("select", ("a", "b"), "a")
    assert (count.type, count.default) == ("integer", "3")
    assert wait_for.reloadable
    assert (enabled.type, enabled.unique_group) == ("boolean", "g")
    assert folder.unique
    assert old.deprecated
    assert old.replaced_with == ("mode",)
    assert metadata.reload_action == "reload-agent"
    assert metadata.supports("validate-all")
    assert metadata.supports("meta-data")


@pytest.mark.parametrize("kind", sorted(MODULES))
def test_each_of_our_agents_is_complete(kind: str) -> None:
    agent = sdk.load(kind)
    assert agent.name == kind
    metadata = parse(sdk.metadata(agent), kind)
    assert metadata.name == kind
    assert metadata.shortdesc
    assert metadata.longdesc
    for needed in ("start", "stop", "monitor", "meta-data", "validate-all"):
        assert metadata.supports(needed), needed
    for action in metadata.actions:
        assert action.timeout_ms, action.name
        if action.name not in ("meta-data", "validate-all"):
            assert callable(getattr(agent, action.name.replace("-", "_")))
    for parameter in metadata.parameters:
        assert parameter.longdesc, parameter.name
        assert parameter.shortdesc, parameter.name
    executable = our_ocf_root() / "resource.d/hacluster" / kind
    assert executable.stat().st_mode & 0o777 == 0o755
    assert f" {kind} " in executable.read_text()


def test_there_is_an_executable_for_nothing_else() -> None:
    assert {path.name for path in (our_ocf_root() / "resource.d/hacluster").iterdir()} == set(MODULES)


@pytest.mark.skipif(
    not DEBIAN_RNG.exists(), reason="package resource-agents is not installed: no metadata.rng"
)
@pytest.mark.parametrize("kind", sorted(MODULES))
def test_metadata_is_valid_by_the_grammar_of_resource_agents(kind: str) -> None:
    """That grammar is OCF 1.0 with roles: what 1.1 added is taken out, and checked by our parser above."""
    root = etree.fromstring(sdk.metadata(sdk.load(kind)).encode())
    for parameter in root.iterfind("parameters/parameter"):
        for attribute in ("reloadable", "unique-group"):
            parameter.attrib.pop(attribute, "")
        for deprecated in parameter.findall("deprecated"):
            parameter.remove(deprecated)
    grammar = etree.RelaxNG(etree.parse(str(DEBIAN_RNG)))
    grammar.assertValid(root)


def test_defaults_and_types() -> None:
    assert run("start", needed="x") == OcfExit.OK


def test_all_wrong_parameters_are_named_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("start", mode="c", count="10", wait_for="soon", enabled="perhaps") == OcfExit.ERR_CONFIGURED
    error = capfd.readouterr().err
    assert error.startswith("ocf-exit-reason:")
    assert error.count("\n") == 1
    for name in ("needed", "mode", "count", "wait_for", "enabled"):
        assert f"parameter {name}:" in error


@pytest.mark.parametrize("value", ["", "x", "1.5", "0", "10"])
def test_numbers(value: str) -> None:
    rc = run("validate-all", needed="x", count=value)
    assert rc == (OcfExit.ERR_CONFIGURED if value else OcfExit.OK)


@pytest.mark.parametrize(
    ("text", "value_ms"),
    [("30", 30_000), ("30s", 30_000), ("500ms", 500), ("1.5 s", 1_500), ("2min", 120_000), ("0", 0), ("", 0)],
)
def test_durations(text: str, value_ms: int) -> None:
    assert sdk.Duration("").parse(text) == value_ms


@pytest.mark.parametrize("text", ["-1", "s", "1.s", "1 hour", "١s²"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        sdk.Duration("").parse(text)


def test_nothing_can_run_with_wrong_parameters() -> None:
    assert run("stop") == OcfExit.OK
    assert run("monitor") == OcfExit.NOT_RUNNING
    assert run("monitor", {"OCF_RESKEY_CRM_meta_interval": "10000"}) == OcfExit.ERR_CONFIGURED
    assert run("validate-all") == OcfExit.ERR_CONFIGURED


def test_the_environment_is_checked_where_it_matters(capfd: pytest.CaptureFixture[str]) -> None:
    missing = "/nonexistent"
    assert run("start", needed="x", folder=missing) == OcfExit.ERR_INSTALLED
    assert run("validate-all", needed="x", folder=missing) == OcfExit.OK
    level = {"OCF_CHECK_LEVEL": "10"}
    assert run("validate-all", level, needed="x", folder=missing) == OcfExit.ERR_INSTALLED
    assert "ocf-exit-reason:there is no /nonexistent\n" in capfd.readouterr().err


def test_unexpected_errors_are_failures_with_a_reason(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("stop", needed="x") == OcfExit.ERR_GENERIC
    error = capfd.readouterr().err
    assert "Traceback" in error
    assert error.rstrip().endswith("ocf-exit-reason:stop of Sample failed: OSError: boom")
    assert run("reload-agent", needed="x") == OcfExit.ERR_PERM


def test_unknown_actions() -> None:
    assert run("promote", needed="x") == OcfExit.ERR_UNIMPLEMENTED
    assert run("__init__", needed="x") == OcfExit.ERR_UNIMPLEMENTED
    assert run("usage") == OcfExit.OK
    assert sdk.run("Missing", "start", {}) == OcfExit.ERR_INSTALLED


def test_waiting_ends_with_the_action(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Sample("start", {"OCF_RESKEY_CRM_meta_timeout": "30", "OCF_RESKEY_needed": "x"})
    with pytest.raises(sdk.AgentFailure, match="the light did not happen within 30 ms"):
        agent.wait(lambda: False, "the light")
    agent.wait(lambda: True, "nothing")


def test_what_an_agent_knows_of_its_call() -> None:
    environ = {
        "OCF_RESKEY_CRM_meta_interval": "10000",
        "OCF_RESKEY_CRM_meta_timeout": "5000",
        "HA_RSCTMP": "/x",
    }
    agent = Sample("monitor", {**environ, "OCF_CHECK_LEVEL": "10", "OCF_RESOURCE_INSTANCE": "web:1"})
    assert (agent.instance, agent.check_level, agent.is_probe) == ("web:1", 10, False)
    assert agent.state_folder == "/x"
    assert 0 < agent.remaining_ms() <= 5000
    probe = Sample("monitor", {})
    assert (probe.instance, probe.is_probe, probe.timeout_ms) == ("default", True, 20_000)
