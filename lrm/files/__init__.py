"""cluster.toml, authkeys and crl.pem on this node: judged, written, followed."""
