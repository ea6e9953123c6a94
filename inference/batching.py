"""Batches across requests: what arrives within some milliseconds goes through the model in one call."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from transformers.utils import logging

logger = logging.get_logger(__name__)


class QueueFullError(Exception):
    """Raised where so much waits already that there is no room for more."""


class _Waiting(NamedTuple):
    item: Any
    future: Future
    arrived: float


class Batcher:
    """Hands waiting items to a function, some at once, in one thread of its own.

    The first item of a batch waits for others for `max_wait` at most; a full batch waits for nobody.

    Args:
        work: takes a list of items and returns a list of results.
        batch_size: most items of a call.
        max_wait: longest wait for further items, in seconds.
        max_queue: most items that wait.
        note_batch: is told the number of items and the seconds of each call.
    """

    def __init__(
        self,
        work: Callable[[list], Sequence],
        batch_size: int,
        max_wait: float,
        max_queue: int,
        note_batch: Callable[[int, float], None] = lambda count, seconds: None,
    ):
        self.work, self.batch_size, self.max_wait, self.max_queue = work, batch_size, max_wait, max_queue
        self.note_batch = note_batch
        self.waiting, self.changed, self.is_closed = deque(), threading.Condition(), False
        self.thread = threading.Thread(target=self._run, name="model", daemon=True)
        self.thread.start()

    def __len__(self) -> int:
        """Return the number of items that wait."""
        return len(self.waiting)

    @property
    def is_working(self) -> bool:
        """Tell whether items are taken."""
        return self.thread.is_alive() and not self.is_closed

    def check_room(self, count: int = 1) -> None:
        """Raise `QueueFullError` unless so many items find room now."""
        if len(self.waiting) + count > self.max_queue or not self.is_working:
            raise QueueFullError(f"{len(self.waiting)} posts wait")

    def submit(self, items: Sequence) -> list[Future]:
        """Put items into the queue, all or none.

        Returns:
            For each its result, or what was raised for it, later.

        Raises:
            QueueFullError: there is no room for all of them, or the batcher is closed.
        """
        with self.changed:
            self.check_room(len(items))
            now = time.monotonic()
            waiting = [_Waiting(item, Future(), now) for item in items]
            self.waiting.extend(waiting)
            self.changed.notify()
        return [each.future for each in waiting]

    def close(self) -> None:
        """Take nothing more, finish what waits, and end the thread."""
        with self.changed:
            self.is_closed = True
            self.changed.notify()
        self.thread.join()

    def _take(self) -> list[_Waiting]:
        """Wait for a batch; nothing is in it once the batcher is closed and all is done."""
        with self.changed:
            while not self.waiting and not self.is_closed:
                self.changed.wait()
            while self.waiting and len(self.waiting) < self.batch_size and not self.is_closed:
                left = self.waiting[0].arrived + self.max_wait - time.monotonic()
                if left <= 0 or not self.changed.wait(left):
                    break
            return [self.waiting.popleft() for _ in range(min(self.batch_size, len(self.waiting)))]

    def _run(self) -> None:
        while batch := self._take():
            # Nobody waits for an answer any more: its client is gone.
            batch = [each for each in batch if each.future.set_running_or_notify_cancel()]
            if batch:
                self._answer(batch)

    def _answer(self, batch: list[_Waiting]) -> None:
        start = time.monotonic()
        try:
            results = self.work([each.item for each in batch])
        except Exception as error:  # whatever it is, the thread goes on, and those who wait are told
            if len(batch) > 1:  # perhaps one of them alone is at fault
                for each in batch:
                    self._answer([each])
            else:
                logger.error(f"A post was not answered: {error!r}", exc_info=True)
                batch[0].future.set_exception(error)
            return
        self.note_batch(len(batch), time.monotonic() - start)
        for each, result in zip(batch, results):
            each.future.set_result(result)


__all__ = ["Batcher", "QueueFullError"]
