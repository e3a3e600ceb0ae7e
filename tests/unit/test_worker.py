"""A worker as a process: signals, exit codes, metrics and liveness; and the small pieces it is made of."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from academy_core import lifecycle, metrics
from academy_core.backoff import jittered
from academy_core.liveness import Liveness
from academy_core.rota import Rota

SCRIPT = """
import sys, time
import worker_kit
from academy_core import worker
from academy_core.kinds import Queue
from academy_core.settings import WorkerSettings, load
from academy_core.tasks import Handler

platform = worker_kit.Platform()

class Sqs:
    def __new__(cls, *_a, **_k): return platform.sqs

class Ledger:
    def __new__(cls, *_a, **_k):
        platform.ledger.close = lambda: None
        return platform.ledger

worker.SqsClient = Sqs
worker.HttpLedger = Ledger
for queue, name in load(WorkerSettings).queue_names().items():
    platform.sqs._queues[name] = platform.sqs._queues[worker_kit.NAMES[queue]]

def work(context):
    print("WORKING", flush=True)
    context.cancelled.wait(30)
    context.check()

platform.submit(worker_kit.ADD)
handlers = [Handler(worker_kit.ADD, work)]
code = worker.run_worker(load(WorkerSettings), handlers, worker_id="w", weights={Queue.AI_BASIC: 1})
print("STATES", platform.states(), flush=True)
sys.exit(code)
"""


@pytest.fixture
def process(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "R2_ENDPOINT": "http://127.0.0.1:1",
        "R2_ACCESS_KEY": "k",
        "R2_SECRET_KEY": "s",
        "API_BASE_URL": "http://127.0.0.1:1",
        "INTERNAL_WORKER_TOKEN": "t" * 32,
        "SQS_WAIT_TIME_SECONDS": "1",
        "METRICS_HOST": "127.0.0.1",
        "SHUTDOWN_GRACE_SECONDS": request.param,
    }
    script = tmp_path / "main.py"
    script.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True) as started:
        yield started
        started.kill()


def read_until(process: subprocess.Popen[str], *words: str) -> dict[str, str]:
    """Read until each word was in a line, in any order; the lines by word."""
    assert process.stdout is not None
    found: dict[str, str] = {}
    for line in process.stdout:
        found |= {word: line for word in words if word in line}
        if len(found) == len(words):
            return found
    raise AssertionError(f"logged were only {found} of {words}")


@pytest.mark.parametrize("process", ["0"], indirect=True)
def test_sigterm_hands_the_work_back_and_exits_cleanly(process: subprocess.Popen[str]) -> None:
    lines = read_until(process, "WORKER_STARTED", "WORKING")
    port = lines["WORKER_STARTED"].rsplit("metrics_port=", 1)[1].strip()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        assert http.get("/live").status_code == 200
        assert "academy_worker_busy_slots 1.0" in http.get("/metrics").text
        assert http.get("/other").status_code == 404
    process.send_signal(signal.SIGTERM)
    read_until(process, "Graceful shutdown")
    assert read_until(process, "STATES")["STATES"] == "STATES ['ready']\n"
    assert process.wait(30) == 0


@pytest.mark.parametrize("process", ["1000"], indirect=True)
def test_a_second_sigterm_exits_at_once(process: subprocess.Popen[str]) -> None:
    read_until(process, "WORKING")
    process.send_signal(signal.SIGTERM)
    read_until(process, "Graceful shutdown")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM


def test_signals_are_waited_for_and_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with lifecycle.Signals() as signals:
        assert not signals.wait(0.01)
        threading.Thread(target=signals.wake).start()
        assert not signals.wait(10)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.wait(10)
    assert signal.getsignal(signal.SIGTERM) is before


def test_liveness_names_the_silent_loop() -> None:
    now = [0.0]
    liveness = Liveness(lambda: now[0])
    with liveness.watched("a", 10) as beat, liveness.watched("b", 100):
        now[0] = 11
        assert liveness.silent() == ("a",)
        with metrics.served(metrics.WorkerMetrics(), liveness, 0, "127.0.0.1") as port:
            answer = httpx.get(f"http://127.0.0.1:{port}/live", trust_env=False)
            assert (answer.status_code, answer.text) == (503, "a\n")
        beat()
        assert liveness.silent() == ()
    now[0] = 1000
    assert liveness.silent() == ()


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9), min_size=1))
def test_a_rota_of_full_queues_serves_by_weight(weights: dict[str, int]) -> None:
    rota = Rota(weights)
    total = sum(weights.values())
    served: Counter[str] = Counter()
    for _ in range(20 * total):
        queue = rota.choose(weights)
        rota.served(queue)
        served[queue] += 1
    for queue, weight in weights.items():
        assert abs(served[queue] - 20 * weight) <= 1


def test_a_queue_that_was_empty_has_no_arrears() -> None:
    rota = Rota({"a": 3, "b": 1})
    for _ in range(300):
        rota.served("a")
        rota.empty("b")
    served: Counter[str] = Counter()
    for _ in range(40):
        queue = rota.choose(["a", "b"])
        rota.served(queue)
        served[queue] += 1
    assert abs(served["b"] - 10) <= 1


@pytest.mark.parametrize("weights", [{}, {"a": 0}])
def test_a_rota_needs_weights(weights: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="weight"):
        Rota(weights)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_backoff_is_bounded(tries: int, draw: float) -> None:
    assert 0 <= jittered(tries, 0.5, 10.0, lambda: draw) <= 10.0


def test_backoff_grows_to_the_cap() -> None:
    assert [jittered(tries, 0.5, 10.0, lambda: 1.0) for tries in (1, 2, 3, 4, 5, 6)] == [1, 2, 4, 8, 10, 10]
