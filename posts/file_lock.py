"""The lock of a file that one process at a time writes: taken, held by another, or not to be had at all."""

from filelock import FileLock, Timeout


def take(lock: FileLock) -> bool:
    """Take a lock without waiting.

    Args:
        lock: the lock, with `timeout=0`.

    Returns:
        Whether it is taken; False if another process holds it.

    Raises:
        OSError: the lock's file cannot be made, in a folder that nothing is written into.
    """
    try:
        lock.acquire()
        return True
    except Timeout:
        # filelock says the same of a file that it cannot make; this raises why.
        with open(lock.lock_file, "ab"):
            return False


__all__ = ["take"]
