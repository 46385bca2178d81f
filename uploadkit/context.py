"""What every service function is handed: the configuration and the object store. Holds things; does nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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


@dataclass
class Context:
    """The appliance as the services see it.

    The functions come from the jobs: `wake_sweeper`, `wake_removals` and `wake_forgetting` make housekeeping look at once rather than at
    its next turn, `wake_webhooks` has deliveries that are due sent, `scheduler_running` says whether all of it runs, `job_reports` what
    the jobs have done. `stopping` is set when long work should end between steps, `request_counts` what projects are asked,
    `locks` what one request at a time may work on.
    """

    config: Config
    store: ObjectStore
    wake_sweeper: Callable[[], None] = lambda: None
    wake_removals: Callable[[], None] = lambda: None
    wake_forgetting: Callable[[], None] = lambda: None
    wake_webhooks: Callable[[], None] = lambda: None
    scheduler_running: Callable[[], bool] = lambda: False
    job_reports: Callable[[], Sequence[JobReport]] = lambda: ()
    stopping: threading.Event = field(default_factory=threading.Event)
    locks: Locks = field(default_factory=MemoryLocks, repr=False)
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
