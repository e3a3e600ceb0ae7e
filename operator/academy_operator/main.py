"""Composition root and the border to kopf: `kopf run -m academy_operator --standalone -n NAMESPACE --liveness=...`.

kopf watches, guarantees that every resource is known before the first is handled (the index), and drives deletions with
its finalizer. Everything else is the reconciler's, in threads.
"""

import asyncio
import functools
import logging
import random
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import kopf
import prometheus_client

from academy_core import log as core_log
from academy_core import settings as core_settings
from academy_operator import cluster, model, providers_for
from academy_operator.model import FINALIZER, GROUP, VERSION, Clock
from academy_operator.reconciler import Reconciler, Timing, Wait
from academy_operator.resources.base import Kind
from academy_operator.resources.bucket.handlers import BucketKind
from academy_operator.resources.queue.handlers import QueueKind, QueueSettings
from academy_operator.sweep import STUCK_SECONDS, Sweep

KINDS = {"queues": "Queue", "buckets": "Bucket"}
"""Plural → kind of what is watched."""
THREADS = 32


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
    reconciler = Reconciler(kinds, api, clock, timing, random.Random())  # noqa: S311  (jitter, not secrecy)
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
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP, key="last-handled")


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Read the environment, connect, start the sweep."""
    configure(settings)
    loaded = core_settings.load(core_settings.OperatorSettings)
    core_log.configure(loaded)
    logging.getLogger("kopf").setLevel(logging.WARNING)  # it narrates every event of every object
    running = build(loaded, cluster.connect(), Clock())
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


async def _in_pool(memo: kopf.Memo, call: Callable[..., Any], *args: Any) -> Any:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(memo.running.pool, functools.partial(call, *args))


def _resource(plural: str, body: Mapping[str, Any]) -> model.Resource:
    return model.resource_of(KINDS[plural], plural, body)


def _deletes(spec: Mapping[str, Any], **_: Any) -> bool:
    """Whether deleting the resource deletes anything: only then does kopf add its finalizer."""
    return model.cleans_up(spec)


@kopf.index(GROUP, VERSION, kopf.EVERYTHING)
async def known(body: kopf.Body, resource: kopf.Resource, memo: kopf.Memo, **_: Any) -> None:
    """Every resource is remembered before any is handled: rivals are known from the start."""
    memo.running.reconciler.remember(_resource(resource.plural, body))


@kopf.on.create(GROUP, VERSION, kopf.EVERYTHING)
@kopf.on.resume(GROUP, VERSION, kopf.EVERYTHING)
@kopf.on.update(GROUP, VERSION, kopf.EVERYTHING, field="spec")
async def changed(uid: str, memo: kopf.Memo, **_: Any) -> None:
    """A full pass. It reports by itself and never raises for what a provider does."""
    await _in_pool(memo, memo.running.reconciler.reconcile, uid)


@kopf.on.delete(GROUP, VERSION, kopf.EVERYTHING, when=_deletes)
async def deleted(uid: str, memo: kopf.Memo, **_: Any) -> None:
    """Delete, and keep the finalizer until that is done or given up."""
    outcome: Wait | None = await _in_pool(memo, memo.running.reconciler.delete, uid)
    if outcome is not None:
        raise kopf.TemporaryError(outcome.why, delay=outcome.seconds)


def _is_gone(event: kopf.RawEvent, **_: Any) -> bool:
    return event["type"] == "DELETED"


@kopf.on.event(GROUP, VERSION, kopf.EVERYTHING, when=_is_gone)
async def gone(uid: str, memo: kopf.Memo, **_: Any) -> None:
    """Forget what no longer exists."""
    memo.running.reconciler.forget(uid)
