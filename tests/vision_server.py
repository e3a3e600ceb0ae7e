"""A stand-in for Google's token endpoint and Vision's REST API on loopback, and a key file that leads there.

It takes what Google takes (a JWT signed with the key file's key, a bearer token of its own, `images:annotate` with
DOCUMENT_TEXT_DETECTION) and answers as Google does, zeros left out; what it reads, Tesseract reads. Faults are put in
front: each is one answer instead of the right one.
"""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, ClassVar
from urllib.parse import parse_qs

import cv2
import numpy as np
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from academy_ai.kinds.exam_ocr.passes import Tesseract
from academy_ai.text import Lines, Word

SCOPE = "https://www.googleapis.com/auth/cloud-vision"
AUDIENCE = "https://oauth2.googleapis.com/token"
"""google-auth names Google's own, whatever the key file's `token_uri` is."""
EMAIL = "reader@academy.iam.gserviceaccount.com"


@dataclass(frozen=True)
class Fault:
    """An answer instead of the right one; with `hang` none at all for so many seconds, or until the server ends."""

    status: int = 200
    body: Any = None
    hang: float = 0.0

    @staticmethod
    def of(status: int, name: str) -> "Fault":
        """Google's error body."""
        return Fault(status, {"error": {"code": status, "message": f"About {name}.", "status": name}})


@dataclass
class VisionServer:
    """What the tests look at and put in."""

    url: str
    key_file: Path
    key: rsa.RSAPrivateKey
    tokens: list[str] = field(default_factory=list)
    annotated: list[dict[str, Any]] = field(default_factory=list)
    """The requests for an annotation, whatever became of them."""
    token_faults: list[Fault] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def secrets(self) -> list[str]:
        """What must never be in a log: the private key's lines and the tokens."""
        pem = json.loads(self.key_file.read_text())["private_key"].splitlines()[1:-1]
        return [*pem, *self.tokens]

    def token(self, form: dict[str, list[str]]) -> tuple[int, Any]:
        """An access token for a rightly signed assertion."""
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        head, claims, signature = form["assertion"][0].split(".")
        signed = f"{head}.{claims}".encode()
        self.key.public_key().verify(_decoded(signature), signed, padding.PKCS1v15(), hashes.SHA256())
        assert json.loads(_decoded(head))["alg"] == "RS256"
        said = json.loads(_decoded(claims))
        assert (said["iss"], said["scope"], said["aud"]) == (EMAIL, SCOPE, AUDIENCE)
        assert said["iat"] - 60 <= time.time() <= said["exp"] <= said["iat"] + 3600
        self.tokens.append(token_urlsafe(24))
        return 200, {"access_token": self.tokens[-1], "expires_in": 3599, "token_type": "Bearer"}

    def annotate(self, body: dict[str, Any], bearer: str) -> tuple[int, Any]:
        """What Vision says of one picture."""
        if bearer not in {f"Bearer {token}" for token in self.tokens[-1:]}:
            return 401, Fault.of(401, "UNAUTHENTICATED").body
        (request,) = body["requests"]
        assert request["features"] == [{"type": "DOCUMENT_TEXT_DETECTION"}]
        data = np.frombuffer(base64.b64decode(request["image"]["content"]), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        lines = Tesseract().lines(np.asarray(picture, np.uint8))
        return 200, {"responses": [_annotation(lines) if lines else {}]}


def _annotation(lines: Lines) -> dict[str, Any]:
    """Each line as a block of its own, the last one first: the order of blocks means nothing."""
    blocks = [{"paragraphs": [{"words": [_word(word) for word in line]}], "blockType": "TEXT"} for line in lines]
    text = "\n".join(" ".join(word.text for word in line) for line in lines)
    return {"fullTextAnnotation": {"pages": [{"blocks": blocks[::-1]}], "text": text}}


def _word(word: Word) -> dict[str, Any]:
    right, foot = word.x + word.width, word.y + word.height
    corners = [(word.x, word.y), (right, word.y), (right, foot), (word.x, foot)]
    vertices = [{name: value for name, value in zip("xy", corner, strict=True) if value} for corner in corners]
    symbols = [{"text": letter, "confidence": word.confidence} for letter in word.text]
    return {"boundingBox": {"vertices": vertices}, "symbols": symbols, "confidence": word.confidence}


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@contextmanager
def serving(folder: Path) -> Iterator[VisionServer]:
    """The server on a free port, and its key file in `folder`."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    url = f"http://127.0.0.1:{httpd.server_address[1]}"
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    file = folder / "key.json"
    file.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "academy",
                "private_key_id": "1",
                "private_key": pem,
                "client_email": EMAIL,
                "token_uri": f"{url}/token",
            }
        )
    )
    _Handler.server_of[httpd.server_address[1]] = server = VisionServer(url, file, key)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        httpd.shutdown()
        thread.join()
        httpd.server_close()
        del _Handler.server_of[httpd.server_address[1]]


class _Handler(BaseHTTPRequestHandler):
    server_of: ClassVar[dict[int, VisionServer]] = {}

    def do_POST(self) -> None:
        server = self.server_of[self.server.server_address[1]]
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/token":
            fault = server.token_faults.pop(0) if server.token_faults else None
            status, body = (fault.status, fault.body) if fault else server.token(parse_qs(raw.decode()))
        else:
            assert self.path == "/v1/images:annotate"
            asked = json.loads(raw)
            server.annotated.append(asked)
            fault = server.faults.pop(0) if server.faults else None
            if fault is not None and fault.hang:
                server.ended.wait(fault.hang)  # the fault itself
                return
            status, body = (
                (fault.status, fault.body) if fault else server.annotate(asked, self.headers["Authorization"])
            )
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Not into the test's output."""
