"""One supervised child."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from pipeline.stack.process import Child, Launch, StackEvent, StartFailed, backoff_s, telling_lines

SLEEP = "import time; time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


def launch(folder: Path, code: str, **settings: object) -> Launch:
    defaults: dict[str, object] = {"ready": lambda _pid: True, "ready_within_s": 30.0, "grace_s": 30.0}
    return Launch("part", (sys.executable, "-c", code), folder / "log" / "part.log", **{**defaults, **settings})


def logged(folder: Path, text: str) -> bool:
    return text in (folder / "log" / "part.log").read_text()


def wait_for(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie that another parent has yet to reap counts)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_a_child_runs_from_start_to_stop(tmp_path):
    """It runs when start() returns, and is gone when stop() returns; the events tell both."""
    events: list[StackEvent] = []
    child = Child(launch(tmp_path, SLEEP), events.append)
    child.start()
    pid = child.pid
    assert not gone(pid)
    child.stop()
    assert gone(pid)
    assert child.pid is None
    assert [event.kind for event in events] == ["starting", "ready", "stopped"]


def test_a_child_is_a_process_group_of_its_own(tmp_path):
    """Ctrl-C in the terminal reaches this program alone, which then ends its children in order."""
    child = Child(launch(tmp_path, SLEEP))
    child.start()
    assert os.getpgid(child.pid) == child.pid
    child.stop()


def test_start_waits_for_readiness(tmp_path):
    """start() returns only when the probe, which is given the pid, says yes."""
    asked: list[int] = []

    def ready(pid: int) -> bool:
        asked.append(pid)
        return len(asked) == 3

    child = Child(launch(tmp_path, SLEEP, ready=ready))
    child.start()
    assert asked == [child.pid] * 3
    child.stop()


def test_a_child_that_ends_before_it_is_ready_fails_with_its_last_words(tmp_path):
    """The error says how it ended and what it had logged, and nothing is left running."""
    child = Child(launch(tmp_path, "print('no such disk'); raise SystemExit(3)", ready=lambda _pid: False))
    with pytest.raises(StartFailed, match=r"(?s)part exited with status 3.*no such disk"):
        child.start()
    assert child.pid is None


def test_a_child_that_is_never_ready_fails_within_its_deadline(tmp_path):
    """Readiness has a deadline; the child is ended then."""
    pids: list[int] = []
    child = Child(launch(tmp_path, SLEEP, ready=lambda pid: bool(pids.append(pid)), ready_within_s=0.3))
    with pytest.raises(StartFailed, match=r"was not ready within 0\.3 s"):
        child.start()
    assert gone(pids[0])


def test_a_first_start_is_tried_as_often_as_asked(tmp_path):
    """A child that fails once and then works counts as started when two attempts are allowed."""
    mark = tmp_path / "mark"
    code = f"import os, time\nif not os.path.exists({str(mark)!r}): open({str(mark)!r}, 'w'); exit(1)\ntime.sleep(600)"
    child = Child(launch(tmp_path, code, ready=lambda _pid: mark.exists() and logged(tmp_path, ""), first_attempts=2))
    child.start()
    child.stop()


def test_a_program_that_does_not_exist_fails_with_its_name(tmp_path):
    """A mistyped program is a failed start whose message names it."""
    missing = Launch("part", ("no-such-program",), tmp_path / "log", ready=lambda _pid: False)
    with pytest.raises(StartFailed, match="No such file"):
        Child(missing).start()


def test_a_killed_child_is_started_again(tmp_path):
    """SIGKILL from outside is noticed, told and followed by a new process."""
    events: list[StackEvent] = []
    child = Child(launch(tmp_path, SLEEP), events.append)
    child.start()
    first = child.pid
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: [event.kind for event in events].count("ready") == 2)
    assert child.pid not in (None, first)
    assert StackEvent("part", "died", "was ended by SIGKILL") in events
    assert child.restarts == 1
    child.stop()


def test_an_ailing_child_is_replaced(tmp_path):
    """A child that runs but is found ill is ended and started again, and the event gives the reason."""
    events: list[StackEvent] = []
    ill: set[int] = set()
    child = Child(
        launch(tmp_path, SLEEP, ailing=lambda pid: "has spots" if pid in ill else None, ailing_every_s=0.05),
        events.append,
    )
    child.start()
    first = child.pid
    ill.add(first)
    wait_for(lambda: [event.kind for event in events].count("ready") == 2)
    assert gone(first)
    assert StackEvent("part", "died", "has spots") in events
    child.stop()


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace_period(tmp_path):
    """stop() returns with the child gone even when it does not listen."""
    child = Child(launch(tmp_path, DEAF, ready=lambda _pid: logged(tmp_path, "deaf"), grace_s=0.2))
    child.start()
    pid = child.pid
    child.stop()
    assert gone(pid)


def test_kill_does_not_ask(tmp_path):
    """kill() ends a child that ignores SIGTERM without waiting for its grace period, and it stays down."""
    child = Child(launch(tmp_path, DEAF, ready=lambda _pid: logged(tmp_path, "deaf"), grace_s=10_000))
    child.start()
    child.kill()
    assert child.pid is None


def test_a_stopped_child_can_be_started_again(tmp_path):
    """stop() and start() may alternate; stop() twice does nothing the second time."""
    child = Child(launch(tmp_path, SLEEP))
    for _ in range(2):
        child.start()
        child.stop()
        child.stop()


def test_what_a_child_has_started_goes_with_it(tmp_path):
    """When a child dies, what it left in its process group is ended too."""
    code = f"""
        import subprocess, sys, time
        print(subprocess.Popen([sys.executable, "-c", {SLEEP!r}]).pid, flush=True)
        time.sleep(600)
    """
    child = Child(launch(tmp_path, textwrap.dedent(code), ready=lambda _pid: logged(tmp_path, "\n"), restart=False))
    child.start()
    grandchild = int((tmp_path / "log/part.log").read_text())
    os.kill(child.pid, signal.SIGKILL)
    wait_for(lambda: gone(grandchild))
    child.stop()


def test_cleanup_follows_every_end(tmp_path):
    """The cleanup runs after a death and after the stop, when the process is gone."""
    ends: list[str] = []
    child = Child(launch(tmp_path, SLEEP, cleanup=lambda: ends.append("clean")))
    child.start()
    os.kill(child.pid, signal.SIGKILL)
    wait_for(lambda: ends == ["clean"] and child.is_ready)
    child.stop()
    assert ends == ["clean", "clean"]


def test_children_do_not_outlive_a_killed_parent(tmp_path):
    """When the program that supervises is ended by SIGKILL, its children end."""
    program = f"""
        import sys, time
        from pathlib import Path
        from pipeline.stack.process import Child, Launch
        log = Path({str(tmp_path / "part.log")!r})
        child = Child(Launch("part", (sys.executable, "-c", {SLEEP!r}), log, ready=lambda pid: True))
        child.start()
        print(child.pid, flush=True)
        time.sleep(600)
    """
    parent = subprocess.Popen((sys.executable, "-c", textwrap.dedent(program)), stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    assert not gone(pid)
    parent.kill()
    parent.communicate()
    wait_for(lambda: gone(pid))


def test_back_off_grows_to_a_limit():
    """Each failure in a row waits longer, up to ten seconds."""
    waits = [backoff_s(failures) for failures in range(1, 40)]
    assert waits == sorted(waits)
    assert waits[0] == 0.2
    assert waits[-1] == 10.0


def test_the_reason_is_found_far_above_the_end_of_a_log():
    """Errors are told even when many lines of shutdown follow."""
    log = "\n".join(["starting", "2026-11-22T03:03:42Z E 19 poll failed", *(f"unloading {i}" for i in range(50))])
    assert telling_lines(log).splitlines() == [
        "2026-11-22T03:03:42Z E 19 poll failed",
        *(f"unloading {i}" for i in range(40, 50)),
    ]


def test_a_long_line_keeps_both_its_ends():
    """A traceback in one line of JSON is told by its first and its last words."""
    told = telling_lines("first words" + "x" * 10_000 + "last words")
    assert told.startswith("first words")
    assert told.endswith("last words")
    assert len(told) < 1000
