"""Alerts: programs that are run when something happens (Pacemaker Explained, "Alerts")."""
