"""ha-messaging on corosync: its groups give views, votequorum gives quorum (cluster-protocol.md, 17)."""
