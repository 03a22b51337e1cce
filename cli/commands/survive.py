"""`hacli verify --survive N`: what the loss of each node, or pair, would mean."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from cli.context import EXIT_FAILED, EXIT_OK, Context
from crm.cib import codec
from crm.cib.model import Element
from crm.explain.contributions import span
from crm.simulation.survive import Loss, Survival

EXIT_INTERRUPTED: Final = 130
WORTH_PROCESSES_S: Final = 10
"""A process takes a second to be of use: below this estimate one does it all."""
SAID_FROM_S: Final = 30


def survive(context: Context, cib: Element, now_s: int, count: int, *, sanitized: bool, jobs: int = 0) -> int:
    """Print each loss once it is known. Exit code 1: something would not be served; 130: interrupted."""
    survival = Survival(cib, now_s, sanitized=sanitized)
    done = [survival.as_it_is()]
    wanted = survival.combinations(count)
    report = _Report(context, done[0], len(wanted))
    complete = False
    try:
        with contextlib.closing(_losses(context, survival, now_s, wanted, sanitized, jobs)) as found:
            for loss in found:
                done.append(loss)
                report.add(loss)
        complete = True
    except KeyboardInterrupt:
        report.clear()
        context.warning(f"interrupted after {len(done) - 1} of {len(wanted)}: the rest is not known")
    if context.options.structured:
        context.emit("survive", {"complete": complete, "losses": [_data(loss) for loss in done]})
    if not complete:
        return EXIT_INTERRUPTED
    return EXIT_FAILED if any(loss.unserved or not loss.settled for loss in done) else EXIT_OK


def _losses(
    context: Context,
    survival: Survival,
    now_s: int,
    wanted: Sequence[tuple[str, ...]],
    sanitized: bool,
    jobs: int,
) -> Generator[Loss, None, None]:
    """In order. The first is done here: it tells how long all will take."""
    if not wanted:
        return
    began = time.monotonic()
    yield survival.lose(wanted[0])
    rest = wanted[1:]
    left_s = (time.monotonic() - began) * len(rest)
    count = min(jobs or os.cpu_count() or 1, len(rest))
    if left_s < WORTH_PROCESSES_S or count < 2:
        _say_estimate(context, left_s, len(rest), 1)
        for names in rest:
            yield survival.lose(names)
        return
    _say_estimate(context, left_s / count, len(rest), count)
    text = codec.render(survival.cib)
    pool = ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(text, now_s, sanitized)
    )
    try:
        yield from pool.map(_lose, rest)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _say_estimate(context: Context, left_s: float, count: int, processes: int) -> None:
    if left_s >= SAID_FROM_S:
        where = f" in {processes} processes" if processes > 1 else ""
        context.info(
            f"{count} more losses take about {span(round(left_s))}{where}; Ctrl-C shows what is known"
        )


class _Report:
    """What is known so far, and on a terminal a line that tells how far it is."""

    def __init__(self, context: Context, base: Loss, total: int) -> None:
        self._context, self._total = context, total
        self._already = bool(base.unserved)
        self._shown = context.err.isatty()
        self._began = time.monotonic()
        self._count = itertools.count(1)
        self._print(base)
        self._progress(0)

    def add(self, loss: Loss) -> None:
        """One more."""
        self.clear()
        self._print(loss)
        self._progress(next(self._count))

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._context.err.write("\r\x1b[K")
            self._context.err.flush()

    def _print(self, loss: Loss) -> None:
        if not self._context.options.structured:
            for line in _lines(loss, already=self._already):
                self._context.print(line)
            self._context.out.flush()

    def _progress(self, done: int) -> None:
        if not self._shown or done >= self._total:
            return
        left = ""
        if done:
            left_s = (time.monotonic() - self._began) / done * (self._total - done)
            left = f", about {span(round(left_s))} left" if left_s >= 1 else ""
        self._context.err.write(f"\r{done}/{self._total}{left} …")
        self._context.err.flush()


_survival: Survival | None = None  # of a worker process


def _begin(text: str, now_s: int, sanitized: bool) -> None:
    """In each worker, once; the parent alone answers Ctrl-C."""
    global _survival  # noqa: PLW0603 (a worker process has nothing else to keep it in)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _survival = Survival(codec.parse(text, source="the CIB at rest"), now_s, sanitized=sanitized)


def _lose(names: tuple[str, ...]) -> Loss:
    assert _survival is not None
    return _survival.lose(names)


# --- text and data


def _lines(loss: Loss, *, already: bool) -> Iterator[str]:
    head = f"Without {' and '.join(loss.nodes)}" if loss.nodes else "As it is"
    if not loss.settled:
        yield f"{head}: the cluster does not come to rest ({loss.transitions} transitions)."
    if not loss.unserved:
        yield f"{head}: {'nothing else is lost' if already else 'everything is served'}."
        return
    names = ", ".join(one.resource for one in loss.unserved)
    yield f"{head}: not served: {names}"
    for reasons, some in _by_reasons(loss).items():
        yield f"  * {', '.join(some)}:"
        for reason in reasons:
            yield f"    * {reason}"


def _by_reasons(loss: Loss) -> dict[tuple[str, ...], list[str]]:
    """Resources that are not served for the same reasons stand together."""
    found: dict[tuple[str, ...], list[str]] = {}
    for one in loss.unserved:
        found.setdefault(one.reasons, []).append(one.resource)
    return found


def _data(loss: Loss) -> dict[str, object]:
    return {
        "lost": list(loss.nodes),
        "settled": loss.settled,
        "transitions": loss.transitions,
        "unserved": [{"resource": one.resource, "reasons": list(one.reasons)} for one in loss.unserved],
    }
