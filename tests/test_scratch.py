"""Temporary folders go when their process ends, however it ends."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from raycner.storage import scratch
from raycner.storage.durable_files import output_file
from raycner.storage.scratch import PREFIX, scratch_folder

DIE = """
import os, sys
from raycner.storage.scratch import scratch_folder
with scratch_folder() as folder:
    print(folder, flush=True)
    if sys.argv[1] == "die":
        os._exit(1)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    scratch._remove_abandoned.cache_clear()
    return tmp_path


def test_the_folder_of_a_dead_process_is_removed_after_an_hour_and_that_of_a_living_one_stays(temporary: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIE, "die"], capture_output=True, text=True, check=False)
    command = [sys.executable, "-c", DIE, "live"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as living:
        assert living.stdout is not None and living.stdin is not None
        dead, alive = Path(died.stdout.strip()), Path(living.stdout.readline().strip())
        recent, notes = temporary / f"{PREFIX}recent", temporary / "raycner-notes"
        for folder in (recent, notes):
            folder.mkdir()
        for folder in (dead, alive, notes):
            os.utime(folder, (time.time() - 3601,) * 2)
        with scratch_folder() as mine:
            assert set(temporary.iterdir()) == {alive, recent, notes, mine}
        living.stdin.write("end\n")
        living.stdin.flush()
        living.wait(30)
    assert set(temporary.iterdir()) == {recent, notes}


def test_drafts_of_an_output_are_removed_when_it_is_written_again(tmp_path: Path) -> None:
    abandoned, recent = (tmp_path / f"page.html~{digit * 32}" for digit in "0a")
    for draft in (abandoned, recent):
        draft.write_text("half")
    os.utime(abandoned, (0, 0))
    with output_file(tmp_path / "page.html") as stream:
        stream.write(b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"page.html", recent.name}
    with pytest.raises(ZeroDivisionError), output_file(tmp_path / "page.html") as stream:
        stream.write(b"%d" % (1 // 0))
    assert (tmp_path / "page.html").read_bytes() == b"whole"
