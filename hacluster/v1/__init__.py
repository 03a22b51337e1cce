"""Generated from proto/hacluster/v1; never edited."""
