"""ha-messaging: who is here. Heartbeats, failure detection, membership views, quorum."""
