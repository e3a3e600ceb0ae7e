"""From zero to what is needed and back: real KEDA over the queues that the platform rings."""

from pathlib import Path

import platform_e2e
from platform_e2e import Platform
from support import wait_until

from academy_local import client

BACK_SECONDS = 180


def test_a_lecture_wakes_the_video_workers_and_they_go(
    platform: Platform, director: client.Client, lecture: Path
) -> None:
    """0 pods → upload → video workers → lecture ready → 0 pods."""
    assert platform.workers("video") == []
    made = platform_e2e.publish(director, lecture, "처음부터 끝까지")
    assert director.detail(made)["state"] == "ready"
    assert platform.workers("video") != []
    names = [item["Key"] for item in platform.s3().list_objects_v2(Bucket="academy-video")["Contents"]]
    assert any(name.endswith(".m3u8") and made in name for name in names), "the lecture's playlists are in the store"
    wait_until(lambda: platform.replicas("video") == 0, BACK_SECONDS, "KEDA wants no video worker")
    wait_until(lambda: platform.workers("video") == [], BACK_SECONDS, "no video worker is left")
    assert platform.depth("video") == 0
    director.delete(made)
