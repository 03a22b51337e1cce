"""A stranger on the heartbeat network: sends what nobody should believe. Run by path; ends with its input."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time


def main() -> int:
    own, port, *targets = sys.argv[1:]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if sys.stdin.readline() != "go\n":
        return 1
    for words in (("addr", "add", own, "brd", "+", "dev", "eth0"), ("link", "set", "eth0", "up")):
        subprocess.run(["ip", *words], check=True, stdin=subprocess.DEVNULL)
    rng = random.Random(1)
    os.set_blocking(0, False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        while True:
            for target in targets:
                for _ in range(10):
                    length = rng.choice((0, 1, 67, 84, 200, 1_400))
                    head = rng.choice((b"", b"HA", b"HA\x01\x01\x01\x00"))
                    packet = (head + rng.randbytes(length))[:length]
                    try:
                        sender.sendto(packet, (target, int(port)))
                    except OSError:
                        time.sleep(0.05)
            try:
                if not os.read(0, 1):
                    return 0
            except BlockingIOError:
                time.sleep(0.005)


if __name__ == "__main__":
    sys.exit(main())
