"""What every service function is handed: the configuration and the object store. Holds things; does nothing."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from uploadkit.config import Config
from uploadkit.coordination.locks import Locks, MemoryLocks
from uploadkit.db.disk import DatabaseDisk
from uploadkit.objectstore.bulkhead import StorePlaces
from uploadkit.objectstore.probe import StoreWatch
from uploadkit.objectstore.store import ObjectStore
from uploadkit.objectstore.trust import StoreTrust
from uploadkit.projects.request_counts import RequestCounts


@dataclass
class JobReport:
    """What one periodic job has done since the start: how often it ran, how many things it did, when it last ended and how."""

    name: str
    runs: int = 0
    done: int = 0
    ended_at: int | None = None
    failed: bool = False


class Signals(Protocol):
    """The jobs that run beside the services, as the services see them."""

    def wake_sweeper(self) -> None:
        """Have the sweeper look at once rather than at its next turn."""

    def wake_removals(self) -> None:
        """Have deleted projects removed at once, as far as they can be."""

    def wake_forgetting(self) -> None:
        """Have history that is beyond its bounds forgotten at once."""

    def wake_webhooks(self) -> None:
        """Have deliveries that are due sent."""

    def wake_backup(self) -> None:
        """Have a backup that was asked for made at once."""

    def running(self) -> bool:
        """Say whether all of it runs."""

    def reports(self) -> Sequence[JobReport]:
        """Return what the jobs have done since the start."""


class NoSignals:
    """`Signals` of a process that runs no jobs, such as a command: the appliance, if it runs, finds by itself what there is to do."""

    def wake_sweeper(self) -> None:
        """Do nothing, as for all there is to wake."""

    wake_removals = wake_forgetting = wake_webhooks = wake_backup = wake_sweeper

    def running(self) -> bool:
        """Say that nothing runs."""
        return False

    def reports(self) -> Sequence[JobReport]:
        """Return nothing."""
        return ()


@dataclass
class Context:
    """The appliance as the services see it.

    `signals` leads to the jobs. `stopping` is set when long work should end between steps. `locks` are for what one request at a time may
    work on, `request_counts` is how often projects are asked.
    """

    config: Config
    store: ObjectStore
    signals: Signals = field(default_factory=NoSignals, repr=False)
    locks: Locks = field(default_factory=MemoryLocks, repr=False)
    stopping: threading.Event = field(default_factory=threading.Event)
    request_counts: RequestCounts = field(default_factory=RequestCounts, repr=False)
    store_trust: StoreTrust = field(init=False, repr=False)
    database_disk: DatabaseDisk = field(init=False, repr=False)
    store_watch: StoreWatch = field(init=False, repr=False)
    store_places: StorePlaces = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.store_places = StorePlaces(max(1, self.config.server.threads * 3 // 4))
        self.store_trust = StoreTrust(self.config, self.store)
        self.database_disk = DatabaseDisk(self.config.database_path)
        self.store_watch = StoreWatch(self.store)
