"""What is installed agrees with what it installs."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from hacluster import settings, supervising, supervisor

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNITS = {name: DEPLOY / f"systemd/ha-{name}.service" for name in supervisor.START}


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


def test_example_of_cluster_toml_is_accepted() -> None:
    example = settings.load(DEPLOY / "examples/cluster.toml")
    assert [node.name for node in example.nodes] == ["node1", "node2", "node3"]


@pytest.mark.parametrize("name", UNITS)
def test_units_follow_the_supervisors_rules(name: str) -> None:
    service = unit(UNITS[name])["Service"]
    limits = supervising.Limits(stop_within_ms=supervisor.STOP_WITHIN_MS)
    assert service["WatchdogSec"] == f"{limits.answer_within_ms // 1000}s"
    assert service["Restart"] == "always"
    final = [supervising.EXIT_CONFIG, *([supervising.EXIT_FENCED] if name == "crm" else [])]
    assert service["RestartPreventExitStatus"].split() == [str(code) for code in final]
    assert int(service["TimeoutStopSec"].rstrip("s")) * 1000 >= supervisor.STOP_WITHIN_MS[name]
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert Path(service["ExecStart"].split()[0]).name in scripts


def test_units_stop_in_the_supervisors_order() -> None:
    """systemd stops in the reverse order of After=."""
    for position, name in enumerate(supervisor.STOP):
        for later in supervisor.STOP[position + 1 :]:
            assert f"ha-{later}.service" in unit(UNITS[name])["Unit"]["After"]


def test_only_the_lrm_is_root_and_its_agents_survive_it() -> None:
    assert "User" not in unit(UNITS["lrm"])["Service"]
    assert unit(UNITS["lrm"])["Service"]["KillMode"] == "process"
    for name in ("messaging", "crm"):
        service = unit(UNITS[name])["Service"]
        assert service["User"] == "hacluster"
        assert service["NoNewPrivileges"] == "yes"


def test_the_sentinel_outlives_the_services_and_is_never_killed() -> None:
    sentinel = unit(DEPLOY / "systemd/ha-sentinel.service")
    for name in UNITS:
        assert f"ha-{name}.service" in sentinel["Unit"]["Before"]
    service = sentinel["Service"]
    assert (service["SendSIGKILL"], service["TimeoutStopSec"]) == ("no", "infinity")
    assert "--self-fence machine" in service["ExecStart"]


def test_what_ha_crm_writes_exists_and_is_its() -> None:
    writable = unit(UNITS["crm"])["Service"]["ReadWritePaths"].split()
    tmpfiles = (DEPLOY / "tmpfiles.d/hacluster.conf").read_text()
    for folder in writable:
        assert re.search(rf"^d +{folder} +\d+ hacluster haclient", tmpfiles, re.MULTILINE), folder
    assert set(writable) >= {f"/var/lib/hacluster/{name}" for name in ("cib", "transitions", "fencing")}


@pytest.mark.slow
def test_install_script(tmp_path: Path) -> None:
    """Into a folder of its own, without the dependencies: what it puts where."""
    if not shutil.which("sh"):
        pytest.skip("no sh")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("hacluster-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "cli/demo/examples/heartbeat-v1/haresources" in names
    assert not [name for name in names if name.startswith(("tests/", "proto/"))]
    prefix, dest = tmp_path / "opt", tmp_path / "dest"
    env = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "DESTDIR": str(dest),
        "PIP_ARGS": "--no-deps --no-index",
        "PYTHON": sys.executable,
        "HOME": str(tmp_path),
    }
    command = [str(DEPLOY / "install.sh"), "--wheel", str(wheel), "--prefix", str(prefix)]
    for _ in range(2):  # an update is the same again
        subprocess.run(command, env=env, check=True, capture_output=True)
    for program in ("ha-messaging", "ha-crm", "ha-lrm", "hacli", "ha-agent"):
        assert (dest / "usr/sbin" / program).resolve() == (prefix / "bin" / program).resolve()
    assert (dest / "etc/systemd/system/ha-lrm.service").exists()
    subprocess.run([*command, "--uninstall"], env=env, check=True, capture_output=True)
    assert not prefix.exists()
    assert [path for path in dest.rglob("*") if not path.is_dir()] == []
