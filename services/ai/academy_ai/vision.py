"""Google Cloud Vision as a reader of print: its REST API, as a service account. Used by the worker's own process.

`POST {endpoint}/v1/images:annotate` with DOCUMENT_TEXT_DETECTION; the access token comes from the key file's
`token_uri` against a JWT that google-auth signs. Only a picture that Google will not take is the picture's fault: all
else, refused credentials and an empty quota too, is ours to mend and thus retryable. Neither key, token nor picture is
ever in a message.
"""

import base64
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import urllib3
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport import urllib3 as transport
from google.oauth2.service_account import Credentials
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from academy_ai.text import Lines, Word, rows
from academy_core.errors import Permanent, Reason, Retryable, SettingsFault

if TYPE_CHECKING:
    from academy_ai.paper import Gray

SCOPE = "https://www.googleapis.com/auth/cloud-vision"
TIMEOUT = httpx.Timeout(6.0)
"""Short: a cancelled task has ten seconds to come back."""
ATTEMPTS, FIRST_WAIT, LONGEST_WAIT = 4, 0.5, 3.0
MAX_BYTES = 7_000_000
"""Of a picture: Google takes requests of 10 MB, and base64 makes four bytes of three."""
HINTS = ("ko", "en")
_MINE = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"})
_CODES = {3: "INVALID_ARGUMENT", 9: "FAILED_PRECONDITION", 11: "OUT_OF_RANGE"}
"""google.rpc.Code of what is the picture's fault; others only by their number."""
_THROTTLED = HTTPStatus.TOO_MANY_REQUESTS

NOT_TAKEN = Reason(
    "vision-picture",
    "글자 인식 서비스가 이 그림을 받지 않았습니다. 더 선명하거나 작은 파일로 다시 올려 주세요.",
    "The text recognition service did not take this picture. Upload a sharper or smaller file.",
)


class VisionUnavailable(Retryable):
    """Vision is away, throttles or refuses us; `detail` has its code."""


class VisionBusy(VisionUnavailable):
    """It is away or throttles: worth another try at once."""


class _Read(BaseModel):
    """Of an answer only what is needed. What is zero is left out of it."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Vertex(_Read):
    x: int = 0
    y: int = 0


class _Polygon(_Read):
    vertices: tuple[_Vertex, ...] = Field(default=(), max_length=100)


class _Symbol(_Read):
    text: str = ""


class _Word(_Read):
    box: _Polygon = Field(default=_Polygon(), alias="boundingBox")
    symbols: tuple[_Symbol, ...] = ()
    confidence: float = 0.0


class _Paragraph(_Read):
    words: tuple[_Word, ...] = ()


class _Block(_Read):
    paragraphs: tuple[_Paragraph, ...] = ()


class _Page(_Read):
    blocks: tuple[_Block, ...] = ()


class _Text(_Read):
    pages: tuple[_Page, ...] = ()


class _Status(_Read):
    code: int = 0
    status: str = ""

    @property
    def name(self) -> str:
        """Google's name of the code where it is known."""
        return self.status or _CODES.get(self.code, f"code {self.code}")


class _Response(_Read):
    text: _Text = Field(default=_Text(), alias="fullTextAnnotation")
    error: _Status | None = None


class _Responses(_Read):
    responses: tuple[_Response, ...] = Field(min_length=1, max_length=1)


class _Failure(_Read):
    error: _Status = _Status()


class Vision:
    """A host.RemoteReader. Thread-safe: one token and one connection pool for all."""

    name = "google-vision"

    def __init__(self, endpoint: str, credentials: Path) -> None:
        """`credentials`: a service account's key file. SettingsFault when it is none."""
        self._url = f"{endpoint.rstrip('/')}/v1/images:annotate"
        try:
            self._account = Credentials.from_service_account_file(str(credentials), scopes=[SCOPE])  # type: ignore[no-untyped-call]
        except (OSError, ValueError, GoogleAuthError) as error:
            fault = f"GOOGLE_APPLICATION_CREDENTIALS: no service account's key ({type(error).__name__})"
            raise SettingsFault(fault) from None
        self._lock = threading.Lock()
        pool = urllib3.PoolManager(timeout=TIMEOUT.read, retries=False)
        self._tokens = transport.Request(pool)  # type: ignore[no-untyped-call]
        self._http = httpx.Client(timeout=TIMEOUT, follow_redirects=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def read(self, picture: bytes, wanted: Callable[[], bool] = lambda: True) -> Lines:
        """The lines of a PNG. `wanted` is asked before another try. Raises VisionUnavailable, or Permanent."""
        if len(picture) > MAX_BYTES:
            raise Permanent(f"{len(picture)} bytes", reason=NOT_TAKEN)

        def enough(state: RetryCallState) -> bool:
            return state.attempt_number >= ATTEMPTS or not wanted()

        retrying = Retrying(
            stop=enough,
            wait=wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT),
            retry=retry_if_exception_type(VisionBusy),
            reraise=True,
        )
        return rows(retrying(self._annotate, picture))

    def lines(self, picture: "Gray") -> Lines:
        """As a text.Reader in a process that has a network, the command line's."""
        from academy_ai.paper import png  # noqa: PLC0415 - it brings numpy, which a worker's own process has no use for

        return self.read(png(picture))

    def _annotate(self, picture: bytes) -> list[Word]:
        request = {
            "image": {"content": base64.b64encode(picture).decode()},
            "features": [{"type": "DOCUMENT_TEXT_DETECTION"}],
            "imageContext": {"languageHints": HINTS},
        }
        headers = {"Authorization": f"Bearer {self._token()}"}
        try:
            answer = self._http.post(self._url, json={"requests": [request]}, headers=headers)
        except httpx.HTTPError as error:
            raise VisionBusy(type(error).__name__) from None  # its text may have the request in it
        if answer.status_code != HTTPStatus.OK:
            raise self._refused(answer)
        try:
            (response,) = _Responses.model_validate_json(answer.content).responses
        except ValidationError:
            raise VisionBusy("the answer cannot be read") from None
        if response.error is not None:
            raise _failed(response.error)
        return list(_words(response.text))

    def _token(self) -> str:
        with self._lock:
            if not self._account.valid:
                try:
                    self._account.refresh(self._tokens)
                except GoogleAuthError as error:
                    away = error.retryable or isinstance(error, TransportError)
                    kind = VisionBusy if away else VisionUnavailable
                    raise kind(f"token: {type(error).__name__}") from None
            return str(self._account.token)

    def _refused(self, answer: httpx.Response) -> Permanent | VisionUnavailable:
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            with self._lock:
                self._account.token = None  # the next attempt asks for another
        try:
            status = _Failure.model_validate_json(answer.content).error.status
        except ValidationError:
            status = ""
        detail = f"{answer.status_code} {status}".strip()
        if answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or status in _MINE:
            return Permanent(detail, reason=NOT_TAKEN)
        busy = answer.status_code in {HTTPStatus.UNAUTHORIZED, _THROTTLED} or answer.is_server_error
        return (VisionBusy if busy else VisionUnavailable)(detail)


def _failed(status: _Status) -> Permanent | VisionUnavailable:
    """The error of one picture within an answer."""
    if status.name in _MINE:
        return Permanent(status.name, reason=NOT_TAKEN)
    return VisionBusy(status.name)


def _words(text: _Text) -> Iterator[Word]:
    for page in text.pages:
        for word in (w for block in page.blocks for paragraph in block.paragraphs for w in paragraph.words):
            letters = "".join(symbol.text for symbol in word.symbols).strip()
            xs = [vertex.x for vertex in word.box.vertices]
            ys = [vertex.y for vertex in word.box.vertices]
            if letters and xs:
                x, y = max(0, min(xs)), max(0, min(ys))
                sure = min(1.0, max(0.0, word.confidence))
                yield Word(letters, x, y, max(xs) - x, max(ys) - y, sure)
