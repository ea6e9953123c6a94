"""Batches across requests, with a function in place of a model."""

import threading
import time

import pytest

from mmre.inference.batching import Batcher, QueueFullError


class Work:
    """Doubles numbers, one batch at a time once it is let; a string raises."""

    def __init__(self):
        self.batches, self.may_go, self.has_begun = [], threading.Event(), threading.Event()
        self.may_go.set()

    def __call__(self, items: list) -> list:
        self.has_begun.set()
        assert self.may_go.wait(30)
        self.batches.append(list(items))
        return [2 * item for item in items if item != "bad" or _fail()]


def _fail():
    raise RuntimeError("a bad item")


@pytest.fixture
def make():
    made = []

    def make(work: Work, **changes) -> Batcher:
        made.append(Batcher(work, **{"batch_size": 4, "max_wait": 0.0, "max_queue": 8} | changes))
        return made[-1]

    yield make
    for batcher in made:
        batcher.work.may_go.set()
        batcher.close()


def results(futures: list) -> list:
    return [future.result(timeout=30) for future in futures]


def test_what_waits_together_goes_through_the_function_together_and_in_order(make):
    work, noted = Work(), []
    work.may_go.clear()
    batcher = make(work, note_batch=lambda count, seconds: noted.append(count))
    first = batcher.submit([1])
    assert work.has_begun.wait(30)
    others = [batcher.submit([number]) for number in (2, 3)] + [batcher.submit([4, 5, 6])]
    assert len(batcher) == 5
    work.may_go.set()
    assert results(first) == [2] and [results(each) for each in others] == [[4], [6], [8, 10, 12]]
    assert work.batches == [[1], [2, 3, 4, 5], [6]] and noted == [1, 4, 1]


def test_the_first_waits_for_others_but_a_full_batch_for_nobody(make):
    work = Work()
    batcher = make(work, batch_size=2, max_wait=20.0)
    start = time.monotonic()
    first = batcher.submit([1])
    second = batcher.submit([2])
    assert results(first + second) == [2, 4] and work.batches == [[1, 2]]
    assert time.monotonic() - start < 15  # it has not waited to the end
    alone = make(Work(), max_wait=0.05).submit([7])
    assert results(alone) == [14]


def test_all_items_of_a_request_find_room_or_none(make):
    work = Work()
    work.may_go.clear()
    batcher = make(work, max_queue=3)
    taken = batcher.submit([1])
    assert work.has_begun.wait(30)  # it waits no more
    taken += batcher.submit([2, 3])
    with pytest.raises(QueueFullError, match="2 posts wait"):
        batcher.submit([4, 5])
    taken += batcher.submit([6])
    with pytest.raises(QueueFullError):
        batcher.check_room()
    work.may_go.set()
    assert results(taken) == [2, 4, 6, 12]


def test_only_the_item_at_fault_is_told_so_and_the_thread_goes_on(make):
    work = Work()
    work.may_go.clear()
    batcher = make(work)
    batcher.submit([0])
    assert work.has_begun.wait(30)
    good, bad, last = (batcher.submit([item])[0] for item in (1, "bad", 3))
    work.may_go.set()
    assert (good.result(30), last.result(30)) == (2, 6)
    with pytest.raises(RuntimeError, match="a bad item"):
        bad.result(30)
    assert results(batcher.submit([5])) == [10] and batcher.is_working


def test_who_has_given_up_is_passed_over(make):
    work = Work()
    work.may_go.clear()
    batcher = make(work)
    first = batcher.submit([1])
    assert work.has_begun.wait(30)
    gone, there = batcher.submit([2, 3])
    assert gone.cancel()
    work.may_go.set()
    assert results([*first, there]) == [2, 6] and work.batches == [[1], [3]]


def test_closing_finishes_what_waits_and_takes_nothing_more(make):
    work = Work()
    work.may_go.clear()
    batcher = make(work, batch_size=1)
    waiting = batcher.submit([1, 2, 3])
    closing = threading.Thread(target=batcher.close)
    closing.start()
    while not batcher.is_closed:
        time.sleep(0.01)
    with pytest.raises(QueueFullError):
        batcher.submit([4])
    work.may_go.set()
    closing.join(30)
    assert results(waiting) == [2, 4, 6] and not batcher.is_working
