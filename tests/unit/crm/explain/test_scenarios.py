"""`hacli why` and `hacli verify` on small clusters described in the configuration language."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm.cib import codec
from crm.simulation.inject import Modifications, apply, parse_spec
from crm.simulation.status_edit import StatusEdit
from tests.datadriven import Command, run_file
from tests.unit.cli.runner import Bench

SCENARIOS = Path(__file__).parents[3] / "scenarios" / "why"
NOW_S = 1_790_000_000


class Pretend(Bench):
    """A CIB file whose status section is pretended: `pretend` with a fact a line."""

    def handle(self, command: Command) -> str:
        if command.name == "empty":
            Bench.__init__(self, self.folder)
            return ""
        if command.name != "pretend":
            return super().handle(command)
        words = [line.split() for line in command.input.splitlines()]

        def of(kind: str) -> tuple[str, ...]:
            return tuple(one for line in words if line[0] == kind for one in line[1:])

        cib = codec.parse(self.cib.read_bytes(), source="cib.xml")
        wanted = Modifications(
            quorum="".join(of("quorum")),
            nodes_up=of("up"),
            nodes_down=of("down"),
            nodes_fail=of("fail"),
            operations=tuple(parse_spec(text) for text in of("op")),
        )
        cib, _ = apply(cib, wanted, NOW_S)
        for line in words:
            if line[0] == "attribute":
                edit = StatusEdit(cib, NOW_S)
                edit.set_attribute(line[1], *line[2].split("=", 1))
                cib = edit.cib()
        self.cib.write_text(codec.render(cib.with_attributes(**{"execution-date": str(NOW_S + 60)})))
        return ""


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.txt")), ids=lambda path: path.stem)
def test_why(path: Path, tmp_path: Path, rewrite: bool) -> None:
    run_file(path, Pretend(tmp_path).handle, rewrite=rewrite)
