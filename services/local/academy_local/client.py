"""A client of the public HTTP API: what a director's browser does, from the command line.

Sign in, announce a lecture, upload its parts straight to the store, complete, watch it become playable. Nothing here
knows the API's code; whatever it sees, any client sees.
"""

import mimetypes
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx
import m3u8

POLL_SECONDS = 0.5
PUBLISH_SECONDS = 12 * 3600.0
"""The longest that an encoding is watched."""
PATIENCE_SECONDS = 60.0
"""How long the API may be away before the client gives up."""
ENDED = ("ready", "failed", "cancelled")
RUNNING = ("processing", "playable")


class Refused(Exception):
    """The platform said no, with a reason for a person."""

    def __init__(self, code: str, ko: str, en: str) -> None:
        self.code, self.ko, self.en = code, ko, en
        super().__init__(en)


@dataclass(frozen=True, slots=True)
class Published:
    """A lecture that is complete."""

    lecture: str
    playback_url: str
    seconds_to_first_playable: float
    """From the end of the upload."""
    seconds_to_complete: float
    """From the end of the upload."""
    duration_seconds: float
    rungs: list[str]
    """WIDTHxHEIGHT of each rendition, the largest first."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Step:
    """How far a publication is, for a progress display."""

    state: str
    percent: float | None
    """Of the encoding; None while unknown."""
    playable_seconds: float
    duration_seconds: float | None


class Client:
    """One signed-in session."""

    def __init__(self, base_url: str) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=30)

    def __enter__(self) -> Self:
        """Use it as a context manager: the connections are closed at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def sign_in(self, email: str, password: str) -> None:
        """Start a session; Refused when the credentials are wrong."""
        me = self._call("POST", "/api/v1/session", json={"email": email, "password": password})
        self._http.headers["X-CSRFToken"] = me["csrf_token"]

    def create(self, file: Path, title: str) -> str:
        """Announce a lecture; return its id."""
        announced = {
            "title": title,
            "file_name": file.name,
            "size": file.stat().st_size,
            "content_type": mimetypes.guess_type(file.name)[0] or "application/octet-stream",
        }
        # One key for all repeats: a create whose answer was lost is not made twice.
        headers = {"Idempotency-Key": uuid4().hex}
        return str(self._call("POST", "/api/v1/lectures", json=announced, headers=headers)["id"])

    def upload(self, lecture: str, file: Path, progress: Callable[[int], None] = lambda _: None) -> None:
        """PUT every missing part to its presigned URL, then complete. Resumes what an earlier call left."""
        with file.open("rb") as source:
            after = 0
            while True:
                parts = self._call("POST", f"/api/v1/lectures/{lecture}/upload/parts", json={"after": after})
                if not parts["urls"]:
                    break
                for part in parts["urls"]:
                    source.seek((part["number"] - 1) * parts["part_bytes"])
                    httpx.put(part["url"], content=source.read(part["size"]), timeout=120).raise_for_status()
                    progress(part["size"])
                    after = part["number"]
        self._call("POST", f"/api/v1/lectures/{lecture}/upload/complete")

    def detail(self, lecture: str) -> dict[str, Any]:
        """The lecture as the API shows it."""
        return self._call("GET", f"/api/v1/lectures/{lecture}")

    def under_way(self) -> list[tuple[str, Step]]:
        """Title and step of each lecture that is being encoded, of the newest page."""
        listed = self._call("GET", "/api/v1/lectures")["items"]
        running = [lecture for lecture in listed if lecture["state"] in RUNNING]
        return [(lecture["title"], _step(self.detail(lecture["id"])["publication"])) for lecture in running]

    def playback(self, lecture: str) -> dict[str, Any]:
        """A fresh playback address; Refused while nothing can be played."""
        return self._call("GET", f"/api/v1/lectures/{lecture}/playback")

    def act(self, lecture: str, action: str) -> dict[str, Any]:
        """`cancel` or `retry`."""
        return self._call("POST", f"/api/v1/lectures/{lecture}/{action}")

    def delete(self, lecture: str) -> None:
        """Remove a lecture."""
        self._call("DELETE", f"/api/v1/lectures/{lecture}")

    def watch(self, lecture: str, timeout: float) -> Iterator[Step]:
        """Each poll's step, the last one ended; Refused when the encoding fails, TimeoutError after `timeout` s."""
        deadline = time.monotonic() + timeout
        while True:
            publication = self.detail(lecture)["publication"]
            yield _step(publication)
            if publication["state"] in ENDED:
                if reason := publication["reason"]:
                    raise Refused(reason["code"], reason["ko"], reason["en"])
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"lecture {lecture} is {publication['state']} after {timeout:g} s")
            time.sleep(POLL_SECONDS)

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self._patiently(lambda: self._http.request(method, path, **options))
        if answer.is_error:
            raise _refusal(answer)
        return dict(answer.json()) if answer.content else {}

    def _patiently(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        """Repeat while the API is away or overloaded: every call here is safe to repeat."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            last = time.monotonic() > deadline
            try:
                answer = send()
            except httpx.TransportError:
                if last:
                    raise
            else:
                if last or answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                    return answer
            time.sleep(POLL_SECONDS)


def publish(
    client: Client,
    file: Path,
    title: str,
    *,
    uploaded: Callable[[int], None] = lambda _: None,
    seen: Callable[[Step], None] = lambda _: None,
) -> Published:
    """Upload a file and wait until it is complete; Refused with the reason when the platform cannot use it."""
    lecture = client.create(file, title)
    client.upload(lecture, file, uploaded)
    began = time.monotonic()
    first: float | None = None
    step = Step("processing", None, 0.0, None)
    for step in client.watch(lecture, PUBLISH_SECONDS):
        seen(step)
        if first is None and step.playable_seconds > 0:
            first = time.monotonic() - began
    complete = time.monotonic() - began
    if step.state != "ready":
        raise Refused("cancelled", "처리가 취소되었습니다.", "The encoding was cancelled.")
    url = client.playback(lecture)["url"]
    return Published(
        lecture=lecture,
        playback_url=url,
        seconds_to_first_playable=round(first if first is not None else complete, 2),
        seconds_to_complete=round(complete, 2),
        duration_seconds=step.duration_seconds or 0.0,
        rungs=rungs(url),
    )


def rungs(master_url: str) -> list[str]:
    """WIDTHxHEIGHT of each rendition of a master playlist, the largest first."""
    answer = httpx.get(master_url, timeout=30)
    answer.raise_for_status()
    sizes = {playlist.stream_info.resolution for playlist in m3u8.loads(answer.text).playlists}
    return [f"{width}x{height}" for width, height in sorted(sizes, reverse=True)]


def _step(publication: dict[str, Any]) -> Step:
    chunks = next((stage for stage in publication["stages"] if stage["name"] == "chunks"), None)
    return Step(
        state=publication["state"],
        percent=chunks["percent"] if chunks else None,
        playable_seconds=publication["playable_seconds"],
        duration_seconds=publication["duration_seconds"],
    )


def _refusal(answer: httpx.Response) -> Refused:
    """From an RFC 9457 problem; other answers keep their status."""
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    code = str(problem.get("code", f"http-{answer.status_code}"))
    ko = str(problem.get("detail_ko") or problem.get("detail") or answer.reason_phrase)
    en = str(problem.get("detail_en") or problem.get("title") or answer.reason_phrase)
    return Refused(code, ko, en)
