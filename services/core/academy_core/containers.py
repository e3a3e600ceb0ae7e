"""Containers of video that are not taken, and what is told of them. Pure.

The API looks at an upload's announced type and first bytes before it makes a job; the video worker looks at a source's
first bytes before it probes it, since ffprobe may not open these and could only call them damaged.
"""

from academy_core.errors import Reason

SNIFF_BYTES = 512
"""As many first bytes as any look at a file needs."""

UNSUPPORTED = Reason(
    "source-container-unsupported",
    "지원하지 않는 파일 형식입니다. MP4, MOV 또는 MKV 파일(H.264 또는 HEVC)로 저장해서 다시 올려 주세요.",
    "This kind of file is not supported. Please save it as an MP4, MOV or MKV file (H.264 or HEVC) and upload it"
    " again.",
)

_UNSUPPORTED_TYPES = frozenset({"video/x-ms-wmv", "video/x-ms-asf", "video/vnd.rn-realvideo", "video/ogg"})
"""What browsers call them."""
_ASF = bytes.fromhex("3026B2758E66CF11A6D900AA0062CE6C")
_MXF = bytes.fromhex("060E2B34020501010D010201")
_REAL = b".RMF"
_OGG = b"OggS"


def is_unsupported_type(content_type: str) -> bool:
    """Whether a file of this media type is of such a container."""
    return content_type in _UNSUPPORTED_TYPES


def is_unsupported(head: bytes) -> bool:
    """Whether a file that begins with these bytes is ASF (WMV), RealMedia, Ogg or MXF."""
    return head.startswith((_ASF, _REAL, _OGG, _MXF))
