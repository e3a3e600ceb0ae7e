"""A worker's heartbeats over one kept connection until told to stop; prints the seconds that each took."""

import http.client
import json
import secrets
import sys
import threading
import time
from urllib.parse import urlsplit

EVERY_SECONDS = 0.01


def main() -> None:
    """Claim a task, say `beating`, beat until a line comes in."""
    base, token = sys.argv[1:]
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=60)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    secret = secrets.token_urlsafe(32)

    def post(path: str, **body: object) -> bytes:
        connection.request("POST", f"/internal/v1/{path}", json.dumps(body | {"secret": secret}), headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= http.client.BAD_REQUEST:
            raise SystemExit(f"{path}: {answer.status} {content.decode()}")
        return content

    accepts = {"kinds": {"bench.chunk": [1]}}
    task = json.loads(post("claim", queue="video", worker="heart", accepts=accepts))["task"]
    stop = threading.Event()

    def wait_for_a_line() -> None:
        sys.stdin.readline()
        stop.set()

    threading.Thread(target=wait_for_a_line, daemon=True).start()
    sys.stdout.write("beating\n")
    sys.stdout.flush()
    beats = []
    while not stop.wait(EVERY_SECONDS):
        began = time.perf_counter()
        post(f"tasks/{task['task']}/heartbeat", attempt=task["attempt"])
        beats.append(time.perf_counter() - began)
    sys.stdout.write(json.dumps(beats))


if __name__ == "__main__":
    main()
