"""What is known of agents here: which there are, and their meta-data (kept in the user's cache)."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Final

from agents import metadata
from agents.catalog import Catalog, ResolvedAgent, our_sbin_dir
from agents.metadata import AgentMetadata
from hacluster.errors import HaError, InvalidDocument, InvalidRequest
from hacluster.vocabulary.agent import AgentName

METADATA_WITHIN_S: Final = 30


def cache_folder() -> Path:
    """The user's own; it may not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hacluster"


def agent_name(text: str, catalog: Catalog) -> AgentName:
    """`[CLASS:[PROVIDER:]]TYPE`; without a provider the first one that has it. Raises InvalidRequest."""
    parts = text.split(":")
    if len(parts) == 1 or (parts[0].lower() == "ocf" and len(parts) == 2):
        kind = parts[-1]
        found = [one for one in catalog.list("ocf") if one.type == kind]
        if not found:
            raise InvalidRequest(
                what=f"no OCF agent {kind!r} is installed here", remedy="see `hacli ra list ocf`"
            )
        return min(found, key=lambda one: (one.provider != "heartbeat", one.provider))
    try:
        return AgentName.parse(text)
    except ValueError as error:
        raise InvalidRequest(what=str(error)) from None


def read_metadata(name: AgentName, catalog: Catalog) -> AgentMetadata:
    """Ask the agent, or the cache when the program has not changed. Raises NotFound, InvalidDocument."""
    found = catalog.resolve(name)
    if not found.path:
        raise InvalidRequest(what=f"{name} is a systemd unit: it has no parameters")
    if found.standard in ("lsb", "heartbeat"):
        return metadata.lsb_metadata(Path(found.path).read_text(errors="replace"), name.type)
    stamp = Path(found.path).stat()
    key = hashlib.sha256(f"{found.path} {stamp.st_mtime_ns} {stamp.st_size}".encode()).hexdigest()[:32]
    cached = cache_folder() / "metadata" / f"{key}.xml"
    try:
        return metadata.parse(cached.read_bytes(), str(name))
    except (OSError, HaError):
        text = _ask(name, found)
    parsed = metadata.parse(text, str(name))
    _keep(cached, text)
    return parsed


def _keep(path: Path, text: bytes) -> None:
    """A cache that cannot be written is no cache."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(text)
    except OSError:
        return


def _ask(name: AgentName, found: ResolvedAgent) -> bytes:
    fence = found.standard == "stonith"
    glue = fence and "/" in name.type
    command = [found.path, "-o", "metadata"] if fence else [found.path, "meta-data"]
    environment = dict(os.environ)
    if glue:
        command = [found.path, "getinfo-xml"]
        environment["PATH"] = f"{environment.get('PATH', '')}:/usr/share/cluster-glue"
    if found.ocf_root:
        environment["OCF_ROOT"] = found.ocf_root
    environment["HA_AGENT"] = str(our_sbin_dir().parent / "bin" / "ha-agent")
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=METADATA_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidDocument(source=str(name), line=0, what=f"no meta-data: {error}") from None
    if done.returncode != 0 or not done.stdout.strip():
        said = done.stderr.decode(errors="replace").strip()[-200:]
        raise InvalidDocument(
            source=str(name), line=0, what=f"no meta-data (status {done.returncode}): {said}"
        )
    if glue:
        return metadata.glue_metadata(name.type, done.stdout.decode(errors="replace")).encode()
    return done.stdout
