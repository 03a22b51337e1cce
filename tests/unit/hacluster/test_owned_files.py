"""What another user has put in the place of a file of ours is neither followed, nor read, nor written to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hacluster.boot import boot_token
from hacluster.errors import Unavailable
from hacluster.owned_files import open_owned, put_owned, read_owned
from hacluster.paths import Paths
from hacluster.sentinel_word import WordFile
from hacluster.vocabulary.sentinel import Word

WRITE = os.O_RDWR | os.O_CREAT
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    path = tmp_path / "precious"
    path.write_text("precious")
    return path


def test_an_own_file_is_made_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    os.close(open_owned(path, WRITE))
    assert path.stat().st_mode & 0o777 == 0o600
    os.close(open_owned(path, WRITE))
    assert read_owned(path) == b""


def test_no_link_is_followed(tmp_path: Path, precious: Path) -> None:
    path = tmp_path / "lock"
    path.symlink_to(precious)
    with pytest.raises(Unavailable, match=r"lock: .*rm "):
        open_owned(path, WRITE)
    assert read_owned(path) is None
    path.unlink()
    path.hardlink_to(precious)
    with pytest.raises(Unavailable, match="another name"):
        open_owned(path, WRITE)
    assert precious.read_text() == "precious"


def test_no_pipe_holds_anybody_up(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    os.mkfifo(path)
    assert read_owned(path) is None
    with pytest.raises(Unavailable, match="no regular file"):
        open_owned(path, WRITE)


@as_root
def test_it_is_roots_or_ours(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    os.chown(path, 12_345, 12_345)
    with pytest.raises(Unavailable, match="belongs to uid 12345"):
        open_owned(path, WRITE)
    assert read_owned(path) is None
    os.close(open_owned(path, os.O_RDONLY, owners=(12_345,)))


def test_to_put_replaces_a_link_and_not_what_it_names(tmp_path: Path, precious: Path) -> None:
    path = tmp_path / "marker"
    path.symlink_to(precious)
    put_owned(path, b"new")
    assert (path.read_bytes(), path.is_symlink(), precious.read_text()) == (b"new", False, "precious")
    put_owned(path, b"newer", keep=True)
    assert path.read_bytes() == b"new"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["marker", "precious"]


def test_the_boot_is_not_named_by_what_somebody_else_chose(tmp_path: Path, precious: Path) -> None:
    paths = Paths(tmp_path)
    paths.run.mkdir(parents=True)
    seed = paths.run / "boot-seed"
    seed.symlink_to(precious)
    with pytest.raises(Unavailable, match="boot-seed"):
        boot_token(paths)
    seed.unlink()
    seed.symlink_to(tmp_path / "nowhere")
    with pytest.raises(Unavailable, match="boot-seed"):
        boot_token(paths)
    assert not (tmp_path / "nowhere").exists()


@as_root
def test_a_folder_is_not_given_away_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swapped between its making and its giving."""
    run, secret = tmp_path / "run", tmp_path / "secret"
    run.mkdir()
    secret.mkdir()
    os.chown(run, 12_345, 12_345)
    made = Path.mkdir

    def swapped(folder: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        made(folder, mode, parents, exist_ok)
        if folder.name == "sentinel":
            folder.rmdir()
            folder.symlink_to(secret)

    monkeypatch.setattr(Path, "mkdir", swapped)
    with pytest.raises(OSError, match="sentinel"):
        WordFile(run, "activity").write(Word(1, 2))
    assert secret.stat().st_uid == 0
