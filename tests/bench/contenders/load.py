"""So many clients asking for one address again and again; prints how many answers came, once all were warm.

load.py http://127.0.0.1:8000 /upstream 200 8
"""

import asyncio
import json
import statistics
import sys
import time
from urllib.parse import urlsplit

WARM_SECONDS = 2.0


class Load:
    """What has been answered within the measured seconds."""

    def __init__(self, address: str, path: str, seconds: float) -> None:
        parts = urlsplit(address)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._request = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        self._from = time.monotonic() + WARM_SECONDS
        self._until = self._from + seconds
        self.latencies: list[float] = []
        self.failures: list[str] = []

    async def client(self) -> None:
        """Keep the connection where the server does."""
        while time.monotonic() < self._until:
            reader, writer = await asyncio.open_connection(self._host, self._port)
            try:
                while await self._one(reader, writer):
                    pass
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                self.failures.append(repr(error))
            finally:
                writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether there may be another on this connection."""
        began = time.monotonic()
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        ended = time.monotonic()
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            self.failures.append(head.split(b"\r\n", 1)[0].decode())
        elif self._from <= ended < self._until:
            self.latencies.append(ended - began)
        return b"connection: close" not in head and ended < self._until


async def main() -> None:
    """Run all clients to the end."""
    address, path, connections, seconds = sys.argv[1:]
    load = Load(address, path, float(seconds))
    await asyncio.gather(*(load.client() for _ in range(int(connections))))
    result = {
        "answered": len(load.latencies),
        "p50_ms": round(1000 * statistics.median(load.latencies), 1) if load.latencies else None,
        "failed": len(load.failures),
        "first_failure": load.failures[0] if load.failures else None,
    }
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    asyncio.run(main())
