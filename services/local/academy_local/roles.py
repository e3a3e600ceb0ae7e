"""What runs on an embedded platform, in the order in which it starts: the supervisor's list."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import httpx

from academy_local import environment, home, ports, processes, speech_model
from academy_local.servers import postgres, s3, sqs

MAX_RECEIVE_COUNT = 20
VISIBILITY_SECONDS = 300
"""As the operator sets on production's queues."""


def nothing() -> None:
    """The hook of a role that needs none."""


@dataclass(frozen=True, slots=True)
class Role:
    """One process: its server and what has to be done each time it has become ready."""

    server: processes.Server
    after_ready: Callable[[], None] = nothing
    ready_seconds: float = 60.0


@dataclass(frozen=True)
class Worker:
    """A process of ours without an address: up as soon as it runs."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(repr=False)
    scratch: Path | None = None
    """Emptied before every start: what a killed run left there is of no use to the next."""
    probe: Callable[[], bool] = lambda: True
    grace_seconds: float = 10.0
    orphan_signal: signal.Signals = signal.SIGKILL

    def prepare(self) -> None:
        """Empty the scratch folder."""
        if self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)
            self.scratch.mkdir(parents=True)

    def command(self) -> processes.Command:
        """See Server.command."""
        return processes.Command(
            (sys.executable, *self.argv),
            env=self.env,
            grace_seconds=self.grace_seconds,
            orphan_signal=self.orphan_signal,
        )

    def ready(self) -> bool:
        """Whether it serves."""
        return self.probe()

    def tidy(self) -> None:
        """Nothing lies outside its folder."""


@dataclass(frozen=True, slots=True)
class Workers:
    """How many of each."""

    video: int = 2
    ai: int = 1
    """CPU AI workers. With any, there is one for premium too where speech can be read (`speech_model`)."""


def stages(place: home.Home, workers: Workers) -> list[list[Role]]:
    """All roles of a platform with so many workers: the servers first, then what stands on them."""
    identity = place.identity()
    addresses, secrets = identity.addresses, identity.secrets
    api_environment = environment.api(identity)
    database = postgres.Postgres(place.folder / "postgres", addresses.postgres, secrets.database)
    queues = sqs.Sqs(addresses.sqs)
    store = s3.S3(place.folder / "s3", addresses.s3, secrets.store_access, secrets.store_secret)
    api_url = environment.url(addresses.api)
    api = Worker(
        "api",
        ("-m", "gunicorn", "-c", "python:academy_api.gunicorn_conf", "academy_api.wsgi"),
        api_environment | {"GUNICORN_CMD_ARGS": f"--bind={ports.HOST}:{addresses.api} --graceful-timeout=5"},
        probe=lambda: _healthy(api_url),
        # It keeps its metrics in shared memory, and removes them when it is asked to end.
        orphan_signal=signal.SIGTERM,
    )
    origin = Worker(
        "origin",
        ("-m", "academy_local.origin", str(addresses.origin)),
        environment.origin(identity),
        probe=lambda: ports.accepts(addresses.origin),
    )

    def migrate_and_bootstrap() -> None:
        database.create_database(environment.DATABASE)
        _manage(api_environment, place, "migrate", "--no-input", "--verbosity=0")
        bootstrap(api_environment, place, secrets.director)

    def make_and_ring() -> None:
        make_queues(queues)
        # The emulator forgot its bells; the ledger knows what is ready.
        _manage(api_environment, place, "ring")

    servers = [
        # In this order: queues are rung from the migrated database.
        Role(database, migrate_and_bootstrap),
        Role(queues, make_and_ring),
        Role(store, lambda: make_buckets(store)),
    ]
    relay = Worker("relay", ("-m", "academy_api.relay"), api_environment)
    video = [_video_worker(place, identity, number) for number in range(1, workers.video + 1)]
    ai = [_ai_cpu_worker(place, identity, number) for number in range(1, workers.ai + 1)]
    if workers.ai and speech_model.available():
        ai.append(_ai_premium_worker(place, identity))
    return [servers, [Role(worker) for worker in (api, relay, origin, *video, *ai)]]


def _video_worker(place: home.Home, identity: home.Identity, number: int) -> Worker:
    env = environment.video_worker(place, identity, number)
    return Worker(env["VIDEO_WORKER_ID"], ("-m", "academy_video.main"), env, scratch=Path(env["VIDEO_WORKER_TEMP_DIR"]))


def _ai_cpu_worker(place: home.Home, identity: home.Identity, number: int) -> Worker:
    env = environment.ai_cpu_worker(place, identity, number)
    return Worker(
        env["AI_WORKER_ID_CPU"], ("-m", "academy_ai.main", "cpu"), env, scratch=Path(env["AI_WORKER_TEMP_DIR"])
    )


def _ai_premium_worker(place: home.Home, identity: home.Identity) -> Worker:
    speech_model.assemble(place.folder / speech_model.FOLDER)
    env = environment.ai_premium_worker(place, identity)
    command = ("-m", "academy_ai.main", "premium")
    return Worker(env["AI_WORKER_ID_GPU"], command, env, scratch=Path(env["AI_WORKER_TEMP_DIR"]))


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=2).status_code == HTTPStatus.OK
    except httpx.TransportError:
        return False


def _manage(env: dict[str, str], place: home.Home, *arguments: str, text: str = "") -> None:
    """Run one of Django's commands; NotReady with its output when it fails."""
    command = processes.Command((sys.executable, "-m", "academy_api.manage", *arguments), env=env)
    log = place.logs / "manage.log"
    result = subprocess.run(  # noqa: S603 - our own command
        command.argv,
        env={**processes.inherited(), **command.env},
        input=text.encode(),
        capture_output=True,
        check=False,
    )
    with log.open("ab") as output:
        output.write(result.stdout + result.stderr)
    if result.returncode != 0:
        raise processes.NotReady(f"{arguments[0]} failed:\n{processes.tail(log)}")


def bootstrap(env: dict[str, str], place: home.Home, password: str) -> None:
    """Make the first academy and its director, unless they are there."""
    _manage(
        env,
        place,
        "bootstrap",
        f"--academy={home.ACADEMY_NAME}",
        f"--email={home.DIRECTOR_EMAIL}",
        text=f"{password}\n",
    )


def make_queues(queues: sqs.Sqs, names: Iterable[str] = environment.QUEUES) -> None:
    """Create each queue with its dead-letter queue, as the operator does in a cluster. Queues that exist stay."""
    client = queues.client()
    for name in names:
        dead = client.create_queue(QueueName=f"{name}-dlq", Attributes={"MessageRetentionPeriod": str(14 * 86400)})
        arn = client.get_queue_attributes(QueueUrl=dead["QueueUrl"], AttributeNames=["QueueArn"])["Attributes"]
        redrive = {"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": MAX_RECEIVE_COUNT}
        client.create_queue(
            QueueName=name,
            Attributes={
                "VisibilityTimeout": str(VISIBILITY_SECONDS),
                "ReceiveMessageWaitTimeSeconds": "20",
                "RedrivePolicy": json.dumps(redrive),
            },
        )


def make_buckets(store: s3.S3, names: Iterable[str] = (environment.VIDEO_BUCKET, environment.AI_BUCKET)) -> None:
    """Create the buckets that are missing, readable and writable by presigned URL from a page of any origin."""
    client = store.client()
    present = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in names:
        if name not in present:
            client.create_bucket(Bucket=name)
        client.put_bucket_cors(
            Bucket=name,
            CORSConfiguration={
                "CORSRules": [
                    {
                        "AllowedOrigins": ["*"],
                        "AllowedMethods": ["GET", "HEAD", "PUT"],
                        "AllowedHeaders": ["*"],
                        "ExposeHeaders": ["ETag"],
                    }
                ]
            },
        )
