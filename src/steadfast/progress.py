"""A long run shows its stages, how far it is, and how much time it still needs."""

from collections.abc import Callable, Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as RichProgress,
)

from steadfast.messages import printable


class Progress:
    """This progress hears from a run what it is doing, and shows nothing of it."""

    def note(self, text: str) -> None:
        """Take note of something that is worth a line."""

    def plan(self, units: Mapping[str, float]) -> None:
        """Learn which stages are to come, with the work of each in common units."""

    def skip(self, stage: str) -> None:
        """Learn that a stage's output is complete already, so that it is not run."""

    def begin(self, stage: str, already: float = 0.0) -> None:
        """Learn that a stage begins, or goes on with `already` units of it done by an earlier session."""

    def reach(self, stage: str, units: float, text: str) -> None:
        """Learn how many units of the stage are done."""

    def counter(self, stage: str, total: int, what: str = "", *, units: float = 1.0) -> Callable[[int], None]:
        """Return a function that is told how many of a stage's things were done since the last call.

        Args:
            stage: The stage.
            total: How many there are.
            what: What they are called, as in "3/8 answers".
            units: The units of the stage that each counts for.
        """
        done = 0

        def more(count: int) -> None:
            nonlocal done
            done += count
            self.reach(stage, done * units, f"{done}/{total} {what}".rstrip())

        return more

    def end(self, stage: str) -> None:
        """Learn that the stage is done."""

    def finish(self) -> None:
        """Learn that the run is done."""


class ConsoleProgress(Progress):
    """Show a bar over the whole run with the time left, and a line for each stage; only lines without a terminal.

    Names of suites and of models are printed as they are and never read as markup.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("left"),
            console=self.console,
            speed_estimate_period=600,
        )
        self._units: dict[str, float] = {}
        self._done: dict[str, float] = {}
        self._skipped: set[str] = set()
        self._already: dict[str, float] = {}
        self._active: set[str] = set()
        self._task: TaskID | None = None

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(printable(text), markup=False, highlight=False)

    def plan(self, units: Mapping[str, float]) -> None:
        """Make the bar, in the place of an earlier plan's; it shows from the first stage on that has work left."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._units = dict(units)
        for told in (self._done, self._already, self._skipped, self._active):
            told.clear()
        self._task = self._bar.add_task("starting", total=sum(units.values()))

    def skip(self, stage: str) -> None:
        """Take the stage off the bar, so that what is left is estimated from work that was done."""
        self._skipped.add(stage)
        self.note(f"{stage}: complete already")
        self._refresh(stage)

    def begin(self, stage: str, already: float = 0.0) -> None:
        """Name the stage; the work that an earlier session did is taken off the bar."""
        self._bar.start()
        number = list(self._units).index(stage) + 1
        self.note(f"stage {number} of {len(self._units)}: {stage}")
        self._active.add(stage)
        self._already[stage] = self._done[stage] = already
        self._refresh(stage)

    def reach(self, stage: str, units: float, text: str) -> None:
        """Move the bar; without a terminal, print a line now and then, which names the stage if several run."""
        before = self._done.get(stage, 0.0)
        self._done[stage] = units
        self._refresh(f"{stage}: {text}")
        tenth = self._units[stage] / 10
        if not self.console.is_terminal and int(units / tenth) > int(before / tenth):
            named = f"{stage}: {text}" if len(self._active) > 1 else text
            self.note(f"  {named}{self._remaining()}")

    def end(self, stage: str) -> None:
        """Fill the stage's part of the bar."""
        self._active.discard(stage)
        self._done[stage] = self._units[stage]
        self._refresh(stage)

    def finish(self) -> None:
        """Take the bar away, or say that there was nothing to show on one."""
        if self._bar.live.is_started:
            self._bar.stop()
        elif self._units and self._skipped.issuperset(self._units):
            self.note("complete; nothing to do")

    def _refresh(self, description: str) -> None:
        if self._task is None:
            return
        before = sum(self._already.values())
        total = sum(u for s, u in self._units.items() if s not in self._skipped) - before
        done = sum(u for s, u in self._done.items() if s not in self._skipped) - before
        self._bar.update(self._task, description=printable(description), total=total, completed=done)

    def _remaining(self) -> str:
        task = self._bar.tasks[0]
        if not task.percentage or task.elapsed is None:
            return ""
        left = task.elapsed * (100 / task.percentage - 1)
        return f"  about {left / 60:.0f} min left"
