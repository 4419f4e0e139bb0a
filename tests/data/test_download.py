from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from nnopt.data.download import data_folder, fetch, writing_to
from nnopt.errors import DataError

CONTENT = b"the right content"
HASH = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_is_root_then_the_variable_then_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NNOPT_DATA_DIR", str(tmp_path / "variable"))
    assert data_folder(str(tmp_path / "root")) == tmp_path / "root"
    assert data_folder(None) == tmp_path / "variable"
    monkeypatch.setenv("NNOPT_DATA_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert "nnopt" in data_folder(None).parts
    monkeypatch.delenv("NNOPT_DATA_DIR")
    assert data_folder(None) == data_folder("")


def test_the_folder_is_absolute_and_knows_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    assert data_folder("sets/../here") == tmp_path / "here"
    assert data_folder("~/sets") == tmp_path / "home" / "sets"


def test_mirrors_are_tried_in_turn_until_one_has_the_right_file(mirror, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    for place, content in (("spoiled", b"another content"), ("good", CONTENT)):
        (mirror.folder / place).mkdir()
        (mirror.folder / place / "data.bin").write_bytes(content)
    mirrors = [f"{mirror.address}{place}/" for place in ("absent", "spoiled", "good", "never")]
    path = fetch("data.bin", HASH, mirrors, target, "advice")
    assert path == target / "data.bin"
    assert path.read_bytes() == CONTENT
    assert names(target) == ["data.bin"]
    asked = [line.strip("/").split("/")[0] for line in mirror.asked]
    assert set(asked) == {"absent", "spoiled", "good"}


def test_what_is_not_right_leaves_nothing_and_every_mirror_is_named_with_its_reason(mirror, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (mirror.folder / "data.bin").write_bytes(CONTENT[:-1])
    dead = "http://127.0.0.1:1/"
    with pytest.raises(DataError) as caught:
        fetch("data.bin", HASH, [f"{mirror.address}absent/", mirror.address, dead], target, "Put it there.")
    assert str(caught.value) == (
        f"cannot download data.bin ({mirror.address}absent/: HTTP status 404; "
        f"{mirror.address}: the file there is another one: its checksum is wrong; {dead}: no connection). "
        "Put it there."
    )
    assert names(target) == []


def test_of_several_at_once_one_downloads(mirror, tmp_path):
    target = tmp_path / "deep" / "target"
    (mirror.folder / "data.bin").write_bytes(CONTENT)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with writing_to(target):
                if not (target / "data.bin").is_file():
                    fetch("data.bin", HASH, [mirror.address], target, "")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert mirror.asked == ["/data.bin"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(DataError, match=r"cannot write to .*file.below \(.*\): .*NNOPT_DATA_DIR"),
        writing_to(tmp_path / "file" / "below"),
    ):
        raise AssertionError("the folder is not there")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with (
        pytest.raises(DataError, match=r"cannot write to .*Permission denied"),
        writing_to(tmp_path / "below"),
    ):
        raise AssertionError("the folder is not there")
