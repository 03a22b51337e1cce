"""hacli: options, then one command, a script, or the shell."""

from __future__ import annotations

import sys

from hacluster import VERSION

TYPE_CHECKING = False  # as typing's, which costs as much as the rest of a start
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.context import Context


def main(argv: Sequence[str] | None = None) -> int:
    """The console script. 0 done, 1 failed or refused, 2 wrong use; all: docs/manual/configure.md."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["--version"]:  # asked by scripts, often, so it loads nothing
        sys.stdout.write(f"hacli {VERSION}\n")
        return 0
    return _guarded(words)


def _guarded(words: list[str]) -> int:
    import contextlib
    import os

    from cli.context import EXIT_CONFLICT, EXIT_FAILED, EXIT_UNSAFE, EXIT_USAGE, Context, Unsafe, UsageError
    from hacluster.errors import ErrorCode, HaError

    _speak_utf8()
    context = Context()
    try:
        status = _main(context, words)
        context.out.flush()
    except BrokenPipeError:
        # The reader has gone: nothing more to say, and the interpreter must not complain at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_FAILED
    except KeyboardInterrupt:
        context.err.write("\n")
        status = 130
    except UsageError as error:
        context.error(str(error))
        status = EXIT_USAGE
    except Unsafe as error:
        context.error(str(error))
        status = EXIT_UNSAFE
    except HaError as error:
        context.error(str(error))
        status = EXIT_CONFLICT if error.code is ErrorCode.CONFLICT else EXIT_FAILED
    finally:
        context.close()
    return status


def _speak_utf8() -> None:
    """UTF-8 in every locale, so that a dump loads again; what is none is refused where it stands."""
    import io

    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            errors = "backslashreplace" if stream is sys.stderr else "surrogateescape"
            stream.reconfigure(encoding="utf-8", errors=errors)


def _main(context: Context, words: list[str]) -> int:
    from cli.context import EXIT_OK
    from cli.options import take_options

    context.options = take_options(words)
    _prefer(context)
    if words and words[0] == "--version":
        context.print(f"hacli {VERSION}")
        return EXIT_OK
    if words and words[0] == "--compgen":
        from cli.completion import compgen

        return compgen(context, words[1:])
    from cli.dispatch import find_level, run_words
    from cli.levels import ROOT

    start = find_level(ROOT, words[0]) if len(words) == 1 else None
    if words and start is None and not context.options.script:
        return _finished(context, run_words(context, ROOT, words))
    from cli.shell import interact, run_script

    if context.options.script:
        return _finished(context, run_script(context, context.options.script))
    start = start or ROOT
    if sys.stdin.isatty() and sys.stdout.isatty():
        return interact(context, start)
    return _finished(context, run_script(context, "-", start))


def _prefer(context: Context) -> None:
    """What the user's own options say, where the command line does not."""
    from cli import user_options

    given = user_options.read()
    options = context.options
    options.safe = options.safe or user_options.is_on_in(given, "safe")
    options.wait = options.wait or user_options.is_on_in(given, "wait")
    if "wait-time" in given and not options.wait_given:
        from cli.options import duration_ms

        options.wait_ms = duration_ms("wait-time", given["wait-time"])


def _finished(context: Context, status: int) -> int:
    """With -w wait until the cluster has done what was changed."""
    if status == 0 and context.options.wait and context.changed_cluster and not context.offline:
        from cli.waiting import wait_for_goals

        return wait_for_goals(context, context.options.wait_ms)
    return status


if __name__ == "__main__":
    sys.exit(main())
