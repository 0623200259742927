"""The metrics: what each is called, what it counts, and by which labels.

Names and units follow the conventions of Prometheus. Every label's values are bounded: by the
configuration (upstreams, listeners), by this table (fates, verdicts, states), or by `MAX_LANES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MAX_LANES = 100
"""Lanes that have series of their own, the first by name. The rest are summed as `OTHERS`."""

OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes:
        name: without the `_total` that a counter's samples end in.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The name as queries have it."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


INFO = Family(
    "waystation_info", "gauge", "Always 1; which daemon this is.", ("version", "device_id", "epoch")
)
HEALTHY = Family(
    "waystation_healthy", "gauge", "1 while commits succeed and no lane is kept from delivering."
)
READY = Family(
    "waystation_ready", "gauge", "1 while commits succeed and lanes make progress, as /readyz says."
)

CONNECTIONS = Family(
    "waystation_listener_connections", "gauge", "Connections that are open now.", ("listener",)
)
ACCEPTED_CONNECTIONS = Family(
    "waystation_listener_accepted_connections",
    "counter",
    "Connections that were accepted.",
    ("listener",),
)
LISTENER_REQUESTS = Family(
    "waystation_listener_requests",
    "counter",
    "Requests of any kind, by the status of their answer.",
    ("listener", "status"),
)
INGEST_REQUESTS = Family(
    "waystation_ingest_requests",
    "counter",
    "Requests that brought events, by the status of their answer.",
    ("listener", "dialect", "status"),
)
INGEST_EVENTS = Family(
    "waystation_ingest_events",
    "counter",
    "Events in those requests; of a request that was refused before they were counted, none.",
    ("listener", "dialect", "status"),
)
USER_REQUESTS = Family(
    "waystation_user_requests",
    "counter",
    "Requests that brought events, by the user id that the kernel names; `tcp` for all that came so.",
    ("user",),
)
USER_EVENTS = Family(
    "waystation_user_events", "counter", "Events that were accepted, by user as above.", ("user",)
)
USER_BYTES = Family(
    "waystation_user_received_bytes",
    "counter",
    "Bytes of bodies that were read, by user as above.",
    ("user",),
)
INGEST_BYTES = Family(
    "waystation_ingest_received_bytes",
    "counter",
    "Bytes of the bodies of those requests, as they were received.",
    ("listener", "dialect", "status"),
)
PRODUCTS = Family(
    "waystation_products", "gauge", "Product keys that have brought events; see `limits.max_products`."
)
PRODUCTS_REFUSED = Family(
    "waystation_products_refused_requests", "counter", "Requests under new keys that were beyond that bound."
)

COMMITS = Family("waystation_spool_commits", "counter", "Groups that were committed and synced.")
FAILED_COMMITS = Family("waystation_spool_failed_commits", "counter", "Groups that the disk refused.")
COMMIT_SECONDS = Family(
    "waystation_spool_commit_seconds", "histogram", "What a group's transaction took, its sync included."
)
SYNC_SECONDS = Family(
    "waystation_spool_sync_seconds",
    "histogram",
    "What the COMMIT at its end took: writing the log and syncing it, and now and then a checkpoint.",
)
GROUP_REQUESTS = Family(
    "waystation_spool_group_requests", "histogram", "Requests that shared a commit, where there was one."
)
USED_BYTES = Family("waystation_spool_used_bytes", "gauge", "Bytes that the spool takes, its log included.")
QUOTA_BYTES = Family("waystation_spool_quota_bytes", "gauge", "Bytes that it may take: spool.max_bytes.")
SPOOL_HEALTHY = Family("waystation_spool_healthy", "gauge", "1 while commits succeed.")
DISK_FULL = Family(
    "waystation_spool_disk_full", "gauge", "1 while nothing is accepted since the disk is full."
)
SHORTAGES = Family("waystation_spool_disk_shortages", "counter", "How often the disk was found full.")
REFUSED = Family(
    "waystation_spool_refused_requests",
    "counter",
    "Requests for which a full spool had no room, by the lane that is in the way; empty for none.",
    ("lane",),
)
ENDED = Family(
    "waystation_spool_ended_events",
    "counter",
    "Events that ended undelivered since the start: expired or evicted.",
    ("lane", "fate"),
)
SALVAGES = Family(
    "waystation_salvages", "gauge", "Salvages of a damaged spool that are remembered, 20 at most."
)
SALVAGED_REQUESTS = Family("waystation_salvaged_requests", "gauge", "Requests that those salvages saved.")
SALVAGED_EVENTS = Family(
    "waystation_salvaged_events",
    "gauge",
    "Events in those salvages: saved, or known to be lost, the latter once a lane.",
    ("fate",),
)
PENDING_EVENTS = Family(
    "waystation_spool_pending_events", "gauge", "Events that wait, once for each lane that has them."
)
OLDEST_AGE = Family(
    "waystation_spool_oldest_event_age_seconds", "gauge", "Age of the oldest event that waits; 0 for none."
)
WRITTEN_BYTES = Family(
    "waystation_storage_written_bytes",
    "counter",
    "Bytes that the process had written to storage, as the kernel counts them; Linux only.",
)
SYNCS = Family(
    "waystation_storage_syncs",
    "counter",
    "Syncs of the spool's log, one a commit; a checkpoint, each 4 MiB, adds two.",
)

LANES = Family("waystation_lanes", "gauge", "Lanes in each state.", ("upstream", "state"))
LANE_STATE = Family(
    "waystation_lane_state",
    "gauge",
    "1 for the state that a lane is in, 0 for the others.",
    ("lane", "state"),
)
LANE_REASON = Family(
    "waystation_lane_reason",
    "gauge",
    "1 for what keeps a lane from delivering, as its status says it, without the upstream's own words.",
    ("lane", "reason"),
)
LANE_LEARNED_LIMIT = Family(
    "waystation_lane_learned_limit_bytes",
    "gauge",
    "Bytes of a batch, before compression, that an upstream was found to take; only where it refused more.",
    ("lane",),
)
LANE_PENDING_EVENTS = Family("waystation_lane_pending_events", "gauge", "Events that wait.", ("lane",))
LANE_PENDING_BYTES = Family(
    "waystation_lane_pending_bytes", "gauge", "Bytes in the spool that a lane still needs.", ("lane",)
)
LANE_OLDEST_AGE = Family(
    "waystation_lane_oldest_event_age_seconds",
    "gauge",
    "Age of a lane's oldest event that waits; 0 for none.",
    ("lane",),
)
LEDGER = Family(
    "waystation_ledger_events",
    "gauge",
    "The ledger, all days together; accepted is the sum of the six that follow it.",
    ("lane", "fate"),
)

ATTEMPTS = Family(
    "waystation_attempts", "counter", "Attempts to send a batch, by verdict.", ("upstream", "verdict")
)
ATTEMPT_SECONDS = Family("waystation_attempt_seconds", "histogram", "What an attempt took.", ("upstream",))
BATCH_EVENTS = Family(
    "waystation_batch_events", "histogram", "Events of a batch, once an attempt.", ("upstream",)
)
BODY_BYTES = Family(
    "waystation_batch_body_bytes",
    "histogram",
    "Bytes of a batch before compression, once an attempt that sent any.",
    ("upstream",),
)
WIRE_BYTES = Family(
    "waystation_batch_wire_bytes",
    "histogram",
    "Bytes that went out of a batch, compressed, once an attempt that sent any.",
    ("upstream",),
)
DELAY_SECONDS = Family(
    "waystation_delivery_delay_seconds",
    "histogram",
    "From an event's acceptance to its delivery, once an event.",
    ("upstream",),
)
UPSTREAM_WAITING = Family(
    "waystation_upstream_waiting",
    "gauge",
    "1 while all lanes of an upstream wait for a probe.",
    ("upstream",),
)
DEAD_LETTERS = Family(
    "waystation_dead_letters",
    "gauge",
    "Dead letters that are kept, by reason: refused, too_large, server_error or damaged.",
    ("upstream", "reason"),
)
DISCARDED_LETTERS = Family(
    "waystation_dead_letters_discarded",
    "counter",
    "Dead letters that the bounds in [dead_letters] ended.",
    ("lane",),
)

LOG_LINES = Family("waystation_log_lines", "counter", "Lines in the log, by level.", ("level",))
RELOADS = Family(
    "waystation_config_reloads", "counter", "Reloads of the configuration, by result.", ("result",)
)
LAST_RELOAD_OK = Family(
    "waystation_config_last_reload_successful", "gauge", "0 when the last reload was refused."
)
LOADED_AT = Family(
    "waystation_config_loaded_timestamp_seconds", "gauge", "When the configuration in force was loaded."
)

FAMILIES = tuple(value for value in list(globals().values()) if isinstance(value, Family))
"""All of them, in this order."""
