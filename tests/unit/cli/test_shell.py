from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.completion import candidates, explained
from cli.context import EXIT_CONFLICT, Context
from cli.grammar.definitions import parse_text
from cli.grammar.document import empty_cib
from cli.grammar.load import load
from cli.levels import CONFIGURE, PROGRAMS, ROOT, Command, Level
from cli.shell import Shell
from crm.cib import codec
from tests.unit.cli.runner import hacli

TEXT = """
node n1
node n2
primitive vip Dummy params ip=1.1.1.1
primitive web Dummy
group g vip web
property stonith-enabled=false
"""
CIB = load(empty_cib(), parse_text(TEXT, "text"), source="text").cib


@pytest.fixture
def cib_file(tmp_path: Path) -> str:
    path = tmp_path / "cib.xml"
    path.write_text(codec.render(CIB))
    return str(path)


def every(level: Level) -> list[Command]:
    return [*level.commands, *(command for below in level.levels for command in every(below))]


@pytest.mark.parametrize("command", every(ROOT), ids=lambda command: command.handler + " " + command.name)
def test_every_handler_exists(command: Command) -> None:
    module, _, name = command.handler.partition(":")
    assert callable(getattr(__import__(module, fromlist=[name]), name))


def test_every_program_is_there_or_says_so() -> None:
    for name in PROGRAMS:
        status, text = hacli([name, "--help"])
        assert status in (0, 2)
        assert text


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["config"], ["configure"]),
        (["resource", "st"], ["start", "status", "stop"]),
        (["resource", "stop", ""], ["g", "vip", "web"]),
        (["node", "standby", "n"], ["n1", "n2"]),
        (["configure", "show", "v"], ["vip"]),
        (["configure", "load", "u"], ["update"]),
        (["configure", "property", "no-q"], ["no-quorum-policy="]),
        (["configure", "property", "remov"], ["remove", "remove-after-stop="]),
        (["configure", "property", "remove", ""], ["stonith-enabled"]),
        (["configure", "property", "other:", "remove", ""], []),
        (["configure", "rsc_defaults", "a=1", "remov"], []),
        (["configure", "location", "l", "we"], ["web"]),
        (["configure", "location", "l", "web", "inf:", "n"], ["n1", "n2"]),
        (["configure", "primitive", "x", "Dummy", "meta", "target"], ["target-role="]),
        (["configure", "primitive", "x", "Dummy", "op", "mon"], ["monitor"]),
        (["configure", "primitive", "x", "ocf:hacluster:IPa"], ["ocf:hacluster:IPaddr"]),
        (["configure", "primitive", "x", "ocf:hacluster:IPaddr", "params", "cidr"], ["cidr_netmask="]),
        (["configure", "primitive", "x", "ocf:hacluster:Dummy", "op", "start", "int"], ["interval="]),
        (["configure", "primitive", "x", "nothing-here", "op", "monitor", "ti"], ["timeout="]),
        (
            ["configure", "primitive", "x", "ocf:hacluster:Dummy", "op", "monitor", "ti"],
            ["timeout=", "timeout=20s"],
        ),
        (["configure", "modgroup", ""], ["g"]),
        (["maintenance", "o"], ["off", "on"]),
        (["nonsense", ""], []),
    ],
)
def test_completion(words: list[str], wanted: list[str]) -> None:
    assert candidates(ROOT, words, CIB) == wanted


def test_parameters_are_explained() -> None:
    begun = ["primitive", "x", "ocf:hacluster:Dummy", "params", ""]
    assert explained(["configure", *begun])["op_sleep="] == "How long each action takes [0]"
    assert explained([*begun[:-1], "fake=1", "meta", ""]) == {}
    assert explained(["primitive", "x", "nothing-here", "params", ""]) == {}
    assert explained(["primitive", "x"]) == explained([""]) == {}


def test_completion_inside_a_level() -> None:
    assert "primitive" in candidates(CONFIGURE, ["p"], CIB)
    assert candidates(CONFIGURE, ["delete", "w"], CIB) == ["web"]
    assert "up" in candidates(CONFIGURE, ["u"], CIB)


def test_compgen(cib_file: str) -> None:
    line = "hacli resource stop w"
    assert hacli(["--cib-file", cib_file, "--compgen", str(len(line)), line]) == (0, "web\n")
    line = f"hacli -w --cib-file {cib_file} resource stop w"
    assert hacli(["--compgen", str(len(line)), line]) == (0, "web\n")
    assert hacli(["--compgen", "12", "hacli --root "]) == (0, "--root\n")
    assert hacli(["--compgen", "17", "hacli --reason re"]) == (0, "")
    folder = cib_file.rpartition("/")[0] + "/"
    for option in ("--cib-file", "-f"):
        line = f"hacli {option} {folder}ci"
        assert hacli(["--compgen", str(len(line)), line]) == (0, f"{cib_file}\n")
    for line, wanted in (("hacli --output j", "json"), (f"hacli simulate -x {folder}c", cib_file)):
        assert hacli(["--compgen", str(len(line)), line]) == (0, f"{wanted}\n")


def run(cib_file: str, text: str) -> tuple[int, str, str]:
    context = Context()
    context.options.cib_file = cib_file
    context.out, context.err = io.StringIO(), io.StringIO()
    status = Shell(context).run_batch(text, "script")
    return status, context.out.getvalue(), context.err.getvalue()


def test_levels_nest_and_leaving_commits(cib_file: str) -> None:
    text = "configure\nprimitive x Dummy\nup\nresource\nmeta x set priority 3\nup\nconfigure show x\n"
    status, out, err = run(cib_file, text)
    assert (status, err) == (0, "")
    assert out == "primitive x Dummy \\\n\tmeta priority=3\n"


def test_the_end_of_the_script_commits(cib_file: str) -> None:
    assert run(cib_file, "configure\nprimitive x Dummy\n")[0] == 0
    assert run(cib_file, "configure show x\n")[1] == "primitive x Dummy\n"


def test_quit_leaves_all_levels(cib_file: str) -> None:
    assert run(cib_file, "configure\nprimitive x Dummy\nquit\nthis is not read\n")[0] == 0
    assert run(cib_file, "configure show x\n")[0] == 0


def test_refresh_drops_changes(cib_file: str) -> None:
    run(cib_file, "configure\nprimitive x Dummy\nrefresh\ncommit\n")
    assert run(cib_file, "configure show x\n")[0] == 1


def test_another_level_from_inside_a_session(cib_file: str) -> None:
    _status, out, _err = run(cib_file, "configure\nprimitive x Dummy\nshow changed\nresource locate vip\n")
    assert out == "primitive x Dummy\nresource vip is NOT running\n"


def test_a_session_does_not_overwrite_what_came_meanwhile(cib_file: str) -> None:
    status, _out, err = run(
        cib_file, "configure\nset vip.ip 1.2.3.4\nresource meta vip set priority 1\ncommit\n"
    )
    assert status == EXIT_CONFLICT
    assert "changed by somebody else meanwhile: g;" in err
    assert "1.2.3.4" not in hacli(["--cib-file", cib_file, "configure", "show", "vip"])[1]


def test_a_session_keeps_what_came_meanwhile(cib_file: str) -> None:
    assert run(cib_file, "configure\nprimitive x Dummy\nresource meta vip set priority 1\ncommit\n")[0] == 0
    text = hacli(["--cib-file", cib_file, "configure", "show"])[1]
    assert "primitive x Dummy" in text
    assert "priority=1" in text


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--no-such-option"], 2),
        (["-f"], 2),
        (["-f", "/no/such/file"], 2),
        (["nonsense"], 2),
        (["configure", "show", "nobody"], 1),
        (["configure", "show"], 0),
        (["resource", "list"], 0),
        (["res", "list"], 0),
        (["configure", "sho"], 0),
        (["help"], 0),
        (["help", "configure", "primitive"], 0),
        (["help", "nonsense"], 2),
        (["configure", "help"], 0),
        (["configure", "primitive", "--help"], 0),
        (["-H", "shadow"], 2),
        (["status"], 0),
    ],
)
def test_exit_status(cib_file: str, words: list[str], status: int) -> None:
    assert hacli(["--cib-file", cib_file, *words])[0] == status


def test_a_file_that_is_no_cib(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("<cib")
    status, text = hacli(["--cib-file", str(tmp_path / "x"), "configure", "show"])
    assert status == 1
    assert re.search(r"x:1: ", text)
    assert hacli(["--cib-file", str(tmp_path / "none"), "configure", "show"])[0] == 1


@pytest.mark.parametrize(
    "words",
    [
        "cli --cib-file {} configure show",
        "cli simulate -x {} -s",
        "cli.crm_simulate -x {} -s",
        "cli.crm_simulate --help",
    ],
)
def test_output_to_a_closed_pipe_is_quiet(cib_file: str, words: str) -> None:
    # What reads closes its end before anything is written: the shell's order of starting decides nothing.
    reader = f"{sys.executable} -c 'import os; os.close(0)'"
    command = f"(sleep 1; exec {sys.executable} -m {words.format(cib_file)}) | {reader}"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[3],
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )
    assert done.stderr == ""


@pytest.mark.parametrize("coding", ["ascii:strict", "utf-8:strict", "latin-1:strict"])
def test_it_reads_and_writes_utf_8_in_every_locale(cib_file: str, coding: str) -> None:
    def run(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "cli", "--cib-file", cib_file, *words],
            input=given,
            capture_output=True,
            check=False,
            timeout=60,
            cwd=Path(__file__).parents[3],
            env={**os.environ, "PYTHONIOENCODING": coding},
        )

    text = "\ufeffprimitive told Dummy description=é日\n".encode()
    assert run("configure", "load", "update", "-", given=text).stderr == b""
    assert "description=é日".encode() in run("configure", "show", "told").stdout
    for words in (("configure", "load", "update", "-"), ("-f", "-"), ("apply", "-"), ()):
        done = run(*words, given=b"primitive x Dummy description=\xff\n")
        assert done.returncode != 0
        assert done.stderr.startswith(b"ERROR: standard input:1")
        assert b"Traceback" not in done.stderr


def test_offline_work_does_not_import_grpc(cib_file: str) -> None:
    code = (
        "import sys\nfrom cli.__main__ import main\n"
        f"main(['--cib-file', {cib_file!r}, 'configure', 'show'])\n"
        "assert 'grpc' not in sys.modules and 'prompt_toolkit' not in sys.modules\n"
        "assert 'crm.scheduler' not in sys.modules and 'cryptography' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr


def test_version() -> None:
    status, text = hacli(["--version"])
    assert status == 0
    assert text.startswith("hacli ")
