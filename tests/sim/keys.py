"""Keys are changed while the cluster works: three reloads on each node, at its own moment (3.2).

The real rules say when a node may take a file; whoever is refused is asked again. Nobody is lost by it, and
at the end only the new key is left.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from messaging import rotation
from messaging.membership.events import KeysChanged
from messaging.packet import Keyring, WorkingKey
from tests.sim.checkers import NobodyLeaves
from tests.sim.classes import Profile, ViewsRun, register
from tests.sim.engine import MS, SECOND, START_NS, InvariantBroken
from tests.sim.membership import KEYRING, MessagingProcess

NEW = WorkingKey(id=2, method="aes256gcm", key=b"n" * 32)
BOTH = {**KEYRING.keys, 2: NEW}
STEPS = (Keyring(keys=BOTH, signing=1), Keyring(keys=BOTH, signing=2), Keyring(keys={2: NEW}, signing=2))
"""Add the new key, sign with it, remove the old one."""
ASK_AGAIN_NS = SECOND


class KeysRun(ViewsRun):
    """Loss on two links all the time. Some nodes are early, others late by more than deadtime."""

    def play(self) -> None:
        nobody = NobodyLeaves(self.cluster)
        self.world.checkers.append(nobody)
        for process in self.cluster.processes.values():
            process.wire = True
        self.cluster.network.noise(
            drop=self.rng.uniform(0, 0.15), duplicate=0.1, delay_ns=(MS // 10, self.rng.randint(1, 50) * MS)
        )
        self.cluster.boot_all()
        self.world.run_until(START_NS + 40 * SECOND)
        assert self.cluster.one_view(), "no view under noise within initdead"
        nobody.armed = True
        for process in self.cluster.processes.values():
            # An operator goes from step to step on each node without a look at the others.
            for number, keyring in enumerate(STEPS):
                at_ns = (5 * number + self.rng.randint(0, 9)) * SECOND
                self.world.after(
                    at_ns, f"keys {process.name}", partial(self._reload, process, number, keyring)
                )
        self.world.run_until(self.world.now_ns + 60 * SECOND)
        for process in self.cluster.processes.values():
            if set(process.keyring.keys) != {2}:
                raise InvariantBroken("I16", f"{process.name} still has the old key")
        self.settle()

    def _reload(self, process: MessagingProcess, number: int, keyring: Keyring) -> None:
        """Again until it is taken, and not before the step before it."""
        assert process.core is not None
        before = STEPS[number - 1] if number else KEYRING
        if process.keyring != before or rotation.objections(keyring, process.core.detector.peers.values()):
            self.world.count("reload_refused")
            again: Callable[[], None] = partial(self._reload, process, number, keyring)
            self.world.after(ASK_AGAIN_NS, f"keys {process.name}", again)
            return
        self.world.count("reloaded")
        process.use(keyring)
        process.deliver(KeysChanged(keyring.id_bits))


register("keys")(lambda seed: KeysRun(seed, Profile(nodes=4)))
