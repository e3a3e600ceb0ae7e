"""What a process gives up before it touches a stranger's file. Called once, at the start of `academy_ai.child`.

Each step is Linux's own interface through libc; one that the kernel or the container does not permit is named in the
answer, so that the worker can log it, and the others still hold.
"""

import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64
_FILE_BYTES = 4 * 1024**3
_OPEN_FILES = 512

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
    refused = [] if _leave_network() else ["no-network"]
    _drop_capabilities()
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
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
