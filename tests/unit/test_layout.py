"""Guards on the shape of the repository."""

import operator
import sysconfig
from pathlib import Path


def test_operator_is_the_standard_library() -> None:
    assert Path(operator.__file__).parent == Path(sysconfig.get_path("stdlib"))
