from __future__ import annotations

from pathlib import Path

import pytest

from agents.metadata import is_secret_name, lsb_metadata, parse
from hacluster.errors import InvalidDocument


def a_document(version: str = "1.1", actions: str = "start stop monitor reload-agent") -> str:
    listed = "".join(f'<action name="{name}" timeout="20s"/>' for name in actions.split())
    return f"""<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="thing" version="2.3">
  <version>{version}</version>
  <longdesc lang="de">lang</longdesc><longdesc lang="en">a long
     text</longdesc>
  <shortdesc lang="en">short</shortdesc>
  <parameters>
    <parameter name="ip" required="1" unique="1"><content type="string"/></parameter>
    <parameter name="port" unique-group="address"><content type="integer" default="80"/></parameter>
    <parameter name="mode" reloadable="1">
      <content type="select" default="a"><option value="a"/><option value="b"/></content></parameter>
    <parameter name="old"><deprecated><replaced-with name="mode"/></deprecated><content type="boolean"/>
    </parameter>
    <parameter name="admin_password"><content type="string"/></parameter>
  </parameters>
  <actions>{listed}
    <action name="monitor" timeout="30" interval="10s" depth="10" role="Promoted"/>
    <action name="notify" timeout="soon"/>
  </actions>
</resource-agent>"""


def test_the_whole_model() -> None:
    metadata = parse(a_document(), "ocf:x:thing")
    assert (metadata.name, metadata.version, metadata.ocf_version) == ("thing", "2.3", (1, 1))
    assert (metadata.shortdesc, metadata.longdesc) == ("short", "a long text")
    ip, port, mode, old, password = metadata.parameters
    assert (ip.required, ip.unique, ip.unique_group, ip.default) == (True, True, "ip", None)
    assert (port.type, port.default, port.unique, port.unique_group) == ("integer", "80", True, "address")
    assert (mode.options, mode.default, mode.reloadable) == (("a", "b"), "a", True)
    assert (old.deprecated, old.replaced_with) == (True, ("mode",))
    assert password.private
    assert metadata.private_parameters == ("admin_password",)
    assert metadata.parameter("port") is port
    assert metadata.parameter("Port") is None


def test_actions() -> None:
    metadata = parse(a_document(), "x")
    monitor = metadata.action("monitor")
    assert monitor is not None
    assert (monitor.timeout_ms, monitor.interval_ms) == (20_000, None)
    deep = metadata.action("monitor", depth="10", role="Promoted")
    assert deep is not None
    assert (deep.timeout_ms, deep.interval_ms, deep.depth) == (30_000, 10_000, "10")
    notify = metadata.action("notify")
    assert notify is not None
    assert notify.timeout_ms is None
    assert metadata.action("promote") is None
    assert not metadata.promotable


@pytest.mark.parametrize(
    ("version", "actions", "reload_action", "reloadable"),
    [
        ("1.1", "start reload-agent", "reload-agent", ("mode",)),
        ("1.1", "start reload", "", ()),
        ("1.0", "start reload", "reload", ("mode", "old", "admin_password")),
        ("1.0", "start reload-agent", "", ()),
        ("", "reload", "reload", ("mode", "old", "admin_password")),
    ],
)
def test_reload(version: str, actions: str, reload_action: str, reloadable: tuple[str, ...]) -> None:
    metadata = parse(a_document(version, actions), "x")
    assert metadata.reload_action == reload_action
    assert metadata.reloadable_parameters == reloadable


def test_text_before_the_document_is_skipped() -> None:
    assert parse("Nov 23 INFO: hello\n" + a_document(), "x").name == "thing"


@pytest.mark.parametrize("text", ["", "no xml", "<resource-agent name='x'>", "<other/>"])
def test_garbage_names_the_agent(text: str) -> None:
    with pytest.raises(InvalidDocument, match="ocf:x:bad"):
        parse(text, "ocf:x:bad")


def test_entities_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("treasure")
    text = (
        f'<?xml version="1.0"?><!DOCTYPE resource-agent [<!ENTITY e SYSTEM "file://{secret}">]>'
        '<resource-agent name="x"><longdesc lang="en">&e;</longdesc></resource-agent>'
    )
    with pytest.raises(InvalidDocument, match="'e' not defined"):
        parse(text, "x")


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("passwd", True), ("admin_password", True), ("pass", True), ("secret", True), ("auth_token", True),
        ("api_key", True), ("passphrase", True),
        ("password_file", False), ("passwd_script", False), ("bypass_mode", False), ("key", False),
        ("ip", False), ("compass", False),
    ],
)  # fmt: skip
def test_secret_names(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


def test_lsb_script() -> None:
    script = """#!/bin/sh
### BEGIN INIT INFO
# Provides:          thing
# Short-Description: does things
# Description:       It does things
#  all day.
### END INIT INFO
"""
    metadata = lsb_metadata(script, "thing")
    assert (metadata.shortdesc, metadata.longdesc) == ("does things", "It does things all day.")
    assert metadata.supports("monitor")
    assert lsb_metadata("#!/bin/sh\n", "bare").shortdesc == "bare"
