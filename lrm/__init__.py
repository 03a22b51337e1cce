"""ha-lrm: runs resource agents on this node when a DC tells it to."""
