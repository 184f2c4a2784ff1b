"""Who asks which question: identical questions of several workers are paid for once."""

from __future__ import annotations

from collections import deque

__all__ = ["Claims"]


class Claims:
    """A key is claimed by one worker at a time; others wait for it, in order."""

    def __init__(self) -> None:
        self._holder: dict[bytes, str] = {}
        self._waiting: dict[bytes, deque[str]] = {}

    def take(self, key: bytes, worker: str) -> bool:
        """Claim ``key``. False: another has it, and ``worker`` waits."""
        holder = self._holder.setdefault(key, worker)
        if holder == worker:
            return True
        waiting = self._waiting.setdefault(key, deque())
        if worker not in waiting:
            waiting.append(worker)
        return False

    def restore(self, key: bytes, worker: str) -> None:
        """A claim from before; another's is left alone."""
        self._holder.setdefault(key, worker)

    def stored(self, key: bytes) -> tuple[str, ...]:
        """Those who waited for ``key`` and have its answer now; nobody claims it any more."""
        self._holder.pop(key, None)
        return tuple(self._waiting.pop(key, ()))

    def end(self, key: bytes, worker: str) -> str | None:
        """``worker`` gives its claim up, or does not wait for one any more; who has it now."""
        if self._holder.get(key) != worker:
            self._forget(key, worker)
            return None
        del self._holder[key]
        waiting = self._waiting.get(key)
        if not waiting:
            return None
        self._holder[key] = heir = waiting.popleft()
        if not waiting:
            del self._waiting[key]
        return heir

    def leave(self, worker: str) -> list[tuple[bytes, str]]:
        """``worker`` is gone: which keys others have now."""
        for key in list(self._waiting):
            self._forget(key, worker)
        held = [key for key, holder in self._holder.items() if holder == worker]
        return [(key, heir) for key in held if (heir := self.end(key, worker)) is not None]

    def _forget(self, key: bytes, worker: str) -> None:
        waiting = self._waiting.get(key, ())
        if worker in waiting:
            self._waiting[key].remove(worker)
            if not waiting:
                del self._waiting[key]
