"""ha-crm: what should run where. The CIB, the elected DC, the scheduler and the transition engine."""

import hacluster  # noqa: F401 - before structlog and gRPC: see there
