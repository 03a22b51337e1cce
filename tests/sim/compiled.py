"""`python -m tests.sim.compiled run|replay|ledger …`: the simulator, its busiest modules as machine code.

The cores of ha-messaging, and the engine that plays them, are compiled by mypyc, which comes with mypy, from
the very files that the daemons run: three times as many seeds in the same time. A run has the same trace hash
as by `python -m tests.sim`; `same` shows it for a class. The build is kept under build/, named by the hash of
the files that went into it: never older than they are. It takes a minute, a C compiler and Python's headers.

Mutants replace functions of modules, which compiled ones don't notice: `python -m tests.sim` plays them.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import ModuleType

PROJECT: Final = Path(__file__).resolve().parents[2]
ROOT: Final = PROJECT
"""Below which the modules are; tests have one of their own."""
BUILDS: Final = ROOT / "build/simulator"
SUFFIX: Final = sysconfig.get_config_var("EXT_SUFFIX")
# Not the shells: they are not in the simulator. Not the network's paths: `Damaged` is bytes to all that look.
MODULES: Final = (
    *sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / "messaging/membership").glob("*.py")
        if path.name not in {"__init__.py", "shell.py"}
    ),
    "messaging/transport/links.py",
    "tests/sim/checkers.py",
    "tests/sim/engine.py",
    "tests/sim/membership.py",
)
BESIDE: Final = ("hacluster", "messaging", "tests/sim")
"""Folders whose modules these import."""
BUILD_SECONDS_MAX: Final = 900
# mypyc checks the types itself, without the project's plugins and stubs: `mypy` has checked them strictly.
SETTINGS: Final = (
    "[mypy]\nexplicit_package_bases = True\nignore_missing_imports = True\nfollow_imports = silent\n"
)


class BuildFailed(Exception):
    """The compiler's last words."""


class Compiled(MetaPathFinder):
    """Finds a module in a build before it is looked for among the sources."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The extension of that name, or None."""
        file = self.folder / (fullname.replace(".", "/") + SUFFIX)
        return importlib.util.spec_from_file_location(fullname, file) if file.is_file() else None


def named(modules: Sequence[str]) -> str:
    """The name of a build: what it depends on, hashed.

    That is more than what is compiled: constants of other modules are in the machine code, too.
    """
    beside = {str(path.relative_to(ROOT)) for folder in BESIDE for path in (ROOT / folder).rglob("*.py")}
    digest = hashlib.sha256(f"{sys.version} {version('mypy')} {SETTINGS} {modules}".encode())
    for file in sorted({*modules, *beside}):
        digest.update(f"{file} {hashlib.sha256((ROOT / file).read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def built(modules: Sequence[str] = MODULES, builds: Path = BUILDS) -> Path:
    """The folder of the build of these files; made when there is none. Raises BuildFailed."""
    folder = builds / named(modules)
    if folder.exists():
        return folder
    builds.mkdir(parents=True, exist_ok=True)
    print(f"compiling {len(modules)} modules into {folder}: about a minute", file=sys.stderr, flush=True)
    # Whole or not at all, also when two begin at once.
    making = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=builds))
    try:
        # A process of its own: mypyc leaves its mark on the interpreter, and prints where results go.
        made = subprocess.run(
            [sys.executable, "-m", "tests.sim.compiled", "build", str(making), *modules],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS_MAX,
        )
        if made.returncode:
            raise BuildFailed("\n".join((made.stdout + made.stderr).splitlines()[-20:]))
        try:
            making.rename(folder)
        except OSError:
            if not folder.exists():  # else somebody was faster, and theirs is the same
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def build(folder: Path, modules: Sequence[str]) -> None:
    """Compile into the folder. The working directory is the project's root."""
    # Both are of use to nobody who only plays: they are looked for when something is built.
    from mypyc.build import mypycify
    from setuptools import Distribution

    settings = folder / "mypy.ini"
    settings.write_text(SETTINGS, encoding="utf-8")
    extensions = mypycify(
        [f"--config-file={settings}", *modules], opt_level="3", debug_level="0", target_dir=str(folder / "c")
    )
    command = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(folder), str(folder / "o")
    command.ensure_finalized()
    command.run()


def active() -> bool:
    """Whether this process plays compiled modules."""
    return any(isinstance(finder, Compiled) for finder in sys.meta_path)


def use(folder: Path) -> None:
    """Take modules from the build from now on. Raises RuntimeError when one of them was imported before."""
    early = [name for name in sys.modules if (folder / (name.replace(".", "/") + SUFFIX)).is_file()]
    if early:
        raise RuntimeError(f"imported before the build could be used: {', '.join(early)}")
    sys.meta_path.insert(0, Compiled(folder))


def same(name: str, seed: int, seeds: int) -> int:
    """Play seeds both ways, each in a process of its own. Exit code 1 when one differs."""
    differing = 0
    for one in range(seed, seed + seeds):
        words = ["run", "--class", name, "--seed", str(one)]
        told = []
        for module in ("tests.sim", "tests.sim.compiled"):
            played = subprocess.run(
                [sys.executable, "-m", module, *words], cwd=ROOT, capture_output=True, text=True, check=False
            )
            before, _, trace = played.stdout.rpartition(" last trace ")
            told.append(
                trace.strip() if before else f"no trace (exit code {played.returncode}): {played.stderr}"
            )
        equal = told[0] == told[1] and "no trace" not in told[0]
        differing += not equal
        print(f"{name} seed {one}: {(' = ' if equal else ' but compiled ').join(told)}", flush=True)
    return 1 if differing else 0


def main(arguments: list[str]) -> int:
    """As `python -m tests.sim`, and `same --class C [--seed S] [--seeds K]`."""
    if arguments[:1] == ["build"]:
        build(Path(arguments[1]), arguments[2:])
        return 0
    if arguments[:1] == ["same"]:
        parser = argparse.ArgumentParser(prog="python -m tests.sim.compiled same")
        parser.add_argument("--class", dest="name", required=True)
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--seeds", type=int, default=1)
        options = parser.parse_args(arguments[1:])
        return same(options.name, options.seed, options.seeds)
    if arguments[:1] == ["mutants"]:
        print("mutants are played by `python -m tests.sim mutants`: compiled modules don't notice them")
        return 2
    try:
        use(built())
    except BuildFailed as failed:
        print(f"cannot compile (python -m tests.sim plays without): {failed}")
        return 2
    from tests.sim.__main__ import main as play  # after `use`: it imports what is compiled

    return play(arguments)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
    sys.exit(130)
