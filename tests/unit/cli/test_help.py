"""Every level, command and topic has a page, and what the pages show can be typed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from cli.completion import candidates
from cli.dispatch import find_command, find_level
from cli.generate import _levels
from cli.grammar.definitions import is_keyword, parse_words
from cli.help import TOPICS, help_text, pages, topic_text
from cli.levels import PROGRAMS, ROOT, Command, Level
from cli.options import take_options
from tests.unit.cli.runner import hacli

LEVELS = [("root", ROOT), *((level.name, level) for _name, level in _levels(ROOT, ""))]
COLUMNS = 122


def examples(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if line.startswith("  hacli "):
            yield shlex.split(line)[1:]


def command_of(words: list[str]) -> tuple[Level, Command | None, list[str]]:
    """The command that a line names, and what follows it."""
    rest, level = list(words), ROOT
    take_options(rest)
    while rest and (below := find_level(level, rest[0])) is not None:
        level = below
        rest.pop(0)
    return level, find_command(level, rest[0]) if rest else None, rest[1:]


@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_every_command_has_a_page(name: str, level: Level) -> None:
    found = pages(name)
    assert {*found} == {"", *(one.name for one in level.commands)}
    assert found[""] or level is ROOT
    for command in level.commands:
        text = found[command.name]
        assert len(text.split()) >= 8, command.name
        shown = list(examples(text))
        assert shown, command.name
        if command.name != "user":
            assert any(command_of(words)[1] == command for words in shown), command.name


@pytest.mark.parametrize("name", [*dict.fromkeys(name for name, _level in LEVELS), TOPICS])
def test_what_is_shown_can_be_typed(name: str) -> None:
    for text in pages(name).values():
        assert all(len(line) <= COLUMNS for line in text.splitlines()), text
        for words in examples(text):
            level, command, rest = command_of(words)
            assert command is not None, words
            if command.handler.endswith(":define") and is_keyword(command.name) and command.name != "xml":
                parse_words((command.name, *rest))
            assert level is not ROOT or command.name not in PROGRAMS


def test_help_on_all_there_is() -> None:
    assert "for `help TOPIC`" in help_text(ROOT, ["topics"])
    for topic in pages(TOPICS):
        if topic:
            assert help_text(ROOT, [topic]).startswith(f"{topic}:\n\n")
            assert topic_text(topic) is not None
    status, text = hacli(["help", "configure", "assist", "template"])
    assert status == 0
    assert "hacli configure assist template vm" in text
    assert hacli(["configure", "location", "--help"]) == hacli(["help", "configure", "location"])
    assert hacli(["help", "no-such-topic"])[0] == 2
    assert hacli(["help", "configure", "rules"])[0] == 2


def test_completion_of_what_there_is_help_on() -> None:
    assert "rules" in candidates(ROOT, ["help", ""], None)
    assert candidates(ROOT, ["help", "resource", "sta"], None) == ["start", "status"]
    assert candidates(ROOT, ["help", "nosuch", ""], None) == []
