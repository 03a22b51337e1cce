"""`hacli simulate --profile DIR`: how long the scheduler takes for each CIB in a folder."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TextIO

from crm.cib import codec
from crm.scheduler import pipeline
from crm.scheduler.dates import instant_s
from hacluster.errors import HaError, InvalidRequest


def profile(folder: str, repeat: int, at: str, out: TextIO) -> None:
    """Print a line for each *.xml in the folder: CPU seconds of a run, the mean of `repeat`.

    Raises InvalidRequest for a folder that is none, and for a time that is none.
    """
    paths = sorted(Path(folder).glob("*.xml"))
    if not paths:
        raise InvalidRequest(what=f"{folder}: no *.xml there", remedy="name a folder with CIBs")
    given_s = instant_s(at) if at else int(time.time())
    if given_s is None:
        raise InvalidRequest(what=f"{at!r} is no time", remedy="write it as 2026-01-31T12:30:00Z")
    out.write("Timings:\n")
    for path in paths:
        try:
            cib = codec.parse(path.read_bytes(), source=str(path))
        except HaError as error:
            out.write(f"  * Testing {path} ... not read: {error}\n")
            continue
        now_s = given_s if at else pipeline.effective_now_s(cib, given_s)
        began = os.times().user
        for _ in range(repeat):
            pipeline.schedule(cib, now_s, sanitized=True)
        out.write(f"  * Testing {path} ... {(os.times().user - began) / repeat:.3f} secs\n")
