"""The relay's playlist writer while the object store fails: through the real client and a proxy that makes R2's faults.

What matters is what a viewer sees in between: a playlist is whole at every moment and only ever grows.
"""

import os
import random
import sys
from datetime import timedelta

import m3u8
import pytest
from api_support import World
from django.utils import timezone
from fault_proxy import faulty
from lecture_support import Worker, chunk_of, plan_of
from support import S3Handle

from academy_api.lectures import playlists, publishing, service, store
from academy_api.lectures.models import Publication, State
from academy_core.errors import NotFound
from academy_core.settings import StoreSettings
from academy_core.store import R2Store

SOAK = os.environ.get("ACADEMY_SOAK") == "1"
SEEDS = 20 if SOAK else 3
SHARE = 0.35
PLAN = plan_of([1, 2, 3, 4])
DATA = b"\x00\x00\x00\x20ftypisom" + b"\x00" * 4000
TURNS = 40


def store_at(endpoint: str, bucket: str, attempts: int) -> R2Store:
    settings = StoreSettings.model_validate(
        {
            "R2_ENDPOINT": endpoint,
            "R2_ACCESS_KEY": os.environ["R2_ACCESS_KEY"],
            "R2_SECRET_KEY": os.environ["R2_SECRET_KEY"],
            "RETRY_MAX_ATTEMPTS": attempts,
            "BACKOFF_BASE_SECONDS": 0.01,
            "BACKOFF_CAP_SECONDS": 0.05,
        }
    )
    return R2Store(settings, bucket)


def text_of(bucket: R2Store, publication: Publication, name: str) -> str:
    try:
        return bucket.get(f"{publication.output_prefix}{name}").decode()
    except NotFound:
        return ""


@pytest.mark.slow
@pytest.mark.parametrize("number", range(SEEDS))
def test_playlists_only_grow_and_end_whatever_the_store_does(
    world: World, s3: S3Handle, bucket: str, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Short form: 3 seeds; `make soak`: 20. The client tries each call only twice, so that whole turns fail too."""
    seed = random.SystemRandom().randrange(2**32) if SOAK else number
    direct = store_at(s3.endpoint, bucket, 5)
    monkeypatch.setattr(store, "video", lambda: direct)
    lecture = service.create(
        world.academy.pk, world.teacher.pk, "1강", service.Announced("1.mp4", len(DATA), "video/mp4")
    )
    service.next_parts(lecture.pk, 0)
    upload = Publication.objects.select_related("upload").get().upload
    direct.put_part(upload.source_key, upload.upload_id, 1, DATA)
    service.complete(lecture.pk, "request-1")
    worker = Worker()
    worker.plan(PLAN)
    tasks = worker.claim_chunks(4)
    publication = Publication.objects.get()
    names = [playlists.file_name(name) for name in playlists.rendition_names(PLAN)]
    seen = dict.fromkeys(names, "")
    with faulty(s3.endpoint, seed, SHARE) as proxy:
        faulty_store = store_at(proxy.endpoint, bucket, 2)
        writer = publishing.PlaylistWriter(faulty_store)
        for turn in range(TURNS):
            if turn < len(tasks):
                worker.complete(tasks[turn], chunk_of(PLAN, turn))
            if turn == len(tasks):
                worker.publish(PLAN)
            if turn % 7 == 6:
                writer = publishing.PlaylistWriter(faulty_store)  # another relay takes over
            Publication.objects.update(playlists_at=timezone.now() - timedelta(seconds=1))
            writer.run()
            for name in names:
                now = text_of(direct, publication, name)
                assert now.startswith(seen[name]), f"seed {seed}: {name} shrank or changed"
                seen[name] = now
            if text_of(direct, publication, playlists.MASTER):
                assert all(seen.values()), f"seed {seed}: the master names a playlist that is not there"
            publication.refresh_from_db()
            if publication.state == State.READY:
                break
        sys.stdout.write(f"seed {seed}: ready after {turn + 1} turns, {proxy.calls} requests, {dict(proxy.met)}\n")
    assert publication.state == State.READY
    assert sum(proxy.met.values()) > 0
    for text in seen.values():
        read = m3u8.loads(text)
        assert read.is_endlist
        assert len(read.segments) == 10
    assert "AVERAGE-BANDWIDTH" in text_of(direct, publication, playlists.MASTER)
