"""Free loopback ports: chosen before the servers that will listen on them start."""

import random
import socket
from collections import deque

HOST = "127.0.0.1"
# Below the range from which Linux draws the ports of outgoing connections (32768 upwards), so that no connection takes
# a port between its choice here and the start of its server, or while the platform is down.
FIRST, LAST = 20_000, 32_000
KEPT = 128
"""So many of the ports that a process chose last no other process chooses, whether their servers run yet or not."""

_chosen: deque[socket.socket] = deque()


def free(count: int) -> list[int]:
    """Choose `count` different ports that nothing listens on. RuntimeError when there are not that many."""
    candidates = random.sample(range(FIRST, LAST), LAST - FIRST)
    ports: list[int] = []
    for port in candidates:
        if is_free(port) and _choose(port):
            ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError(f"no {count} free ports between {FIRST} and {LAST} on {HOST}")


def _choose(port: int) -> bool:
    """Mark a port as this process's, unless it is another's: by a name that ends with the process, and is no file."""
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.bind(f"\0academy-port-{port}")
    except OSError:
        mark.close()
        return False
    _chosen.append(mark)
    while len(_chosen) > KEPT:
        _chosen.popleft().close()
    return True


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def accepts(port: int, host: str = HOST) -> bool:
    """Whether something accepts connections there now."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
