"""Where the previous release's tests run: a folder of their own, whatever became of the run before."""

from pathlib import Path

import previous_release


def test_what_a_killed_run_has_left_is_gone_and_nothing_stays(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "services").mkdir(parents=True)
    (tree / "services" / "old.py").touch()
    with previous_release.fresh(tree):
        assert list(tree.iterdir()) == []
        (tree / "new.py").touch()
    assert not tree.exists()


def test_a_server_that_ends_after_the_tests_does_not_fail_them(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    with previous_release.fresh(tree):
        tree.rmdir()  # as if by another, in the middle of the removal
