"""The real answer sheets of the reference data, with what a person reads on them."""

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from academy_ai import pictures
from academy_ai.paper import Gray

REFERENCE = Path(os.environ.get("ACADEMY_REFERENCE_DATA", Path(__file__).parents[2] / "shared" / "data"))
ENOUGH = 1600

ADRIAN = {"adrian_omr.png": "BEACB", "adrian_omr_2.png": "CEABB"}
READ_BY_EYE: dict[str, dict[str, str]] = {
    "Antibodyy/simple_omr_sheet.jpg": dict(zip([f"q{n}" for n in range(1, 7)], "ACBDEB", strict=True)),
    "Shamanth/omr_sheet_01.png": dict(zip([f"q{n}" for n in range(21, 29)], "ABCDACCD", strict=True)),
    "ibrahimkilic/yes_no_questionnarie.jpg": dict.fromkeys([f"q{n}" for n in range(1, 6)], "no"),
    **{
        f"sample2/AdrianSample/{name}": dict(zip([f"q{n}" for n in range(1, 6)], marks, strict=True))
        for name, marks in ADRIAN.items()
    },
    "sample4/IMG_20201116_143512.jpg": dict(
        zip([f"q{n}" for n in range(1, 12)], ["B", "D", "C", "B", "D", "C", "BC", "A", "C", "D", "C"], strict=True)
    ),
    "sample4/IMG_20201116_150717658.jpg": dict(
        zip([f"q{n}" for n in range(1, 12)], ["B", "D", "C", "B", "D", "C", "BC", "A", "C", "D", "C"], strict=True)
    ),
    "sample4/IMG_20201116_150750830.jpg": dict(
        zip([f"q{n}" for n in range(1, 12)], ["A", "", "D", "C", "AC", "A", "D", "B", "C", "D", "D"], strict=True)
    ),
    "sample5/ScanBatch1/camscanner-1.jpg": {
        "Roll": "E204420102", "q1": "D", "q2": "C", "q3": "A", "q4": "C", "q5": "B", "q6": "08", "q7": "52",
        "q8": "21", "q9": "85", "q10": "36", "q18": "AD", "q22": "",
    },
    "sample5/ScanBatch2/camscanner-2.jpg": {
        "Roll": "E204420109", "q6": "01", "q7": "19", "q8": "10", "q9": "10", "q10": "18", "q19": "C", "q22": "A",
    },
    "sample6/doc-scans/sample_roll_01.jpg": {"Roll": "A0188877Y"},
    "sample6/doc-scans/sample_roll_02.jpg": {"Roll": "A0203959W"},
    "sample6/doc-scans/sample_roll_03.jpg": {"Roll": "A0204729A"},
}  # fmt: skip
"""What a person reads on the sheets (of the long ones, a part)."""


@dataclass(frozen=True)
class Real:
    """One real sheet."""

    name: str
    template: str
    picture: Gray
    marker: Gray | None


def real_sheets() -> list[Real]:
    """All real sheets; none where the reference data is absent."""
    out = []
    for described in sorted(REFERENCE.glob("omr/**/template.json")):
        folder = described.parent
        marker = folder / "omr_marker.jpg"
        for path in sorted(folder.rglob("*")):
            if path.suffix not in {".jpg", ".png"} or path.name in {"omr_marker.jpg", "reference.png"}:
                continue
            out.append(
                Real(
                    path.relative_to(REFERENCE / "omr").as_posix(),
                    described.read_text("utf-8"),
                    np.asarray(pictures.gray(path, ENOUGH), np.uint8),
                    np.asarray(cv2.imread(str(marker), cv2.IMREAD_GRAYSCALE), np.uint8) if marker.exists() else None,
                )
            )
    return out
