"""ha-messaging: who is here. Heartbeats, failure detection, membership views, quorum."""

import hacluster  # noqa: F401 - before structlog and gRPC: see there
