"""The table at the end of the demo, for people and for machines. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from cli.demo.timeline import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One event of the story. `outage_ms` is the client's; `bound_ms`, if any, its limit."""

    name: str
    ok: bool
    outage_ms: float
    total_ms: float
    bound_ms: float | None = None
    spans: tuple[Span, ...] = ()
    remark: str = ""

    @property
    def within(self) -> bool:
        """The outage kept to its bound."""
        return self.bound_ms is None or self.outage_ms <= self.bound_ms


def _ms(value: float) -> str:
    return f"{value:,.0f} ms"


def text(results: Sequence[Result], *, width: int = 100) -> str:
    """Each event, how long clients were without service, and where the time went."""
    name = max(28, *(len(result.name) for result in results)) + 2
    lines = [f"{'event':<{name}}{'no service':>12}  {'bound':>10}  {'until settled':>14}"]
    lines.append("-" * len(lines[0]))
    for result in results:
        bound = _ms(result.bound_ms) if result.bound_ms is not None else "-"
        mark = "" if result.ok and result.within else "  <- WRONG"
        lines.append(
            f"{result.name:<{name}}{_ms(result.outage_ms):>12}  {bound:>10}  {_ms(result.total_ms):>14}{mark}"
        )
        lines += _wrapped([f"{span.label} {span.ms:,.0f}" for span in result.spans], width)
        if result.remark:
            lines.append(f"    {result.remark}")
    return "\n".join(lines)


def _wrapped(parts: Sequence[str], width: int) -> list[str]:
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += f" | {part}"
        else:
            lines.append(f"    {part}")
    return lines


def summary(results: Sequence[Result]) -> str:
    """Minimum, median and maximum of each event that was played more than once."""
    lines = []
    for name in dict.fromkeys(result.name for result in results):
        values = [result.outage_ms for result in results if result.name == name]
        if len(values) > 1:
            figures = f"min {_ms(min(values))}, median {_ms(median(values))}, max {_ms(max(values))}"
            lines.append(f"{name}: {len(values)} times without service for {figures}")
    return "\n".join(lines)


def as_data(
    results: Sequence[Result], *, violations: Sequence[str], stand_ins: Sequence[str]
) -> dict[str, Any]:
    """The same for a machine."""
    return {
        "ok": all(result.ok and result.within for result in results) and not violations,
        "violations": list(violations),
        "stand_ins": list(stand_ins),
        "events": [
            {
                "name": result.name,
                "ok": result.ok and result.within,
                "outage_ms": round(result.outage_ms, 1),
                "bound_ms": result.bound_ms,
                "total_ms": round(result.total_ms, 1),
                "remark": result.remark,
                "spans": [{"what": span.label, "ms": round(span.ms, 1)} for span in result.spans],
            }
            for result in results
        ],
    }
