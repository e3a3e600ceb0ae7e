"""Guards on the shape of the repository."""

import operator
import os
import subprocess
import sys
import sysconfig
from pathlib import Path


def test_operator_is_the_standard_library() -> None:
    assert Path(operator.__file__).parent == Path(sysconfig.get_path("stdlib"))


def test_the_api_needs_no_library_of_the_ai_workers() -> None:
    """The API shares the kinds' specifications and marking rules, not what they compute with."""
    heavy = ("numpy", "cv2", "PIL", "pypdfium2", "torch", "transformers")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({heavy!r}))\n"
        "import django_settings, django; django.setup(); import academy_api.urls, academy_api.relay.__main__"
    )
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "django_settings",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_every_drill_with_a_long_form_is_in_the_soak() -> None:
    """`make soak` picks what is marked slow, and the whole of tests/e2e."""
    tests = Path(__file__).parents[1]
    longer = {path for path in tests.rglob("test_*.py") if 'environ.get("ACADEMY_SOAK")' in path.read_text("utf-8")}
    marked = {path for path in longer if "mark.slow" in path.read_text("utf-8") or "e2e" in path.parts}
    assert len(longer) > 1
    assert longer - marked == set()
