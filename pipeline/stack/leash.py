"""Become a command that the kernel ends when the parent dies: `leash.py PARENT_PID COMMAND…`.

Run as a file of its own, not as a `preexec_fn`, since the parent has threads and nothing may be executed safely
between its fork and its exec. The wish survives exec; it is tied to the *thread* that forked, which therefore has to
live as long as the child.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> None:
    parent, command = int(arguments[0]), arguments[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the leash was on
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 (a shell would be one more process between parent and child)


if __name__ == "__main__":
    main(sys.argv[1:])
