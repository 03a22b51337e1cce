"""The one document of the cluster: configuration and status."""
