"""The command line of the AI kinds, and that a kind's libraries load only when it runs."""

import json
import subprocess
import sys
from pathlib import Path

import omr_made
import pytest
from PIL import Image

from academy_ai.__main__ import fields, main
from academy_ai.kind import KindInput, discover


def test_every_kind_has_a_spec_and_inputs_that_name_their_files() -> None:
    kinds = discover()
    assert {"omr.grade", "image.quality", "lecture.slides"} <= set(kinds)
    for kind in kinds.values():
        assert issubclass(kind.task.input, KindInput)


def test_specs_load_no_heavy_library() -> None:
    heavy = "{'cv2', 'numpy', 'PIL', 'torch', 'ctranslate2', 'onnxruntime'}"
    program = f"import sys; from academy_ai.kind import discover; discover(); print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()"


def test_fields_are_json_or_text_and_repeat_into_lists() -> None:
    assert fields(["a=1", "b=x", "b=y", "b=z", "c=[1]"]) == {"a": 1, "b": ["x", "y", "z"], "c": [1]}


def test_grades_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = omr_made.sheet(4, questions=20)
    (tmp_path / "template.json").write_text(made.template)
    Image.fromarray(made.picture[..., ::-1].copy()).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "omr.grade", "template=template.json", "sheets=a.png", "--out", "out"]) == 0
    assert json.loads(capsys.readouterr().out)["sheets"] == 1
    assert json.loads((tmp_path / "out" / "answers.json").read_text())[0]["answers"] == made.truth


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "text.jpg").write_text("text")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "omr.none"], 2, "unknown kind"),
        (["run", "image.quality", "image"], 2, "not name=value"),
        (["run", "image.quality", "picture=a.jpg"], 2, "image: Field required"),
        (["run", "image.quality", "image=absent.jpg"], 2, "no such file"),
        (["run", "image.quality", "image=text.jpg"], 1, "사진 파일을 열 수 없습니다"),
    ],
)
def test_says_what_is_wrong(arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == code
    assert words in capsys.readouterr().err
