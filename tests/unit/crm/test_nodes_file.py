"""What makes ha-crm go on with another cluster.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm.nodes_file import NodesFile
from hacluster import settings
from hacluster.settings import Settings
from tests.cluster_toml import cluster_toml

TEXT = cluster_toml(["192.0.2.1", "192.0.2.2"], name="NAME")


@pytest.mark.parametrize(
    ("text", "used"),
    [
        (TEXT, 0),
        (TEXT.replace("NAME", "shop"), 1),
        (TEXT.replace("192.0.2.2", "192.0.2.3"), 1),
        (TEXT.replace("694", "695"), 0),
        ("nonsense", 0),
    ],
)
def test_nodes_and_the_name_count(text: str, used: int, tmp_path: Path) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text(TEXT)
    seen: list[Settings] = []
    file = NodesFile(path, settings.load(path), seen.append)
    file.look()
    assert not seen
    new = tmp_path / "new"
    new.write_text(text)
    new.rename(path)
    file.look()
    file.look()
    assert len(seen) == used
