"""Resources of class systemd: units that are started and stopped by jobs over D-Bus."""
