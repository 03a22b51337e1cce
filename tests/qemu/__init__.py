"""The tutorial on two machines: Debian's kernel and systemd in QEMU, NFS, a watchdog, power fencing.

`make qemu-tutorial`, as root. Slow (processors are emulated), and no part of the tests: it plays the story
once, says what it sees, and ends with 1 when something did not happen in time.
"""
