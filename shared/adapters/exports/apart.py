"""Reads Parquet in a process of its own. A file that is damaged or hostile can end that, and nothing else.

Neither can be told from a good one before it is read: what a footer says of sizes is what its maker says, and what lies
in its pages can make the parser ask for any memory, which ends a process at once. The process is started with the first
file, kept for the next, and ends when there is none for a while, or when the one that started it does.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import date
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread, Timer
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from shared.domain.charges import CostMetric
from shared.ports.errors import LaterError, NeverError

if TYPE_CHECKING:
    from shared.adapters.exports.columns import Layout
    from shared.adapters.exports.summing import Summing

# Files of three million rows take half of it. What counts is what is asked for, not what is used.
MOST_MEMORY_MB = 1_200
LONGEST_SECONDS = 180.0
# A small file that hangs has others wait no longer than it may: so long for any file, and for each MB of one.
SECONDS_FOR_ANY, SECONDS_FOR_MB = 60.0, 1.0
IDLE_SECONDS = 60.0
# With these, what is read ahead does not grow with the machine.
FRUGAL = {"POLARS_ROW_GROUP_PREFETCH_SIZE": "2", "POLARS_MAX_THREADS": str(min(os.cpu_count() or 1, 4))}
# Where there is no memory left, what a thread has to say of it may wait for ever for some.
QUIET = {"RUST_BACKTRACE": "0"}
READY = b"ready"
IDLE = 0


class _Child(NamedTuple):
    process: subprocess.Popen[bytes]
    questions: IO[bytes]
    answers: IO[bytes]


class ReadingProcess:
    """The process, seen from outside. Files are read one after the other.

    idle: after so many seconds without a file it ends.
    """

    def __init__(
        self, most_memory_mb: int = MOST_MEMORY_MB, longest_seconds: float = LONGEST_SECONDS, idle: float = IDLE_SECONDS
    ) -> None:
        self._most_memory_mb, self._longest_seconds, self._idle = most_memory_mb, longest_seconds, idle
        self._one_at_a_time = Lock()
        self._child: _Child | None = None

    @property
    def process_id(self) -> int | None:
        """None where none is there."""
        return self._child.process.pid if self._child else None

    def read(self, path: Path, metric: CostMetric, today: date) -> tuple[Layout, Summing]:
        """What a file is, and what it comes to. Raises NeverError, and LaterError where no process can be started."""
        question = (path.absolute(), metric, today)
        seconds = min(self._longest_seconds, seconds_for(path.stat().st_size))
        with self._one_at_a_time:
            # One that is kept may have been ended by anybody meanwhile, or just now: a file breaks only a new one.
            was_kept = self._child is not None
            answer, took_too_long = self._ask(question, seconds)
            while answer is None and (self._ended() == IDLE or was_kept) and not took_too_long:
                was_kept = False
                answer, took_too_long = self._ask(question, seconds)
        if answer is None:
            raise NeverError(
                "The file is damaged, or takes more memory or time than any export "
                f"of its size ({self._most_memory_mb:,} MB, {seconds:.0f} seconds): reading it broke off. "
                "One with a great many charges has to come in several files (Azure: `partitionData`)."
            )
        if isinstance(answer, Exception):
            raise answer
        layout, summing = answer
        return layout, summing

    def close(self) -> None:
        """Ends it, if there is one; the next file starts another."""
        if self._child:
            self._ended()

    def _ask(self, question: tuple[Path, CostMetric, date], seconds: float) -> tuple[Any, bool]:
        """What it answers, None where it has ended; and whether that is because it took too long."""
        child = self._child = self._child or self._started()
        ending = Timer(seconds, child.process.kill)
        ending.start()
        try:
            _put(question, child.questions)
            return pickle.load(child.answers), False  # noqa: S301 -- our own code wrote it
        except (EOFError, OSError, pickle.UnpicklingError):
            return None, ending.finished.is_set()
        except BaseException:
            # Nobody waits for its answer any more, and the next one is another's.
            self._ended()
            raise
        finally:
            ending.cancel()

    def _started(self) -> _Child:
        places = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
        try:
            process = subprocess.Popen(  # noqa: S603 -- ourselves
                [sys.executable, "-m", __name__, str(self._most_memory_mb), str(self._idle)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**FRUGAL, **os.environ, **QUIET, "PYTHONPATH": places},
            )
        except OSError as error:
            raise LaterError(f"The process that reads Parquet files did not start: {error.strerror}.") from error
        child = _Child(process, cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout))
        if child.answers.read(len(READY)) != READY:
            process.kill()
            raise LaterError("The process that reads Parquet files did not start.")
        return child

    def _ended(self) -> int:
        """Its exit code; it is one that has ended, or has nothing more to say."""
        child, self._child = self._child, None
        if child is None:
            return IDLE
        child.process.kill()
        with suppress(OSError), child.questions, child.answers:
            pass
        return child.process.wait()


def seconds_for(size: int) -> float:
    """How long a file of so many bytes may take, within what any may."""
    return SECONDS_FOR_ANY + SECONDS_FOR_MB * size / 1_000_000


def _put(message: object, to: IO[bytes]) -> None:
    pickle.dump(message, to)
    to.flush()


# --- inside --------------------------------------------------------------------------------------------------------


def main(most_memory_mb: int, idle: float) -> None:
    """Reads one file after the other, until nobody asks any more. What breaks, ends it."""
    # It ends with the one that asks, which may have files to end first: what is sent to both is not for it.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    # What a library prints is no answer.
    os.dup2(2, 1)
    _limit(most_memory_mb)
    questions: SimpleQueue[tuple[Path, CostMetric, date]] = SimpleQueue()
    Thread(target=_hear, args=(questions,), daemon=True).start()
    from shared.adapters.exports.parquet_files import read_parquet

    answers.write(READY)
    answers.flush()
    while True:
        try:
            path, metric, today = questions.get(timeout=idle)
        except Empty:
            os._exit(IDLE)
        try:
            answer: object = read_parquet(path, metric, today)
        except MemoryError:
            os._exit(1)
        except Exception as error:  # noqa: BLE001 -- raised where it was asked
            answer = error
        _put(answer, answers)
        answer = None  # its memory is the other's to use


def _limit(most_memory_mb: int) -> None:
    """Of data, not of all that is mapped: threads and files are mapped far larger than they are."""
    with suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (most_memory_mb * 2**20,) * 2)


def _hear(questions: SimpleQueue[tuple[Path, CostMetric, date]]) -> None:
    """Ends the process with the one that asks, whatever it is doing."""
    with suppress(EOFError):
        while True:
            questions.put(pickle.load(sys.stdin.buffer))  # noqa: S301 -- our own code wrote it
    os._exit(IDLE)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
