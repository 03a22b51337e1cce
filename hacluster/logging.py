"""structlog, set up once a process: to stderr, as console text, key=value or JSON."""

from __future__ import annotations

import logging as standard
import sys
from typing import Final

import structlog

FORMATS: Final = ("console", "kv", "json")
LEVELS: Final = ("debug", "info", "warning", "error")


def configure(*, format: str | None = None, level: str = "info", **bound: str) -> None:  # noqa: A002
    """Set up logging; `bound` (node, service) is in every line. The format defaults by tty: console or kv."""
    chosen = format or ("console" if sys.stderr.isatty() else "kv")
    renderers: dict[str, structlog.typing.Processor] = {
        "console": structlog.dev.ConsoleRenderer(),
        "kv": structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "event"], bool_as_flag=False
        ),
        "json": structlog.processors.JSONRenderer(),
    }
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=False),
        structlog.processors.StackInfoRenderer(),
    ]
    if chosen != "console":
        processors.append(structlog.processors.format_exc_info)
    if chosen == "kv":
        processors.append(_printable)
    processors.append(renderers[chosen])
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(standard, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**bound)
    standard.basicConfig(stream=sys.stderr, level=standard.WARNING, format="%(name)s %(message)s")


def _printable(
    _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Keys that logfmt cannot carry become legal; values are text on one line."""
    return {
        str(key).replace(" ", "_"): value if isinstance(value, int | float | str | None) else str(value)
        for key, value in event.items()
    }
