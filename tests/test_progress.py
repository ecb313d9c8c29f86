import io

from rich.console import Console

from steadfast.progress import ConsoleProgress


def left(progress: ConsoleProgress) -> float:
    """Share of the work that is left, as the bar knows it."""
    task = progress._bar.tasks[0]
    return 1 - task.completed / task.total


def started() -> ConsoleProgress:
    progress = ConsoleProgress(Console(file=io.StringIO()))
    progress.plan({"train": 100.0, "evaluate": 100.0})
    return progress


def test_a_stage_half_done_by_an_earlier_session_is_no_work_of_this_one():
    progress = started()
    progress.begin("train", already=50.0)
    assert left(progress) == 1.0
    progress.reach("train", 75.0, "")
    assert left(progress) == 1 - 25 / 150
    progress.end("train")
    progress.begin("evaluate")
    progress.reach("evaluate", 100.0, "")
    progress.finish()
    assert left(progress) == 0.0


def shown(*skipped: str, begun: str | None = None) -> str:
    """What a run leaves on the screen that skips some stages and begins one."""
    text = io.StringIO()
    progress = ConsoleProgress(Console(file=text))
    progress.plan({"train": 100.0, "evaluate": 100.0})
    for stage in skipped:
        progress.skip(stage)
    if begun:
        progress.begin(begun)
    progress.finish()
    return text.getvalue()


def test_a_run_that_is_complete_says_so_and_shows_no_bar():
    text = shown("train", "evaluate")
    assert "complete; nothing to do" in text
    assert "%" not in text


def test_a_run_with_work_left_shows_a_bar_and_is_not_called_complete():
    text = shown("train", begun="evaluate")
    assert "%" in text
    assert "nothing to do" not in text


def test_a_run_that_fails_before_its_first_stage_is_not_called_complete():
    assert "nothing to do" not in shown("train")


def test_a_stage_complete_already_is_taken_off():
    progress = started()
    progress.skip("train")
    progress.reach("evaluate", 50.0, "")
    progress.finish()
    assert left(progress) == 0.5


def test_what_looks_like_markup_or_drives_a_terminal_is_shown_as_it_is():
    text = io.StringIO()
    progress = ConsoleProgress(Console(file=text, width=200))
    stage = "measure [bold]x[/nope]\x1b[31m"
    progress.plan({stage: 10.0})
    progress.note("[red]a[/nope]\x9b0m")
    progress.begin(stage)
    progress.reach(stage, 9.0, "[/b] 9/10")
    progress.finish()
    assert "measure [bold]x[/nope]\\x1b[31m" in text.getvalue()
    assert "[red]a[/nope]\\x9b0m" in text.getvalue()
    assert "[/b] 9/10" in text.getvalue()
    assert not {"\x1b", "\x9b"} & set(text.getvalue())


def test_lines_of_stages_that_run_at_once_name_their_stage():
    text = io.StringIO()
    progress = ConsoleProgress(Console(file=text, width=200))
    progress.plan({"train a": 10.0, "train b": 10.0})
    progress.begin("train a")
    progress.begin("train b")
    progress.reach("train a", 5.0, "step 1/2")
    progress.end("train a")
    progress.reach("train b", 5.0, "step 9/18")
    progress.finish()
    assert "  train a: step 1/2" in text.getvalue()
    assert "\n  step 9/18" in text.getvalue()
