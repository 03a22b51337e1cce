"""ha-sentinel: holds the watchdog, and lets the node die when it has lost its right to run resources."""
