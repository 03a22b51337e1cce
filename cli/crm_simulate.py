"""crm_simulate by that name, for harnesses that call Pacemaker's tool."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Final

EXIT_OK: Final = 0
EXIT_ERROR: Final = 1
EXIT_USAGE: Final = 64
EXIT_DATA: Final = 65
EXIT_NO_INPUT: Final = 66
EXIT_SOFTWARE: Final = 70
EXIT_CANNOT_CREATE: Final = 73
"""As sysexits.h has them, which Pacemaker's tools use."""


def main(argv: Sequence[str] | None = None) -> int:
    """`hacli simulate` with the options as crm_simulate takes them; -L asks the cluster of this node.

    Without -x and -p the CIB is that of CIB_file, of the shadow copy CIB_shadow names, or the live one.
    """
    try:
        from cli.commands.programs import SOURCES, simulate
        from cli.context import Context
        from hacluster.errors import ErrorCode, HaError
    except ModuleNotFoundError as error:
        print(
            f"crm_simulate: {sys.executable} has no {error.name}: "
            "set HA_PYTHON to the interpreter of the environment that hacluster is installed in",
            file=sys.stderr,
        )
        return EXIT_SOFTWARE

    words = list(sys.argv[1:] if argv is None else argv)
    if not any(_names_source(word, SOURCES) for word in words):
        words = [*_source_of_environment(), *words]
    context = Context()
    try:
        try:
            status = simulate(context, words, raising=True)
        except SystemExit as stop:
            status = EXIT_USAGE if stop.code else EXIT_OK
        sys.stdout.flush()
    except HaError as error:
        context.error(str(error))
        codes = {ErrorCode.INVALID_REQUEST: EXIT_USAGE, ErrorCode.INVALID_DOCUMENT: EXIT_DATA}
        status = codes.get(error.code, EXIT_ERROR)
    except BrokenPipeError:
        # The reader has seen enough; the interpreter must not complain at exit either.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_ERROR
    except OSError as error:
        context.error(f"{error.filename}: {error.strerror}")
        status = EXIT_NO_INPUT if isinstance(error, FileNotFoundError) else EXIT_CANNOT_CREATE
    finally:
        context.close()
    return status


def _names_source(word: str, sources: tuple[str, ...]) -> bool:
    """Whether a word is, or a cluster of letters holds, an option that names the CIB or needs none."""
    if word.startswith("--") or not word.startswith("-"):
        return word.partition("=")[0] in sources
    return any(f"-{letter}" in sources for letter in _letters(word))


def _letters(word: str) -> str:
    """The letters of a cluster like -sSQ, up to one that takes the rest as its value."""
    found = ""
    for letter in word[1:]:
        found += letter
        if letter in "xPNudfiFgrbetqwIOGD":
            break
    return found


def _source_of_environment() -> list[str]:
    if path := os.environ.get("CIB_file"):  # noqa: SIM112 (Pacemaker's name)
        return ["-x", path]
    if name := os.environ.get("CIB_shadow"):  # noqa: SIM112 (Pacemaker's name)
        folder = os.environ.get("CIB_shadow_dir", "")  # noqa: SIM112 (Pacemaker's name)
        folder = folder or "/var/lib/pacemaker/cib"
        return ["-x", f"{folder}/shadow.{name}"]
    return []


if __name__ == "__main__":
    sys.exit(main())
