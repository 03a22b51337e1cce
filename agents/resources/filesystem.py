"""ocf:hacluster:Filesystem: mounts a file system; busy ones are freed of their users before they go."""

from __future__ import annotations

import os
import signal
import stat
import time

from agents import sdk
from agents.mounts import Mount, at, below, mounts, users
from hacluster.vocabulary.ocf_exit import OcfExit

READ_LEVEL = 10
WRITE_LEVEL = 20

# File systems whose "device" is no file: a name of a server, or nothing at all.
_WITHOUT_DEVICE = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "ceph",
        "glusterfs",
        "lustre",
        "9p",
        "virtiofs",
        "tmpfs",
        "overlay",
        "zfs",
    }
    | {"ramfs", "proc", "sysfs", "cgroup2", "efs", "none"}
)
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "lustre"})
_FSCK_NEEDED = frozenset({"ext2", "vfat", "msdos"})
_READ_ONLY_BY_NATURE = frozenset({"iso9660", "squashfs", "erofs", "udf"})
_OWN_DEVICE_NUMBERS = frozenset({"btrfs", "zfs", "overlay", "nfs", "nfs4"})
_TAGS = {"UUID": "by-uuid", "LABEL": "by-label", "PARTUUID": "by-partuuid", "PARTLABEL": "by-partlabel"}

# Left for the report when an action's own waiting ends before the cluster's patience does.
_MARGIN_MS = 500


class Filesystem(sdk.Agent):
    """Mounts, checks and unmounts; parameters are named as those of heartbeat's Filesystem."""

    name = "Filesystem"
    shortdesc = "A mounted file system"
    longdesc = """Manages one mount: of a block device, of an image file (through a loop device), of a network
        file system, or of a folder (bind). Stop ends the processes that use it, and fails rather than leave
        it mounted. Monitor looks into the kernel's table; with OCF_CHECK_LEVEL=10 it also reads, with 20 it
        also writes."""
    actions = (
        sdk.Action("start", "60s"),
        sdk.Action("stop", "60s"),
        sdk.Action("monitor", "40s", interval="20s", depth="0"),
        sdk.Action("monitor", "40s", interval="20s", depth="10"),
        sdk.Action("monitor", "40s", interval="20s", depth="20"),
    )

    device = sdk.Text(
        """What to mount: a block device, UUID=, LABEL=, an image file, SERVER:/PATH, or a folder to bind.""",
        required=True,
    )
    directory = sdk.Text("Where to mount it. It is made when it is missing.", required=True, unique=True)
    fstype = sdk.Text("The type of the file system. The kernel finds it out for disks and images.")
    options = sdk.Text("Options of mount(8), separated by commas. For an image, loop is added.")
    force_unmount = sdk.Text(
        "Whether stop ends the processes that use the file system (safe means true).",
        options=("true", "false", "safe", "yes", "no"),
        default="true",
    )
    signal_delay = sdk.Duration("How long they have for a clean end, before they are killed.", default="1s")
    run_fsck = sdk.Text(
        "Check it before mounting: auto does so for file systems without a journal.",
        options=("auto", "force", "no"),
        default="auto",
    )
    statusfile_prefix = sdk.Text(
        "Where monitor writes, below the mounted folder: a prefix for the file's name.",
        default=".Filesystem_status/",
    )

    @classmethod
    def preload_imports(cls) -> None:
        """What start and stop need."""
        import subprocess  # noqa: F401

    def validate(self) -> None:
        """Paths must be absolute, and the mount point must not be the root."""
        if not self.directory.startswith("/") or not self._point.strip("/"):
            raise _wrong(f"directory: {self.directory!r} cannot be a mount point")
        if self.statusfile_prefix.startswith("/") or ".." in self.statusfile_prefix.split("/"):
            raise _wrong("statusfile_prefix: must lie below the mounted folder")
        if self.device.startswith("-"):
            raise _wrong(f"device: {self.device!r} looks like an option")

    def check_environment(self) -> None:
        """A local device must be there."""
        if self._needs_device and not os.path.exists(self._device_path):
            raise sdk.AgentFailure(OcfExit.ERR_INSTALLED, f"there is no {self.device}")

    def start(self) -> OcfExit | None:
        """Mount."""
        mounted = self._seen()
        if mounted is not None:
            if not self._is_ours(mounted):
                raise sdk.AgentFailure(
                    OcfExit.ERR_GENERIC, f"{mounted.source} is mounted on {self._point}, not {self.device}"
                )
            return OcfExit.OK
        os.makedirs(self._point, exist_ok=True)
        self._check_disk()
        options = [option for option in self.options.split(",") if option]
        if self._is_image and "loop" not in {option.partition("=")[0] for option in options}:
            options.append("loop")
        command = ["mount", *(("-t", self.fstype) if self.fstype else ())]
        command += ["-o", ",".join(options)] if options else []
        code, output = self._run([*command, "--", self.device, self._point])
        if code or self._seen() is None:
            reason = output or f"mount ended with {code}, and nothing is mounted"
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"{self.device} cannot be mounted: {reason}")
        self.log("INFO", f"{self.device} mounted on {self._point}")
        return OcfExit.OK

    def stop(self) -> OcfExit | None:
        """Unmount, together with what is mounted inside."""
        began_ns = time.monotonic_ns()
        signalled: set[tuple[int, int]] = set()
        reason = ""
        pause_ms = 10
        while True:
            mounted = self._seen()
            if mounted is None:
                return OcfExit.OK
            if not self._is_ours(mounted):
                self.log("WARNING", f"{mounted.source} on {self._point} is not {self.device}: left alone")
                return OcfExit.OK
            last = (*below(mounted.point, mounts()), mounted)[0]
            code, output = self._unmount(last, hard=bool(reason))
            if code == 0:
                continue
            reason = output or f"umount ended with {code}"
            if self.force_unmount in ("false", "no") or self.remaining_ms() <= _MARGIN_MS + pause_ms:
                raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"{last.point} cannot be unmounted: {reason}")
            patient = time.monotonic_ns() - began_ns < self.signal_delay * 1_000_000
            self._end_users(last, signalled, patient=patient)
            time.sleep(pause_ms / 1000)
            pause_ms = min(pause_ms * 2, 200)

    def monitor(self) -> OcfExit | None:
        """It is mounted; by level, it can be read and written."""
        mounted = self._seen()
        if mounted is None:
            return OcfExit.NOT_RUNNING
        if not self._is_ours(mounted):
            self.log("WARNING", f"{mounted.source} is mounted on {self._point}, not {self.device}")
            return OcfExit.NOT_RUNNING
        if self.check_level < READ_LEVEL:
            return OcfExit.OK
        if "ro" in mounted.super_options and not self._may_be_read_only(mounted):
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"{self._point} has become read-only")
        self._limited(self._read, "reading")
        if self.check_level >= WRITE_LEVEL:
            self._limited(self._write, "writing")
        return OcfExit.OK

    @property
    def _point(self) -> str:
        """The mount point as the kernel writes it, unless there are links in the path."""
        return os.path.normpath(self.directory)

    @property
    def _needs_device(self) -> bool:
        if self.fstype in _WITHOUT_DEVICE and not self._is_bind:
            return False
        if self.fstype.startswith("fuse"):
            return False
        return self.device.startswith("/") or self.device.partition("=")[0] in _TAGS

    @property
    def _device_path(self) -> str:
        """The file for UUID= and its like."""
        tag, equals, value = self.device.partition("=")
        if equals and tag in _TAGS:
            return f"/dev/disk/{_TAGS[tag]}/{value}"
        return self.device

    @property
    def _is_bind(self) -> bool:
        return bool({"bind", "rbind"} & set(self.options.split(",")))

    @property
    def _is_image(self) -> bool:
        return self._needs_device and not self._is_bind and os.path.isfile(self._device_path)

    def _seen(self) -> Mount | None:
        """What is mounted on the directory, read from the kernel's table without touching it."""
        known = mounts()
        found = at(self._point, known)
        if found is None:
            found = at(os.path.realpath(self._point), known)
        return found

    def _is_ours(self, mounted: Mount) -> bool:
        """False only when what is mounted is certainly something else: in doubt stop has to unmount it."""
        if self._is_bind or mounted.source == self.device:
            return True
        if not self._needs_device:
            both_remote = self.fstype in _NETWORK and mounted.fstype in _NETWORK
            return not both_remote or mounted.source.rstrip("/") == self.device.rstrip("/")
        path = self._device_path
        try:
            status = os.stat(path)
        except OSError:
            return True
        if stat.S_ISREG(status.st_mode):
            backing = _backing_file(mounted.source)
            return not backing or os.path.realpath(backing) == os.path.realpath(path)
        if not stat.S_ISBLK(status.st_mode) or mounted.fstype in _OWN_DEVICE_NUMBERS:
            return True
        numbers = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        return mounted.device == numbers or os.path.realpath(mounted.source) == os.path.realpath(path)

    def _may_be_read_only(self, mounted: Mount) -> bool:
        return "ro" in self.options.split(",") or mounted.fstype in _READ_ONLY_BY_NATURE

    def _check_disk(self) -> None:
        """fsck; its codes 0 and 1 (errors corrected) are good ones."""
        wanted = self.run_fsck == "force" or (self.run_fsck == "auto" and self.fstype in _FSCK_NEEDED)
        if not wanted or not self._needs_device or self._is_bind:
            return
        kind = ["-t", self.fstype] if self.fstype else []
        code, output = self._run(["fsck", *kind, "-a", self._device_path])
        if code > 1:
            raise sdk.AgentFailure(
                OcfExit.ERR_GENERIC, f"{self.device} does not pass fsck ({code}): {output}"
            )

    def _unmount(self, mounted: Mount, *, hard: bool) -> tuple[int, str]:
        """One attempt. A network file system is forced from the second on: its server may be gone."""
        force = ["-f"] if hard and mounted.fstype in _NETWORK else []
        return self._run(["umount", *force, "--", mounted.point])

    def _end_users(self, mounted: Mount, signalled: set[tuple[int, int]], *, patient: bool) -> None:
        number = signal.SIGTERM if patient else signal.SIGKILL
        for pid in users(mounted):
            if (pid, number) in signalled:
                continue
            signalled.add((pid, number))
            self.log("INFO", f"{number.name} to process {pid}, which uses {mounted.point}")
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
            except PermissionError as error:
                self.log("WARNING", f"process {pid} cannot be ended: {error}")

    def _run(self, command: list[str]) -> tuple[int, str]:
        """Exit code and all output of a program, within the action's time."""
        import subprocess

        limit_s = max(self.remaining_ms() - _MARGIN_MS, 100) / 1000
        try:
            done = subprocess.run(
                command,
                env={**self.environ, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=limit_s,
                check=False,
            )
        except FileNotFoundError:
            raise sdk.AgentFailure(OcfExit.ERR_INSTALLED, f"{command[0]} is not installed") from None
        except subprocess.TimeoutExpired:
            raise sdk.AgentFailure(
                OcfExit.ERR_GENERIC, f"{command[0]} did not end within {limit_s:.1f} s"
            ) from None
        return done.returncode, " ".join(done.stdout.decode(errors="replace").split())

    def _limited(self, test: sdk.Test, what: str) -> None:
        """Run a test that may never come back (dead disk, dead server) in a child that can be left alone."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            reason = f"{what} was not possible"
            try:
                sdk.let_go_of_output()  # or whoever reads ours to its end would hang with the child
                test()
                reason = ""
            except OSError as error:
                reason = str(error)
            finally:
                os.write(writer, reason.encode() or b"\0")
                os._exit(0)
        os.close(writer)
        try:
            reason = self._answer_of(child, reader, what)
        finally:
            os.close(reader)
        if reason:
            raise sdk.AgentFailure(OcfExit.ERR_GENERIC, f"{what} on {self._point} failed: {reason}")

    def _answer_of(self, child: int, reader: int, what: str) -> str:
        import select

        limit_ms = max(self.remaining_ms() - _MARGIN_MS, 100)
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        if not poll.poll(limit_ms):
            os.kill(child, signal.SIGKILL)  # not waited for: it may hang in the kernel
            return f"no answer within {limit_ms} ms"
        answer = os.read(reader, 4096)
        os.waitpid(child, 0)
        if not answer:
            return f"{what} ended in the middle"
        return answer.decode(errors="replace").strip("\0")

    def _read(self) -> None:
        """The folder's list, and the beginning of the device behind the cache's back."""
        os.listdir(self._point)
        path = self._device_path
        if not self._needs_device or self._is_bind or not stat.S_ISBLK(os.stat(path).st_mode):
            return
        import mmap

        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        try:
            os.readv(descriptor, [mmap.mmap(-1, 4096)])
        finally:
            os.close(descriptor)

    def _write(self) -> None:
        """Write a file, synchronously, and read it back."""
        node = self.meta("on_node") or os.uname().nodename
        path = os.path.join(self._point, f"{self.statusfile_prefix}{self.instance.replace('/', '-')}.{node}")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        text = f"{self.instance} {time.time_ns()}\n".encode()
        flags = os.O_CREAT | os.O_RDWR | os.O_TRUNC | os.O_SYNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            os.write(descriptor, text)
            if os.pread(descriptor, len(text) + 1, 0) != text:
                raise OSError(f"{path} does not hold what was written")
        finally:
            os.close(descriptor)


def _backing_file(source: str) -> str:
    """The image behind /dev/loopN; empty when it is not a loop device or has none."""
    name = os.path.basename(source)
    if not name.startswith("loop"):
        return ""
    try:
        with open(f"/sys/block/{name}/loop/backing_file") as file:
            return file.read().rstrip("\n").removesuffix(" (deleted)")
    except OSError:
        return ""


def _wrong(reason: str) -> sdk.AgentFailure:
    return sdk.AgentFailure(OcfExit.ERR_CONFIGURED, f"parameter {reason}")


AGENT = Filesystem
