"""Composition root and the border to kopf: `kopf run -m academy_operator --standalone -n NAMESPACE --liveness=...`.

kopf watches and drives deletions with its finalizer. What to do when is the sweep's, how the reconciler's, in threads:
kopf keeps no handler state of a living resource. The sweep lists everything by itself, at the start and every five
minutes: kopf's own way to wait for a listing (an index) costs the square of the number of resources.
"""

import asyncio
import logging
import random
import re
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import click
import kopf
import prometheus_client

from academy_core import log as core_log
from academy_core import settings as core_settings
from academy_core.errors import SettingsFault
from academy_operator import cluster, model, providers_for
from academy_operator.model import FINALIZER, GROUP, VERSION, Clock
from academy_operator.reconciler import Reconciler, Timing
from academy_operator.resources.base import Kind
from academy_operator.resources.bucket.handlers import BucketKind
from academy_operator.resources.queue.handlers import QueueKind, QueueSettings
from academy_operator.sweep import STUCK_SECONDS, Sweep

KINDS = {"queues": "Queue", "buckets": "Bucket"}
"""Plural → kind of what is watched."""
NAMESPACE = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""RFC 1123 label."""
THREADS = 32
LISTED_SECONDS = 20.0
"""How long a deletion waits for the first listing before it is tried again."""


@dataclass(slots=True)
class Running:
    """What `build` made, held in kopf's memo while the operator runs."""

    reconciler: Reconciler
    sweep: Sweep
    pool: ThreadPoolExecutor


def build(settings: core_settings.OperatorSettings, api: cluster.Cluster, clock: Clock) -> Running:
    """Wire the parts."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="pass")
    stopping = threading.Event()
    connections = providers_for.Connections(settings, api)
    kinds: list[Kind] = [
        QueueKind(
            settings=QueueSettings(
                cluster_id=settings.OPERATOR_CLUSTER_ID,
                region=settings.AWS_REGION,
                allowed_principals=frozenset(_listed(settings.OPERATOR_ALLOWED_PRINCIPALS)),
            ),
            provider_for=connections.queues,
            cluster=api,
            clock=clock,
            wait=stopping.wait,
        ),
        BucketKind(settings.OPERATOR_CLUSTER_ID, connections.buckets),
    ]
    timing = Timing(settings.OPERATOR_COUNT_SECONDS, settings.OPERATOR_DRIFT_SECONDS, settings.OPERATOR_RELEASE_SECONDS)
    rng = random.Random()  # noqa: S311  (jitter, not secrecy)
    reconciler = Reconciler(kinds, api, clock, timing, rng)
    sweep = Sweep(reconciler, pool, clock, settings.OPERATOR_SWEEP_PER_SECOND, stopping)
    return Running(reconciler, sweep, pool)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def configure(settings: kopf.OperatorSettings) -> None:
    """Set kopf up; kopf takes unknown names in silence, so a test holds each against its dataclasses."""
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.chunk_size = 100  # of its first listing: memory
    settings.queueing.idle_timeout = 0.5  # a task that waits for more events of its object holds the last one
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = NoDiffBase()


class NoDiffBase(kopf.DiffBaseStorage):
    """Nothing is kept to compare a spec with: metadata.generation says that it changed."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Every object looks the same."""
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence:
        """And has been seen."""
        return kopf.BodyEssence()

    def store(self, **_: Any) -> None:
        """So there is nothing to store."""


def served() -> tuple[str, ...]:
    """The namespaces that kopf's command line names. Raises SettingsFault when it names none, or a pattern."""
    context = click.get_current_context(silent=True)
    names: tuple[str, ...] = tuple(context.params["namespaces"]) if context else ()
    if not names or any(not re.fullmatch(NAMESPACE, name) for name in names):
        raise SettingsFault(f"name each namespace with --namespace, no patterns (given: {', '.join(names) or 'none'})")
    return names


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Read the environment, connect, start the sweep. A wrong setting ends the process: kopf would try for ever."""
    configure(settings)
    try:
        loaded, namespaces = core_settings.load(core_settings.OperatorSettings), served()
    except SettingsFault as fault:
        raise SystemExit(str(fault)) from None
    core_log.configure(loaded)
    logging.getLogger("kopf").setLevel(logging.WARNING)  # it narrates every event of every object
    running = build(loaded, cluster.connect(namespaces), Clock())
    memo.running = running
    if loaded.OPERATOR_METRICS_PORT:
        prometheus_client.start_http_server(loaded.OPERATOR_METRICS_PORT)
    running.sweep.start()


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: Any) -> None:
    """Stop the sweep; passes under way end by themselves."""
    running: Running = memo.running
    await asyncio.to_thread(running.sweep.stop)
    running.pool.shutdown(wait=False, cancel_futures=True)


@kopf.on.probe(id="sweep")
async def sweeping(memo: kopf.Memo, **_: Any) -> float:
    """Liveness follows the sweep. Only a PermanentError is answered as a failure; others would hang the probe."""
    lag = memo.running.sweep.lag()
    if lag > STUCK_SECONDS:
        raise kopf.PermanentError(f"the sweep has not gone round for {lag:.0f} s")
    return round(float(lag), 1)


def _is_news(event: kopf.RawEvent, uid: str, memo: kopf.Memo, **_: Any) -> bool:
    """Not what our own listing has shown already."""
    version = event["object"]["metadata"]["resourceVersion"]
    return event["type"] == "DELETED" or not memo.running.reconciler.knows(uid, int(version))


@kopf.on.event(GROUP, VERSION, kopf.EVERYTHING, when=_is_news)
async def seen(event: kopf.RawEvent, uid: str, resource: kopf.Resource, memo: kopf.Memo, **_: Any) -> None:
    """Remember what the watch shows, forget what is gone."""
    running: Running = memo.running
    if event["type"] == "DELETED":
        running.reconciler.forget(uid)
    elif running.reconciler.remember(model.resource_of(KINDS[resource.plural], resource.plural, event["object"])):
        running.sweep.wake()


def _deletes(spec: Mapping[str, Any], **_: Any) -> bool:
    """Whether deleting the resource deletes anything: only then does kopf add its finalizer."""
    return model.cleans_up(spec)


@kopf.on.delete(GROUP, VERSION, kopf.EVERYTHING, when=_deletes)
async def deleted(uid: str, memo: kopf.Memo, **_: Any) -> None:
    """Delete, and keep the finalizer until that is done or given up."""
    running: Running = memo.running
    if not await asyncio.to_thread(running.sweep.listed.wait, LISTED_SECONDS):
        raise kopf.TemporaryError("not everything is listed yet", delay=1.0)
    outcome = await asyncio.get_running_loop().run_in_executor(running.pool, running.reconciler.delete, uid)
    if outcome is not None:
        raise kopf.TemporaryError(outcome.why, delay=outcome.seconds)
