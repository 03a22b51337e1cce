"""The files that all nodes share, as they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from hacluster import shared_files
from hacluster.errors import InvalidDocument
from hacluster.paths import Paths


def test_without_the_files_the_node_is_in_no_cluster(tmp_path: Path) -> None:
    """Root can do nothing about it as root."""
    with pytest.raises(InvalidDocument, match="No such file") as error:
        shared_files.read(Paths(tmp_path))
    assert "in no cluster" in error.value.remedy
    assert "root" not in error.value.remedy
