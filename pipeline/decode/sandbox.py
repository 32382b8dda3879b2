"""What a decoder child may do: read one open file, write one memory file, compute, and end.

    limits      address space, CPU seconds, file size, no core dump
    namespaces  own user and network namespace: no interface, no capability outside it
    landlock    no path can be opened, even by a system call that the filter let through
    seccomp     an allow list of system calls: no open, no socket, no exec, no new process, no executable memory

Each holds where the kernel has it; `SandboxReport` says, from trying it, which do. Linux on x86-64 and arm64.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_NEWIPC = 0x1000_0000, 0x4000_0000, 0x0800_0000
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF, _LANDLOCK_CREATE_RULESET_VERSION = 444, 446, 1
_SIGKILL = 9


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """Which protections were seen to hold in a child made for trying them."""

    no_open: bool
    no_network: bool
    no_exec: bool
    no_fork: bool
    memory_limit: bool
    seccomp: bool
    landlock: bool
    namespaces: bool

    @property
    def missing(self) -> tuple[str, ...]:
        """The protections that this kernel or container does not give."""
        return tuple(field.name for field in fields(self) if not getattr(self, field.name))


def limit(memory_bytes: int, cpu_seconds: int, file_bytes: int) -> None:
    """Set the limits of this process. Over the CPU seconds it gets SIGXCPU, over the address space MemoryError."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def isolate() -> bool:
    """Move this process and its children into user and network namespaces of their own, if that is allowed."""
    return bool(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC) == 0)


def die_with_parent() -> None:
    """Be killed when the process that forked this one dies."""
    _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Enclosure:
    """Which of the two filters could be installed."""

    landlock: bool
    seccomp: bool


def enclose() -> Enclosure:
    """Give up, for good, all that decoding does not need. Everything must have been imported before."""
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return Enclosure(landlock=_landlock(), seccomp=_seccomp())


# Landlock: a ruleset that handles every right and grants none.


def _landlock() -> bool:
    abi = _libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    if abi < 1:
        return False
    rights = {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)
    attributes = struct.pack("=QQQ", (1 << rights) - 1, 0b11 if abi >= 4 else 0, 0b11 if abi >= 6 else 0)
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    ruleset = _libc.syscall(_LANDLOCK_CREATE_RULESET, attributes, size, 0)
    if ruleset < 0:
        return False
    held = bool(_libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0)
    os.close(ruleset)
    return held


# seccomp: a classic BPF program over (system call number, architecture, arguments).

_ALLOW, _KILL, _ERRNO = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
_EPERM, _EACCES, _ENOSYS = 1, 13, 38
_LOAD, _JUMP_EQUAL, _JUMP_ANY_BIT, _JUMP_GREATER_EQUAL, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_X32_BIT = 0x4000_0000
_PROT_EXEC, _AT_EMPTY_PATH, _CLONE_THREAD = 4, 0x1000, 0x0001_0000


@dataclass(frozen=True, slots=True)
class _Numbers:
    """System call numbers of one architecture."""

    audit: int
    free: tuple[int, ...]
    opens: tuple[int, ...]
    newfstatat: int
    mmap: int
    mprotect: int
    tgkill: int
    prlimit: int
    clone: int
    clone3: int


# read write close fstat lseek brk munmap mremap madvise rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack pread64
# pwrite64 readv writev sched_yield dup nanosleep clock_nanosleep getpid gettid sendto recvfrom sendmsg recvmsg exit
# exit_group fcntl gettimeofday getrusage times futex sched_getaffinity clock_gettime clock_getres getrandom membarrier
# rseq set_robust_list ppoll uname restart_syscall
_ARCHITECTURES = {
    "x86_64": _Numbers(
        audit=0xC000_003E,
        free=(
            *(0, 1, 3, 5, 8, 12, 11, 25, 28, 13, 14, 15, 131, 17, 18, 19, 20, 24, 32, 35, 230, 39, 186, 44, 45, 46, 47),
            *(60, 231, 72, 96, 98, 100, 202, 204, 228, 229, 318, 324, 334, 273, 271, 63, 219, 7),
        ),
        opens=(2, 257, 437),
        newfstatat=262,
        mmap=9,
        mprotect=10,
        tgkill=234,
        prlimit=302,
        clone=56,
        clone3=435,
    ),
    "aarch64": _Numbers(
        audit=0xC000_00B7,
        free=(
            *(63, 64, 57, 80, 62, 214, 215, 216, 233, 134, 135, 139, 132, 67, 68, 65, 66, 124, 23, 101, 115, 172, 178),
            *(206, 207, 211, 212, 93, 94, 25, 169, 165, 153, 98, 123, 113, 114, 278, 283, 293, 99, 73, 160, 128),
        ),
        opens=(56, 437),
        newfstatat=79,
        mmap=222,
        mprotect=226,
        tgkill=131,
        prlimit=261,
        clone=220,
        clone3=435,
    ),
}


def _seccomp() -> bool:
    numbers = _ARCHITECTURES.get(platform.machine())
    if numbers is None:
        return False
    program = _program(numbers, os.getpid())
    code = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("@HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    return bool(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, fprog, 0, 0) == 0)


def _program(numbers: _Numbers, pid: int) -> bytes:
    """The filter. What is not allowed fails with an error number: a library's odd call then ends as a typed cause."""

    def step(code: int, k: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("=HBBI", code, yes, no, k)

    def argument(index: int) -> bytes:
        return step(_LOAD, 16 + 8 * index)

    def verdict(value: int) -> bytes:
        return step(_RETURN, value)

    def when(number: int, *then: bytes) -> bytes:
        """Run `then`, which must return, when the call is `number`."""
        return step(_JUMP_EQUAL, number, 0, len(then)) + b"".join(then)

    deny = verdict(_ERRNO | _EPERM)
    allow = verdict(_ALLOW)
    parts = [
        step(_LOAD, 4),
        step(_JUMP_EQUAL, numbers.audit, 1, 0),
        verdict(_KILL),
        step(_LOAD, 0),
        step(_JUMP_GREATER_EQUAL, _X32_BIT, 0, 1),
        verdict(_KILL),
        *(when(number, allow) for number in numbers.free),
        *(when(number, verdict(_ERRNO | _EACCES)) for number in numbers.opens),
        when(numbers.clone3, verdict(_ERRNO | _ENOSYS)),  # its flags cannot be filtered; the C library falls back
        when(numbers.clone, argument(0), step(_JUMP_ANY_BIT, _CLONE_THREAD, 1, 0), deny, allow),  # HEVC wants a thread
        *(
            when(number, argument(2), step(_JUMP_ANY_BIT, _PROT_EXEC, 0, 1), deny, allow)
            for number in (numbers.mmap, numbers.mprotect)
        ),
        when(numbers.newfstatat, argument(3), step(_JUMP_ANY_BIT, _AT_EMPTY_PATH, 1, 0), deny, allow),
        when(numbers.tgkill, argument(0), step(_JUMP_EQUAL, pid, 1, 0), deny, allow),
        when(numbers.prlimit, argument(2), step(_JUMP_EQUAL, 0, 1, 0), deny, allow),
        deny,
    ]
    return b"".join(parts)


# Trying it


def probe(isolated: bool) -> SandboxReport:
    """Enclose this process, try what must not work, and report. The process is good for nothing else afterwards."""
    sys.stderr.flush()
    held = enclose()
    return SandboxReport(
        no_open=_fails(lambda: os.close(os.open("/", os.O_RDONLY))),
        no_network=_fails(lambda: socket.socket().connect(("127.0.0.1", 9))) and _fails(socket.socketpair),
        no_exec=_fails(lambda: subprocess.run(["/bin/true"], check=True)),
        no_fork=_fails(_fork),
        memory_limit=resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY,
        seccomp=held.seccomp,
        landlock=held.landlock,
        namespaces=isolated,
    )


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _fails(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return True
    return False
