"""Stages of a run that do not wait for one another run side by side, each in a process of its own.

A small model keeps two cores less than busy: trainings on one thread each, two at a time, took 0.77 and 0.86 of the
time of the same two in turn on both, in two measurements (`benchmarks/workers.py`). What a stage computes depends on
its number of threads and not on the process that it runs in or on what else runs: a run's first session shares the
machine's threads out among its workers, later ones keep that number, and with it the results are the same bit for bit
with any number of workers.
"""

import gc
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import psutil
import torch

from steadfast.errors import SteadfastError
from steadfast.progress import Progress
from steadfast.study.stages import Stage

OpenStages = Callable[[Progress], Sequence[Stage]]
"""It makes the stages of a run in a worker's process; a function that can be pickled."""

OnStage = Callable[[str, float], None]
"""It is told the name of a stage that has ended, and the seconds that it took."""

_BYTES_BESIDE_WEIGHTS = 1_500_000_000
"""What a worker needs for its libraries, its activations, and what it keeps of the layers below the adapters."""

_SECONDS_TO_END = 10
"""How long a process that is ending is waited for."""


@dataclass(frozen=True)
class Team:
    """How many processes share a run's stages, and how many CPU threads each of them has."""

    workers: int
    threads: int


def refuse_company(asked: int | None, alone: str | None) -> None:
    """Refuse more workers than one where a run can have one only.

    Raises:
        SteadfastError: with the reason.
    """
    if alone is not None and (asked or 1) > 1:
        raise SteadfastError(f"--workers {asked}: {alone}, so this run has one worker; leave --workers out")


def team_for(asked: int | None, stages: int, *, weights: int, threads: int | None, alone: str | None) -> Team:
    """Choose how many workers a run gets.

    Args:
        asked: The number that the user asked for, of which no more are taken than there are stages; None takes as many
            as threads and free memory allow, too.
        stages: How many stages are left.
        weights: The bytes of the model's weights.
        threads: The threads of a stage in an earlier session, which are kept so that its results are the same; None
            if there was none.
        alone: Why this run can have one worker only; None if it can have more.

    Raises:
        SteadfastError: More workers are asked for than one, and the run can have one only.
    """
    refuse_company(asked, alone)
    here = torch.get_num_threads()
    if asked is None:
        memory = psutil.virtual_memory().available // (3 * weights + _BYTES_BESIDE_WEIGHTS)
        asked = 1 if alone is not None else min(here // (threads or 1), memory)
    workers = max(1, min(asked, stages))
    return Team(workers, threads or max(1, here // workers))


def run_side_by_side(
    left: Mapping[str, str | None], open_stages: OpenStages, team: Team, progress: Progress, on_done: OnStage
) -> None:
    """Run stages, those first that stand first, each as soon as what it reads is there.

    Args:
        left: The names of the stages that are to be run, in order, each with that of the stage that it comes after; one
            that is not among them is done.
        open_stages: It makes the run's stages in a worker.
        team: How many workers there are.
        progress: It is told what the workers tell theirs.
        on_done: It is told the name of each stage that has ended, and its seconds.

    Raises:
        Exception: What a stage raised. The other workers are then stopped; what they have saved is there to go on from.
        SteadfastError: A worker was killed, or ended by itself.
    """
    waiting, undone = dict(left), set(left)
    workers = [_Worker.start(open_stages, team.threads) for _ in range(min(team.workers, len(left)))]
    try:
        while undone:
            for worker in workers:
                ready = next((name for name, after in waiting.items() if after not in undone), None)
                if worker.stage is None and ready is not None:
                    worker.begin(ready)
                    del waiting[ready]
            heard = wait([w.connection for w in workers if w.stage])
            for worker in workers:
                if worker.connection in heard:
                    _hear(worker, progress, undone, on_done)
    finally:
        for worker in workers:
            worker.stop()


@dataclass
class _Worker:
    """A process, the connection to it, and the name of the stage that it runs."""

    process: BaseProcess
    connection: "Connection[Any, Any]"
    stage: str | None = field(default=None)

    @classmethod
    def start(cls, open_stages: OpenStages, threads: int) -> "_Worker":
        context = multiprocessing.get_context("spawn")  # a forked process would inherit locks of torch's threads
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, open_stages, threads), daemon=True)
        with _without_interrupts():
            process.start()
        theirs.close()  # so that a killed worker ends the connection
        return cls(process, ours)

    def begin(self, stage: str) -> None:
        self.stage = stage
        try:
            self.connection.send(stage)
        except OSError:
            self.lost()

    def lost(self) -> None:
        self.process.join(timeout=_SECONDS_TO_END)
        code = self.process.exitcode
        if code is not None and code >= 0:
            raise SteadfastError(
                f"a worker process ended by itself (exit code {code}), and what it said of that stands above; what was "
                'saved is kept. A script must call run_recipe under `if __name__ == "__main__"`; otherwise run with '
                "--workers 1, which shows the fault where it is"
            )
        raise SteadfastError(
            f"a worker process was ended from outside (exit code {code}), as happens when the memory is full; what was "
            "saved is kept: run the same command again, with a lower --workers if this repeats"
        )

    def stop(self) -> None:
        """End the process: an idle one ends by itself when its connection does, and clears up what it holds."""
        self.connection.close()
        if self.stage is None:
            self.process.join(timeout=_SECONDS_TO_END)
        self.process.terminate()
        self.process.join(timeout=_SECONDS_TO_END)
        self.process.kill()  # code of the user's own may hold off SIGTERM
        self.process.join()


def _hear(worker: _Worker, progress: Progress, undone: set[str], on_done: OnStage) -> None:
    """Take one message of a worker's."""
    try:
        kind, *content = worker.connection.recv()
    except (EOFError, OSError):
        return worker.lost()
    match kind:
        case "progress":
            method, arguments = content
            getattr(progress, method)(*arguments)
        case "done":
            assert worker.stage is not None
            undone.discard(worker.stage)
            on_done(worker.stage, *content)
            progress.end(worker.stage)
            worker.stage = None
        case _:
            raise _linked(content[0])
    return None


class _Relay(Progress):
    """This progress hears from a worker, and tells the process that started it."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection = connection

    def note(self, text: str) -> None:
        self._tell("note", text)

    def begin(self, stage: str, already: float = 0.0) -> None:
        self._tell("begin", stage, already)

    def reach(self, stage: str, units: float, text: str) -> None:
        self._tell("reach", stage, units, text)

    def _tell(self, method: str, *arguments: Any) -> None:
        self._connection.send(("progress", method, arguments))


def _work(connection: "Connection[Any, Any]", open_stages: OpenStages, threads: int) -> None:
    """Run the stages that are named through the connection, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it was not inherited
    multiprocessing.current_process().daemon = False  # a check of the user's own may start processes, as it may in ours
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    try:
        stages: Mapping[str, Stage] | None = None
        while True:
            name: str = connection.recv()
            if stages is None:
                stages = {s.name: s for s in open_stages(_Relay(connection))}
                gc.freeze()  # libraries and data stay, so that the collection after every stage may pass over them
            started = time.perf_counter()
            stages[name].run()
            connection.send(("done", time.perf_counter() - started))
    except EOFError:
        return
    except Exception as error:
        connection.send(("failed", _portable_chain(error)))


@contextmanager
def _without_interrupts() -> Generator[None]:
    """Let a process that is started in this context never hear Ctrl-C, not even while it imports its libraries.

    Ctrl-C goes to the whole group of processes; the parent stops its workers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_with_parent() -> None:
    """End this process when its parent was killed: another session may begin in the run's directory at once."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _portable_chain(error: Exception) -> list[tuple[Exception, bool]]:
    """The error and what it came of, each with whether it was raised from the next one; a pickled error forgets both.

    An error that is a bug of ours keeps its traceback as a note.
    """
    if not isinstance(error, SteadfastError):
        error.add_note(f"In a worker process:\n{''.join(traceback.format_exception(error))}")
    chain = [error]
    while isinstance(inner := chain[-1].__cause__ or chain[-1].__context__, Exception) and inner not in chain:
        chain.append(inner)
    return [(_portable(one), one.__cause__ is not None) for one in chain]


def _linked(chain: Sequence[tuple[Exception, bool]]) -> Exception:
    """The first of some errors that another process sent, with what it came of."""
    for (error, caused), (inner, _) in pairwise(chain):
        if caused:
            error.__cause__ = inner
        else:
            error.__context__ = inner
    return chain[0][0]


def _portable(error: Exception) -> Exception:
    """The error as it can be sent to another process."""
    try:
        if str(pickle.loads(pickle.dumps(error))) == str(error):
            return error
    except Exception:  # a class may pickle as it likes, or not at all
        pass
    kind = SteadfastError if isinstance(error, SteadfastError) else RuntimeError
    return kind(str(error) if kind is SteadfastError else "".join(traceback.format_exception_only(error)).strip())
