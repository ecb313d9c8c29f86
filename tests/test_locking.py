"""Two processes never work on one directory or one output file."""

import signal
import subprocess
import sys

import pytest

from steadfast.errors import SteadfastError
from steadfast.locking import sole_use

HOLDER = """
import sys, time
from pathlib import Path
from steadfast.locking import sole_use
with sole_use(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=["directory", "file"])
def place(request, tmp_path):
    if request.param == "directory":
        return tmp_path
    return tmp_path / "new" / "out.jsonl"


@pytest.fixture
def other(place):
    """A process that uses the place."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(place)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_process_is_told_what_is_in_use_and_by_what(place, other):
    with pytest.raises(SteadfastError) as caught, sole_use(place):
        pass
    assert f"{place} is in use by process {other.pid} on " in str(caught.value)
    assert f"-c {place}" in str(caught.value)


def test_a_killed_process_leaves_no_lock(place, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    with sole_use(place):
        pass


def test_a_place_is_free_again_after_an_error_and_holds_no_word_of_who_used_it(place, tmp_path):
    with pytest.raises(KeyError), sole_use(place):
        raise KeyError
    with sole_use(place), pytest.raises(SteadfastError, match="in use by process"), sole_use(place):
        pass
    assert not list(tmp_path.rglob("*.holder"))


def test_a_place_that_cannot_be_locked_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SteadfastError, match=r"out\.jsonl"), sole_use(tmp_path / "file" / "out.jsonl"):
        pass
