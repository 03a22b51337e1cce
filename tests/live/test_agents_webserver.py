"""ocf:hacluster:WebServer with real requests, its own server and nginx."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.agents_ground import DOORS, Ground, Resource, needs_root

pytestmark = [pytest.mark.netns, pytest.mark.skipif(bool(needs_root()), reason=needs_root() or "root")]

PORT = "8088"


@pytest.fixture
def ground() -> Iterator[Ground]:
    with Ground() as one:
        yield one


def a_server(ground: Ground, folder: Path, *, door: str = "executable", **parameters: str) -> Resource:
    docroot = folder / "docroot"
    docroot.mkdir(exist_ok=True)
    (docroot / "index.html").write_text("the page\n")
    given = {"docroot": str(docroot), "port": PORT, **parameters}
    return Resource(ground=ground, kind="WebServer", folder=folder, parameters=given, door=door)


def get(ground: Ground, path: str = "/", host: str = "127.0.0.1") -> tuple[int, str]:
    """(status, body); status 0 when nobody answers."""
    done = subprocess.run(
        ground.inside("curl", "-sg", "--path-as-is", "-w", "%{http_code}", f"http://{host}:{PORT}{path}"),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return int(done.stdout[-3:]), done.stdout[:-3]


def leader_of(folder: Path) -> int:
    return int((folder / "rsctmp/WebServer-test-WebServer.pid").read_text().split()[0])


@pytest.mark.parametrize("door", DOORS)
def test_life(ground: Ground, tmp_path: Path, door: str) -> None:
    resource = a_server(ground, tmp_path, door=door)
    assert get(ground)[0] == 0
    assert resource.rc("start") == 0
    assert get(ground) == (200, "the page\n")
    assert get(ground, "/index.html", host="[::1]") == (200, "the page\n")
    assert resource.rc("monitor") == 0
    assert resource.rc("stop") == 0
    assert get(ground)[0] == 0
    assert list((tmp_path / "rsctmp").iterdir()) == []


def test_files_outside_are_not_served(ground: Ground, tmp_path: Path) -> None:
    resource = a_server(ground, tmp_path)
    (tmp_path / "secret").write_text("treasure")
    (tmp_path / "docroot/link").symlink_to(tmp_path / "secret")
    (tmp_path / "docroot/folder").mkdir()
    (tmp_path / "docroot/inner").symlink_to("index.html")
    assert resource.rc("start") == 0
    for path in ("/link", "/../secret", "/%2e%2e/secret", "//../secret", "/folder/", "/missing"):
        status, body = get(ground, path)
        assert status == 404, path
        assert "treasure" not in body
    assert get(ground, "/inner") == (200, "the page\n")
    assert resource.rc("stop") == 0


def test_other_user(ground: Ground, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    resource = a_server(ground, tmp_path, user="nobody")
    assert resource.rc("start") == 0
    status = Path(f"/proc/{leader_of(tmp_path)}/status").read_text()
    assert "Uid:\t65534\t65534\t65534" in status
    assert "Groups:\t \n" in status
    assert resource.rc("stop") == 0


def test_killed_and_frozen(ground: Ground, tmp_path: Path) -> None:
    resource = a_server(ground, tmp_path)
    assert resource.rc("start") == 0
    ground.sh(f"kill -9 {leader_of(tmp_path)}")
    assert [resource.rc(action) for action in ("monitor", "start", "monitor")] == [7, 0, 0]
    frozen = Resource(
        ground=ground, kind="WebServer", folder=tmp_path, parameters=resource.parameters, timeout_ms=2_000
    )
    ground.sh(f"kill -STOP {leader_of(tmp_path)}")
    began = time.monotonic()
    hung = frozen("monitor")
    assert hung.rc == 1
    assert "no answer" in hung.stderr
    assert time.monotonic() - began < 2
    assert resource.rc("stop", OCF_RESKEY_CRM_meta_timeout="2000") == 0, "a frozen server is killed"
    assert resource.rc("monitor") == 7


def test_a_port_that_is_taken(ground: Ground, tmp_path: Path) -> None:
    other = a_server(ground, tmp_path, pidfile=str(tmp_path / "other.pid"))
    assert other.rc("start") == 0
    resource = a_server(ground, tmp_path)
    assert resource.rc("monitor") == 7
    started = resource("start")
    assert started.rc == 1
    assert "Address already in use" in started.stderr
    assert resource.rc("stop") == 0
    assert other.rc("monitor") == 0
    assert other.rc("stop") == 0


def test_an_address_that_is_not_here(ground: Ground, tmp_path: Path) -> None:
    resource = a_server(ground, tmp_path, address="192.0.2.1")
    started = resource("start")
    assert started.rc == 1
    assert "Cannot assign requested address" in started.stderr


def test_the_page_that_is_asked_for(ground: Ground, tmp_path: Path) -> None:
    resource = a_server(ground, tmp_path, testurl="/health")
    failed = resource("start", OCF_RESKEY_CRM_meta_timeout="1000")
    assert failed.rc == 1
    assert "/health on 127.0.0.1 port 8088 gives status 404" in failed.stderr
    (tmp_path / "docroot/health").write_text("ok")
    assert [resource.rc(action) for action in ("start", "monitor")] == [0, 0]
    (tmp_path / "docroot/health").unlink()
    assert resource.rc("monitor") == 1
    assert resource.rc("stop") == 0


def test_a_record_of_another_life_is_not_believed(ground: Ground, tmp_path: Path) -> None:
    """The number in the record belongs to somebody else by now: not ours, and not to be killed."""
    resource = a_server(ground, tmp_path)
    stranger = ground.spawn("sleep", "60")
    try:
        (tmp_path / "rsctmp").mkdir()
        (tmp_path / "rsctmp/WebServer-test-WebServer.pid").write_text(f"{stranger.pid} 1\n")
        assert [resource.rc(action) for action in ("monitor", "stop", "start", "stop")] == [7, 0, 0, 0]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.communicate()


def test_starts_are_fast(ground: Ground, tmp_path: Path) -> None:
    resource = a_server(ground, tmp_path)
    took_ms = []
    for _ in range(5):
        began = time.monotonic()
        assert resource.rc("start") == 0
        took_ms.append((time.monotonic() - began) * 1000)
        assert resource.rc("stop") == 0
    assert sorted(took_ms)[2] < 400, took_ms  # 90 ms on an idle machine; this one is shared


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx(ground: Ground, tmp_path: Path) -> None:
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(
        f"pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; events {{ }}\n"
        f"http {{ access_log off; server {{ listen {PORT}; root {tmp_path}/docroot; }} }}\n"
    )
    tmp_path.chmod(0o755)
    tmp_path.parent.chmod(0o755)
    resource = a_server(ground, tmp_path, server="nginx", configfile=str(configuration), user="")
    assert resource.rc("start") == 0
    assert get(ground)[0] in (200, 403)  # the workers' user may not reach pytest's folder
    assert resource.rc("monitor") == 0
    ground.sh(f"kill -9 {leader_of(tmp_path)}")
    died = resource("monitor")
    assert died.rc == 1
    assert "left processes" in died.stderr
    assert resource.rc("stop") == 0, "orphaned workers are ended too"
    assert get(ground)[0] == 0
    assert [resource.rc(action) for action in ("start", "monitor", "stop", "monitor")] == [0, 0, 0, 7]
    configuration.write_text("broken")
    broken = resource("start")
    assert broken.rc == 1
    assert "[emerg]" in broken.stderr


def test_programs_that_are_missing(ground: Ground, tmp_path: Path) -> None:
    missing = a_server(ground, tmp_path, server="apache", configfile="/etc/hosts", program="/no/httpd")
    assert missing.rc("start") == 5
    assert a_server(ground, tmp_path, server="nginx").rc("start") == 6
    assert a_server(ground, tmp_path, docroot="/no/folder").rc("start") == 5


def test_clients_that_go_away_or_say_nothing(ground: Ground, tmp_path: Path) -> None:
    resource = a_server(ground, tmp_path)
    assert resource.rc("start") == 0
    silent = ground.spawn("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{PORT}; echo; sleep 60")
    assert silent.stdout is not None
    silent.stdout.readline()
    try:
        assert get(ground) == (200, "the page\n"), "one silent client does not block the others"
        ground.sh(f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{PORT}; echo GET / HTTP/1.0 >&3'")
        assert resource.rc("monitor") == 0
    finally:
        silent.send_signal(signal.SIGKILL)
        silent.communicate()
    assert resource.rc("stop") == 0
