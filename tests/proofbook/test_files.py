"""Files that are whole whenever they are seen."""

import errno
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import proofbook
from proofbook.files import write_whole


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "deeper" / "file.json"
    write_whole(path, b"old")

    def no_space(_) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError) as caught:
        write_whole(path, b"new")
    assert caught.value.filename == str(path) and caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


def test_a_file_that_may_not_grow_leaves_the_old_one(tmp_path):
    """A true failure in the middle, by the limit that the system puts on a file."""
    path = tmp_path / "file"
    write_whole(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError):
            write_whole(path, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_kill_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_whole(path, b"old")
    code = (
        "import os, sys, pathlib\n"
        "from proofbook.files import write_whole\n"
        "os.fsync = lambda _: os.kill(os.getpid(), 9)\n"
        "write_whole(pathlib.Path(sys.argv[1]), b'new')\n"
    )
    where = os.environ | {"PYTHONPATH": str(Path(proofbook.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code, str(path)], env=where)
    assert done.returncode == -9 and path.read_bytes() == b"old"


def test_two_that_write_at_once_do_not_write_into_one_another(tmp_path, monkeypatch):
    """Both have written and wait before either puts its file in place: one name would lose the second."""
    path, both, sync = tmp_path / "file", threading.Barrier(2, timeout=60), os.fsync

    def wait(descriptor) -> None:
        sync(descriptor)
        both.wait()

    monkeypatch.setattr(os, "fsync", wait)
    errors = []

    def write(content: bytes) -> None:
        try:
            write_whole(path, content)
        except OSError as error:
            errors.append(error)

    contents = [b"a" * 50_000, b"b" * 70_000]
    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and path.read_bytes() in contents and list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file_or_of_the_old_one(tmp_path):
    path, plain = tmp_path / "file", tmp_path / "plain"
    plain.write_bytes(b"")
    write_whole(path, b"")
    assert path.stat().st_mode == plain.stat().st_mode
    path.chmod(0o640)
    write_whole(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "below", tmp_path / "file" / "further" / "below"):
        with pytest.raises(OSError, match="file"):
            write_whole(path, b"")
