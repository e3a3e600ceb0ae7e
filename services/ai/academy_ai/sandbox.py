"""What a process gives up before it touches a stranger's file. Called once, at the start of `academy_ai.child`.

Each step is Linux's own interface through libc; one that the kernel or the container does not permit is named in the
answer, so that the worker can log it, and the others still hold.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
import socket

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64
_FILE_BYTES = 4 * 1024**3
_OPEN_FILES = 512

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES
"""SECCOMP_RET_ALLOW and SECCOMP_RET_ERRNO of linux/seccomp.h."""
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
"""Of linux/bpf_common.h: a word of `struct seccomp_data`, two comparisons with a constant, the verdict."""
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets in `struct seccomp_data`; of an argument its low word."""
_ARCHITECTURES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""Machine -> (AUDIT_ARCH of linux/audit.h, number of the call socket)."""
_X32, _IO_URING_SETUP = 0x40000000, 425
"""Calls of another ABI, and the call by which sockets are opened without the call socket."""

_libc = ctypes.CDLL(None, use_errno=True)


def hide_memory() -> None:
    """Keep other processes of this user from reading this one's environment and memory (`/proc/<pid>`)."""
    _checked(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))


def enter(parent: int, address_space: int | None) -> list[str]:
    """Die with the parent; no network, no privilege, limits. `address_space` in bytes. Returns what was not permitted.

    Has to be called while the process has one thread only.
    """
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:  # it died before we could say so
        os._exit(1)
    left = _leave_network()
    _drop_capabilities()
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    # A container seldom permits a namespace of one's own; a filter it permits.
    refused = [] if _refuse_sockets() or left else ["no-network"]
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: _FILE_BYTES,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
    }
    if address_space is not None:
        limits[resource.RLIMIT_AS] = address_space
    for kind, wanted in limits.items():
        hard = resource.getrlimit(kind)[1]
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (limit, limit))
    return refused


def _leave_network() -> bool:
    """Into an empty network namespace; a user without privileges needs a user namespace for it."""
    return any(_libc.unshare(flags) == 0 for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET))


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


def _refuse_sockets() -> bool:
    """No socket that leads elsewhere, for this process and all that it starts (seccomp(2), after no_new_privs).

    Unix's and those to the kernel itself (drivers ask it) remain.
    """
    if platform.machine() not in _ARCHITECTURES:
        return False
    architecture, opening = _ARCHITECTURES[platform.machine()]
    steps = (  # `yes` and `no` say how many steps to leave out
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 0, 7, architecture),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 5, 0, _X32),
        (_EQUAL, 4, 0, _IO_URING_SETUP),
        (_EQUAL, 0, 4, opening),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 2, 0, socket.AF_UNIX),
        (_EQUAL, 1, 0, socket.AF_NETLINK),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    )
    instructions = (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    program = _Program(len(steps), instructions)
    return bool(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _drop_capabilities() -> None:
    """No capability is left, and none comes back with a program that is started."""
    for capability in range(_CAPABILITIES):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails for those that do not exist, or are gone already
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
