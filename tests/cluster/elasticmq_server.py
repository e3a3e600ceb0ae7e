"""ElasticMQ, the SQS emulator with message move tasks: fetched once into .tools/, where Java and Maven are there."""

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import wait_until

from academy_local import ports

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / ".tools" / "elasticmq"
FETCH_SECONDS = 240
START_SECONDS = 60


class Unavailable(RuntimeError):
    """ElasticMQ cannot be had here."""


def fetch() -> Path:
    """The jars, fetched by the first who asks. Raises Unavailable."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is not installed: ElasticMQ needs Java 17 and Maven")
    LIBRARY.mkdir(parents=True, exist_ok=True)
    with (LIBRARY / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (LIBRARY / "done").exists():
            pom = Path(__file__).parent / "elasticmq" / "pom.xml"
            command = [
                "mvn",
                "-q",
                "-B",
                "-f",
                str(pom),
                "dependency:copy-dependencies",
                f"-DoutputDirectory={LIBRARY}",
            ]
            try:
                # Its output is kept from ours: a benchmark prints JSON and nothing else.
                subprocess.run(
                    command, check=True, timeout=FETCH_SECONDS, stdin=subprocess.DEVNULL, capture_output=True, text=True
                )
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                raise Unavailable(f"Maven could not fetch ElasticMQ: {error}\n{error.stdout}") from error
            (LIBRARY / "done").touch()
    return LIBRARY


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """An ElasticMQ with nothing in it; its endpoint. Stopped when the block ends."""
    jars = fetch()
    (port,) = ports.free(1)
    config = folder / "elasticmq.conf"
    config.write_text(
        f"""
        node-address {{ protocol = http, host = "127.0.0.1", port = {port} }}
        rest-sqs {{ enabled = true, bind-port = {port}, bind-hostname = "127.0.0.1", sqs-limits = strict }}
        rest-stats.enabled = false
        aws {{ region = ap-northeast-2, accountId = 000000000000 }}
        """,
        encoding="utf-8",
    )
    log = folder / "elasticmq.log"
    command = ["java", "-Xmx160m", f"-Dconfig.file={config}", "-cp", f"{jars}/*", "org.elasticmq.server.Main"]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as server:
        try:
            wait_until(
                lambda: b"started in" in log.read_bytes(),
                START_SECONDS,
                "ElasticMQ did not start",
                lambda: server.poll() is None,
            )
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
