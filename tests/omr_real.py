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


def _letters(answers: str, first: int = 1) -> dict[str, str]:
    """One answer a letter, from question `first` on; `-` is blank, `*` no single letter."""
    return {f"q{number}": answer.strip("-") for number, answer in enumerate(answers, first) if answer != "*"}


LONG_SHEETS = {
    "Sandeep-1507/omr-1.png": (
        "DCBAABCDDCBADABCD-BDCACCBADA*CBDCBABBDDACBDACBDBDA"
        "ABCDCBADDABCDCBABCDABCDBACDCBADBDAABACBDCDBACCBDBC"
        "BADCBABCDAAABBABCDAADCBA-ABCDDDBBCCDCCDDCCBBAADDBA"
        "DCBAADDBBAABCDDCBABDACCCAABBDDAABCDBDABCD*CDBCABCD"
    ),
    "Sandeep-1507/omr-2.png": (
        "ABBADCBDCDDDBBDDDBCCAABADAABACACDDD--CCBBB-D-CD-DB"
        "ADBACACACBADCBCBCDBBDCCDDADADCBDCAC-CBB-AAD-BA-CAD"
        "DCCACACDAAADDBCBBBDACDDAAACDCCBDAACB-DACCC---AC-DA"
        "BAACADBBADABCACDDDCACACDAAADABABCBA-BCDD--DCCC-CA-"
    ),
    "Sandeep-1507/omr-3.png": (
        "BACDADDACAABCAACABADCCADDCCCACCBBDDC--CB--DAAAA-AC"
        "CCDC-ABCDBCCCDABBBDDBBCDBDABABCACACD--AB-BCDADD--C"
        "DBBAADDBABBCCDDCADCDCCBCDCDABDCBDBB-D-BDBBCAD-C-C-"
        "BCABBDDDBADDADDCBBDCBACDADDACABDCCCAD--BB-CCBBC--B"
    ),
    "sample3/colored-thick-sheet/rgb-100-gsm.jpg": (
        "DDA-CCB-ACCDADACADBDDCDDDD-BADDC-B-CD--A-ACCBCAAC-C-DBC-BCD--CC-CABC----DDCDA--B-BDCC-D-DCDA-A--ACBA"
    ),
    "sample3/xeroxed-thin-sheet/grayscale-80-gsm.jpg": (
        "CDACCCBACCBDBDCCBDBDCCCBDDDBADDCABCADAAADDBABCBACDCDABCACCCDBCCCCADADADCCDCDAACBCDCABCBDAACABDCDACBA"
    ),
}
"""A letter a question from q1 on, `-` blank; `*` is no single answer: given below, or left out."""

READ_BY_EYE: dict[str, dict[str, str]] = {
    "Antibodyy/simple_omr_sheet.jpg": _letters("ACBDEB"),
    "Shamanth/omr_sheet_01.png": _letters("ABCDACCD", 21),
    "ibrahimkilic/yes_no_questionnarie.jpg": dict.fromkeys([f"q{n}" for n in range(1, 6)], "no"),
    "sample1/MobileCamera/sheet1.jpg": {
        "Roll": "E503110026", "q5": "6", "q6": "11", "q7": "20", "q8": "7", "q9": "16",
        **_letters("B-DB"), **_letters("BDCDADBACCD", 10),
    },
    "sample2/AdrianSample/adrian_omr.png": _letters("BEACB"),
    "sample2/AdrianSample/adrian_omr_2.png": _letters("CEABB"),
    "sample4/IMG_20201116_143512.jpg": {**_letters("BDCBDC*ACDC"), "q7": "BC"},
    "sample4/IMG_20201116_150717658.jpg": {**_letters("BDCBDC*ACDC"), "q7": "BC"},
    "sample4/IMG_20201116_150750830.jpg": {**_letters("A-DC*ADBCDD"), "q5": "AC"},
    "sample5/ScanBatch1/camscanner-1.jpg": {
        "Roll": "E204420102", "q6": "08", "q7": "52", "q8": "21", "q9": "85", "q10": "36", "q18": "AD",
        **_letters("DCACB"), **_letters("BCAADCC", 11), **_letters("AAD-", 19),
    },
    "sample5/ScanBatch2/camscanner-2.jpg": {
        "Roll": "E204420109", "q6": "01", "q7": "19", "q8": "10", "q9": "10", "q10": "18", "q18": "C",
        **_letters("CCBCC"), **_letters("DADDDCC", 11), **_letters("CDBA", 19),
    },
    "sample6/doc-scans/sample_roll_01.jpg": {"Roll": "A0188877Y"},
    "sample6/doc-scans/sample_roll_02.jpg": {"Roll": "A0203959W"},
    "sample6/doc-scans/sample_roll_03.jpg": {"Roll": "A0204729A"},
    "Sandeep-1507/omr-1.png": {
        **_letters(LONG_SHEETS["Sandeep-1507/omr-1.png"]), "q192": "AD", "Booklet_No": "0190890",
    },
    "Sandeep-1507/omr-2.png": {**_letters(LONG_SHEETS["Sandeep-1507/omr-2.png"]), "Booklet_No": "0922756"},
    "Sandeep-1507/omr-3.png": {**_letters(LONG_SHEETS["Sandeep-1507/omr-3.png"]), "Booklet_No": "0462833"},
    **{name: _letters(LONG_SHEETS[name]) for name in LONG_SHEETS if name.startswith("sample3/")},
}  # fmt: skip
"""What a person reads on the sheets; left out: q29 of `omr-1.png`, one mark and one ring."""


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
