"""A report has what helps, and no secret."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from cli.commands.report import moment
from cli.context import UsageError
from cli.prompt import DiscreetHistory
from cli.redaction import HIDDEN, is_secret, redacted, without_secrets
from crm.cib import codec
from tests.unit.cli.runner import hacli

CIB = """<cib><configuration><crm_config/><nodes/><resources>
<primitive id="db" class="ocf" provider="heartbeat" type="pgsql"><instance_attributes id="i">
<nvpair id="i-p" name="password" value="hush1"/><nvpair id="i-u" name="user" value="postgres"/>
<nvpair id="i-t" name="api_token" value="hush2"/></instance_attributes></primitive></resources><constraints/>
</configuration><status><node_state id="1" uname="n1"><lrm id="1"><lrm_resources><lrm_resource id="db">
<lrm_rsc_op id="db_last_0" operation="start"
 operation_key="db_start_0" rc-code="0" last-rc-change="1700000000"
 op-force-restart="x"/></lrm_resource></lrm_resources></lrm></node_state></status></cib>"""


def test_a_report_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HACLUSTER_ROOT", str(tmp_path))
    (tmp_path / "cib.xml").write_text(CIB)
    (tmp_path / "crm.log").write_text('event=x password="hush3" user=postgres\n')
    (tmp_path / "etc/hacluster").mkdir(parents=True)
    (tmp_path / "etc/hacluster/cluster.toml").write_text('[cluster]\nname = "web"\n')
    (tmp_path / "etc/hacluster/authkeys").write_text("1 hush4\n")
    target = tmp_path / "out"
    status, text = hacli(["--cib-file", str(tmp_path / "cib.xml"), "report", str(target)])
    assert status == 0, text
    assert (tmp_path / "out.tar.gz").stat().st_mode & 0o777 == 0o600
    with tarfile.open(f"{target}.tar.gz") as tar:
        texts = {}
        for member in tar.getmembers():
            file = tar.extractfile(member)
            assert file is not None
            texts[member.name] = file.read().decode()
    assert {
        "out/cib.xml",
        "out/configuration.crm",
        "out/status.txt",
        "out/cluster.toml",
        "out/logs/crm.log",
    } <= set(texts)
    assert not any("hush" in text for text in texts.values())
    assert "postgres" in texts["out/cib.xml"]
    assert 'name = "web"' in texts["out/cluster.toml"]
    assert hacli(["--cib-file", str(tmp_path / "cib.xml"), "report", str(target)])[0] == 1


def test_what_is_secret() -> None:
    assert all(map(is_secret, ("passwd", "password", "login_passwd", "pgsql_secret", "api-key", "community")))
    assert not any(map(is_secret, ("ip", "user", "keepalives", "monkey")))
    assert redacted("a passwd=x, b=y; secret: 'a b'") == f"a passwd={HIDDEN}, b=y; secret: {HIDDEN}"
    key = "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----"
    assert redacted(f"x {key} y") == f"x {HIDDEN} y"
    assert "hush" not in codec.render(without_secrets(codec.parse(CIB)))


def test_moments() -> None:
    assert moment("2026-01-31 12:30") - moment("2026-01-31") == 45_000
    assert moment("2h") < moment("1h")
    with pytest.raises(UsageError):
        moment("soon")


@pytest.mark.parametrize(
    ("line", "is_kept"),
    [
        ("configure primitive db Dummy params size=3", True),
        ("configure primitive db Dummy params password=hush", False),
        ('primitive db Dummy params api_key="hush hush"', False),
        ("resource secret db set admin hush", False),
        ("secret db set password -", False),
        ("resource secret db show admin", True),
        ("status", True),
    ],
)
def test_lines_with_secrets_are_in_no_history(line: str, is_kept: bool, tmp_path: Path) -> None:
    path = tmp_path / "history"
    history = DiscreetHistory(str(path))
    history.append_string(line)
    assert history.get_strings()[-1] == line, "the session knows it"
    assert path.exists() == is_kept
    assert [*DiscreetHistory(str(path)).load_history_strings()] == ([line] if is_kept else [])
