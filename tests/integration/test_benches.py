"""The benchmarks run and print what they promise: a short form of each, for correctness alone, no figure is judged."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from speech_made import needs_voice
from tesseract_support import reads as exam_pages

TESTS = Path(__file__).parents[1]
OTHERS = TESTS.parent / ".tools" / "bench"

SECONDS = 900
"""For one of them, on a busy machine."""
pytestmark = pytest.mark.timeout(SECONDS + 60)

others = pytest.mark.skipif(not OTHERS.exists(), reason="what the benchmarks compare with is missing: `make setup`")
java = pytest.mark.skipif(not (shutil.which("java") and shutil.which("mvn")), reason="ElasticMQ needs Java and Maven")


def bench(name: str, *arguments: str) -> dict[str, Any]:
    """Run one; its JSON object."""
    done = subprocess.run(
        [sys.executable, str(TESTS / "bench" / f"{name}.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        check=True,
        timeout=SECONDS,
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    assert figures.pop("machine")["cores"] == os.cpu_count()
    return figures


@others
def test_ledger_sql() -> None:
    figures = bench("ledger_sql", "--tasks", "40", "--rounds", "1", "--workers", "2")["figures"]["2 workers"]
    assert figures["academy_per_second"] > 0
    assert figures["procrastinate_per_second"] > 0
    assert figures["ratio"] > 0


def test_ledger_http() -> None:
    figures = bench("ledger_http", "--tasks", "40", "--rounds", "1", "--workers", "2")["figures"]["2 workers"]
    assert min(figures["http_per_second"], figures["sql_per_second"], figures["ratio"]) > 0


def test_pooled_connections_stay_within_the_bound(pgbouncer: object) -> None:  # noqa: ARG001 - skips where there is none
    figures = bench("pooled_connections", "--clients", "100", "--transactions", "3")
    assert figures["clients"] == 100
    assert 0 < figures["postgres_connections"] <= 20


def test_sign_ins() -> None:
    figures = bench("sign_ins", "--people", "5")["figures"]
    for what in ("idle", "sign_ins"):
        assert figures[what]["beats"] > 0
        assert 0 < figures[what]["p50_ms"] <= figures[what]["p99_ms"] <= figures[what]["max_ms"]


def test_gevent_concurrency() -> None:
    (measured,) = bench("gevent_concurrency", "--connections", "20", "--seconds", "2", "--rounds", "1")["rounds"]
    assert measured["gevent"]["under_way"] > 0
    assert measured["sync"]["workers"] >= 1
    assert measured["ratio"] > 0


def test_video_scale(tmp_path: Path) -> None:
    """The simulation, from made task times; the video benchmarks that encode take minutes and run in the soak."""
    measured = tmp_path / "kill.json"
    chunks = [{"media": length, "seconds": 2 + length} for length in (6.0, 12.0, 24.0, 60.0)]
    measured.write_text(json.dumps({"tasks": {"chunks": chunks, "plan": 2.0, "publish": 0.5}}))
    figures = bench("video", "scale", str(measured))
    assert figures["measured"] == {"chunk_fixed": 2.0, "chunk_a_second": 1.0, "plan": 2.0, "publish": 0.5}
    one, *_, most = figures["curve"]
    assert (one["workers"], most["workers"]) == (1, 50)
    assert 25 < one["wall"] / most["wall"] <= 50
    assert most["first_playable"] == one["first_playable"] > 8


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(os.environ.get("ACADEMY_SOAK") != "1", reason="minutes of encoding: `make soak`")
def test_video() -> None:
    bench("video", "prepare")
    killed = bench("video", "kill", "--seconds", "24")
    assert killed["redone_chunks"] == 1
    assert bench("video", "last", "--lectures", "1")["max"] > 0
    assert bench("video", "first", "--rounds", "1")["from_zero_seconds"] > 0
    assert bench("video", "cost", "--seconds", "24")["cpu_workers_over_bare"] > 0


@others
def test_sqs_calls() -> None:
    """Calls are counted, not timed: this figure holds on any machine."""
    figures = bench("sqs_calls", "--jobs", "20")
    assert set(figures["ratios"]) == {"academy/celery", "academy/dramatiq_sqs"}
    assert max(figures["ratios"].values()) < 1


@others
@java
def test_sqs_throughput() -> None:
    figures = bench("sqs_throughput", "--jobs", "20", "--rounds", "1")
    assert set(figures["jobs_per_second"]) == {"bare", "ceiling", "academy", "celery", "dramatiq_sqs"}
    assert min(figures["jobs_per_second"].values()) > 0


def test_similar() -> None:
    figures = bench("similar", "--questions", "400", "--queries", "20")
    assert figures["questions"] == 400
    for found in figures["search"].values():
        assert 0 < found["p50_ms"] <= found["p95_ms"]
        assert found["recall_at_10"] > 0.5


@exam_pages
def test_exam() -> None:
    """The accuracy on one page does not hang on the machine: a page read much worse fails here."""
    figures = bench("exam", "--seeds", "1", "--first", "5", "--ways", "scan")
    assert figures["exam.segment"]["scan"]["numbers_right_%"] == 100
    assert figures["exam.ocr"]["scan"]["hangul_error"] < 0.02


@needs_voice
def test_speech() -> None:
    """Ours alone; clear words of a made voice are read alike by both engines on any machine."""
    results = bench("speech", "--minutes", "0.3", "--rounds", "1")["results"]
    assert "academy ctranslate2 int8" in results
    for figures in results.values():
        assert figures["word_error_lesson"] < 0.3
        assert figures["x_realtime"] > 0


def test_omr() -> None:
    """Made sheets, known marks: what the reader gets right does not hang on the machine."""
    figures = bench("omr", "--seeds", "1", "--ways", "clean", "rotation 5")
    for way in ("clean", "rotation 5"):
        assert figures["omr.grade"]["made"][way]["right"] == 100
        assert figures["omr.grade"]["made"][way]["ms_a_sheet"] > 0
    assert (
        figures["fixed positions"]["made"]["clean"]["right"]
        > 90
        > figures["fixed positions"]["made"]["rotation 5"]["right"]
    )


def test_quality() -> None:
    figures = bench("quality", "--seeds", "2")
    assert figures["made"] == 2
    for blurred in figures["sharpness"].values():
        assert blurred["auc"] == 1
        assert blurred["sharp_called_blurred"] == 0
    assert figures["completeness"]["whole_called_incomplete"] == 0
    assert figures["completeness"]["cut_called_incomplete"] == 1
    assert 0 < figures["ms"]["alone"] < figures["ms"]["with_decoding"]


@others
def test_slides() -> None:
    figures = bench("slides", "--seeds", "1", "--slides", "5")["figures"]
    assert figures["lecture.slides"]["found"] == figures["lecture.slides"]["changes"] == 4
    assert figures["lecture.slides"]["false"] == 0
    for found in figures.values():
        assert found["changes"] == 4
        assert min(found["x_realtime_processor"], found["x_realtime_wall"]) > 0
