"""What the machines boot: Debian's kernel, an initial file system, and one disk for both.

The base (Debian and our dependencies) is made once and kept; our own code is installed anew each time.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
CHECKOUT: Final = HERE.parents[1]
SUITE: Final = "bookworm"
MIRROR: Final = "http://deb.debian.org/debian"
PACKAGES: Final = (
    *("systemd-sysv", "dbus", "udev", "iproute2", "nfs-common", "kmod", "psmisc", "procps"),
    *("python3", "python3-venv", "resource-agents", "busybox-static"),
)
KERNEL: Final = "linux-image-amd64"
MODULES: Final = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
ENABLED: Final = (
    *("machine-setup.service", "door.socket", "hacluster.target"),
    *("ha-lrm", "ha-messaging", "ha-crm", "ha-sentinel"),
)
MASKED: Final = (
    *("serial-getty@ttyS0.service", "getty@tty1.service", "apt-daily.timer", "apt-daily-upgrade.timer"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "dpkg-db-backup.timer", "logrotate.timer"),
)
_UNHURRIED: Final = ("WatchdogSec=90s", "TimeoutStartSec=240s")
PATIENCE: Final = {
    # An emulated processor is some thirty times slower: the units' own limits would end what is only slow.
    "ha-lrm.service": _UNHURRIED,
    "ha-messaging.service": _UNHURRIED,
    "ha-crm.service": _UNHURRIED,
    "ha-sentinel.service": (
        "ExecStart=",
        "ExecStart=/usr/sbin/ha-sentinel --watchdog /dev/watchdog0 --timeout 30s --self-fence machine",
    ),
}
DISK_MB: Final = 3_000
WITHIN_S: Final = 540

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Image:
    """Files that QEMU is started with."""

    kernel: Path
    initrd: Path
    disk: Path


def build(cache: Path, configuration: Path, say: Say) -> Image:
    """All of it. `configuration` has a folder for each node, as `hacli import` writes them.

    Raises subprocess.CalledProcessError and TimeoutExpired; their command says what is missing.
    """
    cache.mkdir(parents=True, exist_ok=True)
    base = cache / "base"
    if not (cache / "base.done").exists():
        say("Debian's packages (once)")
        shutil.rmtree(base, ignore_errors=True)
        _debian(cache, base)
        say("its kernel (once)")
        _kernel(cache, base)
        say("our dependencies (once)")
        _dependencies(base)
        (cache / "base.done").touch()
    say("our own code")
    _ourselves(cache, base, configuration)
    say("the disk")
    disk = cache / "disk.img"
    disk.unlink(missing_ok=True)
    _run("mkfs.ext4", "-q", "-d", str(base), "-E", "lazy_itable_init=1", str(disk), f"{DISK_MB}M")
    return Image(cache / "vmlinuz", cache / "initrd.gz", disk)


def _debian(cache: Path, base: Path) -> None:
    archive = cache / "base.tar"
    if not archive.exists():
        partial = archive.with_suffix(".partial.tar")
        _run(
            *("mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
            *(SUITE, str(partial), MIRROR),
        )
        partial.rename(archive)
    base.mkdir()
    _run("tar", "-xf", str(archive), "-C", str(base))


def _kernel(cache: Path, base: Path) -> None:
    """The image of the package that the meta-package depends on, unpacked and not installed."""
    depends = _run("apt-cache", "depends", KERNEL)
    (package,) = (line.split()[1] for line in depends.splitlines() if "Depends: linux-image" in line)
    folder = cache / "kernel"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    _run("apt-get", "download", package, cwd=folder)
    (archive,) = folder.glob("*.deb")
    _run("dpkg-deb", "-x", str(archive), str(folder))
    (image,) = (folder / "boot").glob("vmlinuz-*")
    version = image.name.removeprefix("vmlinuz-")
    shutil.copy(image, cache / "vmlinuz")
    shutil.copytree(folder / "lib/modules", base / "lib/modules", symlinks=True, dirs_exist_ok=True)
    _run("depmod", "-b", str(base), version)
    _initrd(cache, base / "lib/modules" / version)


def _initrd(cache: Path, modules: Path) -> None:
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needs[Path(path).name.removesuffix(".ko").replace("-", "_")] = [*reversed(rest.split()), path]
    wanted: list[str] = []
    for module in MODULES:
        wanted += [path for path in needs.get(module, []) if path not in wanted]
    folder = cache / "initrd"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", folder / "bin/busybox")
    shutil.copy(HERE / "guest/init", folder / "init")
    (folder / "init").chmod(0o755)
    for path in wanted:
        (folder / "lib").mkdir(exist_ok=True)
        shutil.copy(modules / path, folder / "lib" / Path(path).name)
    (folder / "modules").write_text("".join(f"/lib/{Path(path).name}\n" for path in wanted))
    names = "\n".join(str(path.relative_to(folder)) for path in sorted(folder.rglob("*")))
    packed = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc"],
        input=names.encode(),
        cwd=folder,
        capture_output=True,
        timeout=WITHIN_S,
        check=True,
    )
    (cache / "initrd.gz").write_bytes(gzip.compress(packed.stdout, 6))


def _dependencies(base: Path) -> None:
    """Wheels for the Python of the base."""
    with (CHECKOUT / "pyproject.toml").open("rb") as file:
        wanted = tomllib.load(file)["project"]["dependencies"]
    wheels = base / "opt/wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    only = ("--only-binary=:all:", "--implementation", "cp", "--python-version", "3.11")
    _run(sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels), *only, *wanted)


def _ourselves(cache: Path, base: Path, configuration: Path) -> None:
    """As an administrator does it: deploy/install.sh, the configuration, the units."""
    wheels = cache / "wheel"
    shutil.rmtree(wheels, ignore_errors=True)
    build = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels))
    _run(sys.executable, "-m", "pip", "wheel", *build, str(CHECKOUT))
    (wheel,) = wheels.glob("*.whl")
    source = base / "opt/source"
    shutil.rmtree(source, ignore_errors=True)
    for part in ("deploy", "docs/man"):
        shutil.copytree(CHECKOUT / part, source / part)
    shutil.copy(wheel, source)
    if (base / "opt/hacluster").exists():
        _chroot(base, "/opt/hacluster/bin/pip", "uninstall", "--quiet", "--yes", "hacluster")
    environment = {"PIP_ARGS": "--no-index --find-links /opt/wheels", "PYTHON": "/usr/bin/python3"}
    _chroot(base, "/opt/source/deploy/install.sh", "--wheel", f"/opt/source/{wheel.name}", **environment)
    machine = base / "opt/machine"
    shutil.rmtree(machine, ignore_errors=True)
    shutil.copytree(configuration, machine / "nodes")
    shutil.copy(HERE / "guest/setup", machine / "setup")
    (machine / "setup").chmod(0o755)
    units = base / "etc/systemd/system"
    for name in ("machine-setup.service", "door.socket", "door@.service"):
        shutil.copy(HERE / "guest" / name, units / name)
    for unit, lines in PATIENCE.items():
        (units / f"{unit}.d").mkdir(exist_ok=True)
        (units / f"{unit}.d/emulated.conf").write_text("[Service]\n" + "\n".join(lines) + "\n")
    (base / "var/www/html").mkdir(parents=True, exist_ok=True)
    (base / "etc/machine-id").write_text("7dd1d5a7c0b94ba5b8a2a3c46c3f0a11\n")
    (base / "etc/fstab").write_text("")
    _chroot(base, "systemctl", "enable", "--quiet", *ENABLED)
    _chroot(base, "systemctl", "mask", "--quiet", *MASKED)


def _chroot(base: Path, *command: str, **environment: str) -> None:
    """In a mount namespace of its own, since much wants a /proc."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    script = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    _run(
        "unshare",
        "--mount",
        "sh",
        "-c",
        script,
        str(base),
        "/usr/bin/env",
        "-i",
        f"PATH={path}",
        *_assignments(environment),
        *command,
    )


def _assignments(environment: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in environment.items()]


def _run(*command: str, cwd: Path | None = None) -> str:
    """What it prints. Raises CalledProcessError (with its standard error on ours), TimeoutExpired."""
    done = subprocess.run(
        ["nice", *command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=WITHIN_S,
        check=True,
    )
    return done.stdout
