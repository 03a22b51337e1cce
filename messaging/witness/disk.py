"""A node's way to the witness on a shared disk: a thread reads and writes, because a disk may hang."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from agents.fencing.slots import Disk, Record, SlotError
from messaging import log_events
from messaging.membership.events import AskWitness, ReleaseWitness, WitnessAnswered
from messaging.packet import Keyring
from messaging.witness.ballot import DiskWitness, Effect, Exchange, Exchanged, ExchangeFailed, asked_by
from messaging.witness.blocks import Block, decode, encode
from messaging.witness.core import Answer, Asked, Released, SyncChanged

log = structlog.get_logger()

RELEASE_WAIT_S: Final = 0.5


class QdiskClient:
    """Asks the core, and lets it read and write. A disk that hangs holds nobody up but the questions."""

    def __init__(
        self,
        device: str,
        core: DiskWitness,
        *,
        node: int,
        names: Mapping[int, str],
        answered: Callable[[WitnessAnswered], None],
        now_ns: Callable[[], int],
    ) -> None:
        """`names`: of all nodes that have a slot, by id."""
        self._device, self._core, self._node, self._names = device, core, node, dict(names)
        self._answered, self._now_ns = answered, now_ns
        self._loop: asyncio.AbstractEventLoop | None = None
        self._orders: queue.SimpleQueue[Exchange | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="qdisk", daemon=True)
        self._complained = ""

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen to orders."""
        self._loop = loop
        self._thread.start()

    def close(self) -> None:
        """No more of it; a good-bye that is being written has a moment."""
        self._loop = None
        self._orders.put(None)
        self._thread.join(RELEASE_WAIT_S)

    def use(self, keyring: Keyring) -> None:
        """Who may write to the disk is the storage's business, not the keys'."""

    def ask(self, question: AskWitness | ReleaseWitness | SyncChanged) -> None:
        """A question while the disk is busy is not asked."""
        self._handle(question if isinstance(question, SyncChanged) else asked_by(self._node, question))

    def _handle(self, event: Asked | Released | SyncChanged | Exchanged | ExchangeFailed) -> None:
        if isinstance(event, ExchangeFailed) and event.reason != self._complained:
            log.warning(log_events.WITNESS, address=self._device, reason=event.reason)
        if isinstance(event, Exchanged | ExchangeFailed):
            self._complained = event.reason if isinstance(event, ExchangeFailed) else ""
        for effect in self._core.handle(event, self._now_ns()):
            self._apply(effect)

    def _apply(self, effect: Effect) -> None:
        if isinstance(effect, Exchange):
            self._orders.put(effect)
            return
        assert isinstance(effect, Answer)
        self._answered(
            WitnessAnswered(
                nonce=effect.nonce,
                view=effect.view,
                granted=effect.granted,
                lease_ms=effect.lease_ms,
                reason=effect.reason,
                runs=effect.runs,
            )
        )

    # The thread.

    def _work(self) -> None:
        disk: Disk | None = None
        numbers: dict[int, int] = {}
        while (order := self._orders.get()) is not None:
            result: Exchanged | ExchangeFailed
            try:
                if disk is None:
                    disk = Disk(self._device)
                    slots = disk.slots()
                    numbers = {node: slots[name] for node, name in self._names.items() if name in slots}
                    missing = [name for name in self._names.values() if name not in slots]
                    if missing:
                        raise SlotError(f"no slot for {', '.join(missing)}: agents.fencing.slots init")
                result = exchange(disk, numbers, self._node, order.write)
            except (OSError, SlotError) as error:
                if disk is not None:
                    disk.close()
                    disk = None
                result = ExchangeFailed(reason=f"the shared disk: {error}")
            loop = self._loop
            if loop is not None and not loop.is_closed():
                loop.call_soon_threadsafe(self._handle, result)
        if disk is not None:
            disk.close()


def exchange(disk: Disk, numbers: Mapping[int, int], node: int, write: Block | None) -> Exchanged:
    """Our record, whole, then everybody's. Raises OSError, SlotError."""
    if write is not None:
        disk.write_record(numbers[node], Record(write.serial, write.boot, encode(write)))
    blocks: dict[int, Block | None] = {}
    for other, number in numbers.items():
        record = disk.record(number)
        blocks[other] = decode(*record) if record is not None else None
    return Exchanged(blocks=blocks)
