"""A server's processes, while it is asked."""

import subprocess
import sys
import time

import pytest

from servers import Watch, processor


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_child_is_seen(seconds: float) -> None:
    """However short it lives: its parent remembers."""
    script = (
        "import subprocess, sys\n"
        "input()\n"
        "subprocess.run([sys.executable, '-c', f'import time; time.sleep({sys.argv[1]})'])\n"
        "print(flush=True)\n"
        "input()\n"
    )
    command = [sys.executable, "-c", script, str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with Watch(process.pid) as watch:
            quiet = watch.came()
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.stdout.readline()
            came = watch.came()
        process.communicate(b"\n")

    assert quiet == 0
    assert came > 0


def test_an_end_is_seen() -> None:
    """A process that is no more has gone, and its memory was counted while it was there."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        time.sleep(0.2)
        with Watch(process.pid) as watch:
            peak, now = watch.lap()
            here = watch.went()
            process.communicate(b"\n")
            gone = watch.went()

    assert peak >= now > 1
    assert (here, gone) == (0, 1)


def test_what_an_ended_child_computed_counts() -> None:
    """A server's processor time is that of all its processes, still there or not."""
    script = (
        "import subprocess, sys\n"
        "busy = 'import time\\nwhile time.process_time() < 0.3: pass'\n"
        "input()\n"
        "subprocess.run([sys.executable, '-c', busy])\n"
        "print(flush=True)\n"
        "input()\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        before = processor(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        computed = processor(process.pid) - before
        process.communicate(b"\n")

    assert computed > 0.25
