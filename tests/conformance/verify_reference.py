"""What crm_verify -V says about a CIB, and what of it a list of findings lacks.

Each message of the reference is read for the ids it names; a finding of ours has to name the same id.
Messages without an id are matched by subject.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence

from cli.grammar.verify import verify as grammar_problems
from crm.cib.model import Element
from crm.explain.doubts import doubts, in_this_state

# (message, the id in it, what ours says about it); "" for the id: ours names a subject of its own.
_MESSAGES = (
    (r"Resource start-up disabled since no STONITH", "", r"no fencing device"),
    (r"Either configure some or disable STONITH", "", r"no fencing device"),
    (r"NOTE: Clusters with shared data need STONITH", "", r"no fencing device"),
    (r"Using default value for cluster option '(\S+)' because", "id", r"not understood"),
    (r"Operation (\S+)-\S+ is duplicate of", "op", r"two \S+ operations"),
    (r"Resetting 'on-fail' for (\S+) (\S+) action", "op", r"on-fail"),
    (r"\S+ resource (\S+) might be active on \d+ nodes", "id", r"active on"),
    (r"Ignoring 'target-role' for (\S+) because", "id", r"target-role"),
    (r"Preventing (\S+) from restarting anywhere because of fatal failure", "id", r"rc="),
    (r"No further recovery can be attempted for (\S+) because", "id", r"rc="),
    (
        r"Ignoring constraint '(\S+)' because '\S+' is not a valid resource or tag",
        "id",
        r"no resource|is inside|not there",
    ),
    (r"Ignoring constraint '(\S+)' because two templates or tags", "id", r"two tags"),
    (
        r"Resetting 'on-fail' for operation '(\S+)_(?:start|stop|monitor|promote|demote)_\d+'",
        "id",
        r"on-fail",
    ),
    (r"Ignoring promoted-max for (\S+) because anonymous", "id", r"(clone|promoted)-node-max"),
    (r"Schema validation of configuration is disabled", "", r"validate-with"),
    (r"CIB did not pass schema validation", "", r"<"),
    (r"IDREF attribute \S+ references an unknown ID \"(\S+?)\"", "id", r"no resource|not there|has this id"),
    (r"ID (\S+) already defined", "id", r"the id is used"),
    (r"Relax-NG validity error", "", r"<"),
    (r"Resource (\S+): Unknown resource container", "id", r"container"),
    (r"Preventing (\S+) from restarting on \S+ because of hard failure", "id", r"rc="),
)
# Said by the scheduler about its own work, not about the document.
_ABOUT_ITSELF = (
    r"Internal error:",
    r"\S+ is running on \S+ which isn't allowed",
    r"must be colocated with .* but is not",
    r"Only 'private' parameters",
    r"(Errors|Warnings) found during check",
)
_RENAMED = (
    ("fencing-enabled", "stonith-enabled"),
    ("fencing-action", "stonith-action"),
    ("fencing-timeout", "stonith-timeout"),
)


def reference(document: bytes) -> list[str]:
    """The lines of crm_verify -V, without the function's name.

    Debian's 2.1.5 knows neither later schemas nor the names that later releases gave some options.
    """
    known = re.sub(rb'validate-with="pacemaker-(3\.1\d|4\.\d+)"', b'validate-with="none"', document, count=1)
    unchecked = known != document
    document = known
    for new, old in _RENAMED:
        document = document.replace(f'name="{new}"'.encode(), f'name="{old}"'.encode())
    ended = subprocess.run(
        ["crm_verify", "-V", "-p"], input=document, capture_output=True, timeout=60, check=False
    )
    lines = (ended.stdout + ended.stderr).decode(errors="replace").splitlines()
    if unchecked:
        lines = [line for line in lines if "Schema validation of configuration is disabled" not in line]
    return [re.sub(r"^\(\w+\)\s*\t?(error|warning): ", "", line).strip() for line in lines if line.strip()]


def ours(cib: Element, now_s: int) -> list[str]:
    """Everything `hacli verify` finds, an entry each."""
    found = [f"{one.where}: {one.what}" for one in grammar_problems(cib)]
    deeper = (*doubts(cib, now_s), *in_this_state(cib, now_s, sanitized=True))
    return found + [f"{one.where}: {one.what}" for one in deeper]


def missing(messages: Sequence[str], found: Sequence[str], ids: frozenset[str]) -> Iterator[str]:
    """The reference's messages that none of our findings answers. `ids`: those that the document has.

    An element that does not validate gives libxml no id: references to it are no mistakes of their own.
    """
    for message in messages:
        if any(re.search(pattern, message) for pattern in _ABOUT_ITSELF):
            continue
        reference_to = re.search(r'references an unknown ID "(.+?)"', message)
        if reference_to is not None and reference_to[1] in ids:
            continue
        known = next(
            (
                (match, kind, said)
                for pattern, kind, said in _MESSAGES
                if (match := re.search(pattern, message))
            ),
            None,
        )
        if known is None:
            yield f"not known: {message}"
            continue
        match, kind, said = known
        names = {match[1], re.sub(r":\d+$", "", match[1])} if kind == "id" else set()
        if not any(re.search(said, one) and (not names or names & set(_words(one))) for one in found):
            yield message


def _words(text: str) -> list[str]:
    found = re.findall(r"[\w.:-]+", text)
    return [one.rstrip(":.") for one in found] + [re.sub(r":\d*$", "", one.rstrip(":.")) for one in found]
