"""The rare states that a class is meant to reach. A run that never reaches them proves less than it seems to.

Names are those of `World.seen`: counters, and the first words of notes. A class has the expectations of its
family and its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

VIEWS: Final = (
    "view_proposed",
    "view_refused",
    "view_abandoned",
    "view_installed",
    "node_late",
    "node_silent",
    "node_back",
    "node_restarted",
    "two_views_at_once",
)
CHAOS: Final = (
    *VIEWS,
    "eliminated",
    "paused",
    "incarnation_old",
    "crash_between_effects",
    *(
        f"fault {kind}"
        for kind in ("partition", "cut", "one-way", "dark", "kill", "power", "pause", "noise", "replay")
    ),
)
CIB: Final = (
    "BecameDc",
    "StoppedBeingDc",
    "FollowsDc",
    "answer_ok",
    "answer_failed",
    "answer_unknown",
    "unknown_resolved_ok",
    "unknown_resolved_failed",
    "append_refused",
    "dc_crashed",
    "read_proven",
    "conditional_write",
)
CIB_VOTES: Final = (
    "crm.vote_refused the candidate's log is older",
    "crm.vote_refused there is a DC",
    "crm.vote_refused another view",
)
CIB_DISK: Final = ("crash_in_sync", "unsynced_lost", "unsynced_torn", "unsynced_kept")
FENCES: Final = (
    *("agent_fails", "agent_slow", "agent_hangs", "agent_late", "agent_dies", "late_shot", "fenced"),
    *("second_level", "feed_off", "fence_round_failed", "shot_cancelled"),
)
TURNS: Final = (
    *("turn_to_next", "turn_is_over", "changes_committed", "dc_crashed"),
    *("voter_changes_ok", "voter_changes_failed", "voter_changes_unknown"),
)
WHOLE: Final = (
    *("BecameDc", "agent_starts", "start_failed", "agent_hung", "resource_died", "moved"),
    *("fenced", "fence_failed", "shot_cancelled", "stale_term_refused", "operation_refused", "not_run"),
    *("lrm_killed_under_agents", "reattached", "crash_between_effects"),
)
LEFT: Final = ("left_cleanly", "said_to_have_left", "fault alone", "fault join", "two_views_at_once")
WITNESS: Final = ("witness_granted", "two_views_at_once", "fault partition")

NET: Final = tuple(
    f"fault {kind}" for kind in ("swizzle", "flap", "mtu-hole", "flips", "forge", "one-way", "replay")
)
GATE: Final = (
    *("bit_flipped", "mtu_hole"),
    *(
        f"dropped {reason}"
        for reason in (
            "bad_length",
            "bad_magic",
            "wrong_version",
            "wrong_cluster",
            "not_for_us",
            "unknown_key",
            "bad_tag",
        )
    ),
)

MERGES: Final = (
    "orphans_saved",
    "proposal_ok",
    "proposal_failed",
    "proposal_unknown",
    "merged",
    "left: changed",
)

EXPECTED: Final[Mapping[str, tuple[str, ...]]] = {
    "wire3": (*VIEWS, *NET, *GATE, "data_lost", "data_delivered"),
    "wire5": (*VIEWS, *NET, *GATE, "data_lost", "data_delivered", "fault kill", "fault power"),
    "net5": (*VIEWS, "eliminated", "fault swizzle", "fault flap"),
    "disks": (
        *VIEWS,
        *(
            "fault slow-disk",
            "fault full-disk",
            "disk_failed",
            "refused_for_its_disk",
            "start_failed_by_disk",
        ),
        *("unsynced_lost", "unsynced_kept", "crash_between_effects"),
    ),
    "keys": ("reloaded", "reload_refused"),
    "lying": ("fault lying-disk", "synced_lost", "synced_kept", "incarnation_old", "incarnation_raised"),
    "wall": (*VIEWS, "fault wall", "incarnation_old", "incarnation_raised"),
    "clock-bound": CHAOS,
    "cib3-full-disk": (*CIB, "fault full-disk", "daemon_ended_by_its_disk"),
    "cib3-full-disk-compact": (*CIB, "fault full-disk", "daemon_ended_by_its_disk", "snapshot_sent"),
    "cib3-wall": (*CIB, "fault wall", "orphans_saved", "answered_orphans"),
    "cib3-lying": ("fault lying-disk", "synced_lost", "synced_kept", "Corrupt", "crm.vote_restored"),
    "full3-net": (
        *(*CIB, "two_views_at_once", "call_in_mtu_hole", "fault swizzle", "fault flap", "fault slow-disk"),
        *("crm.dc_silent", "BecameDc", "append_refused"),
    ),
    "full3-clock": (*CIB, *VIEWS, "crm.dc_silent"),
    "chaos3": CHAOS,
    "chaos5": CHAOS,
    "chaos9": CHAOS,
    "clock": CHAOS,
    "auto3": (*CHAOS, "deadtime"),
    "auto5": (*CHAOS, "deadtime"),
    "quiet3": ("view_installed", "node_silent", "node_back", "fault partition"),
    "diskless": VIEWS,
    "power": ("view_proposed", "node_silent", "unsynced_lost", "unsynced_kept"),
    "pause": ("paused", "node_late", "node_back"),
    "stand-still": ("node_late", "fault stand-still"),
    "split2": ("node_silent", "view_installed", "two_views_at_once"),
    "qnet2": WITNESS,
    "qdisk2": (*WITNESS, "disk_out_of_reach", "record_torn"),
    "qdisk4": (*WITNESS, "disk_out_of_reach", "record_torn"),
    "qnet4": WITNESS,
    "qnet4-clock": WITNESS,
    **dict.fromkeys(("left3", "left5", "left2-qnet", "left4-qnet", "left2-qdisk"), LEFT),
    "left3-wipe": (*LEFT, "fault wipe", "incarnation_raised"),
    "lms5-chaos": ("voters_changed", "two_views_at_once"),
    "voters3-turn": (*TURNS, "turn_alone", "turn_some"),
    "voters5-turn": (*TURNS, "turn_alone", "turn_some"),
    "voters3-turn-two": (*TURNS, "turn_apart", "one_of_two_alone"),
    "cib3": (*CIB, *CIB_VOTES, *CIB_DISK, "crm.dc_silent", "crash_between_effects", "orphans_saved"),
    "cib5": (*CIB, *CIB_VOTES, *CIB_DISK, "crm.dc_silent", "crash_between_effects", "orphans_saved"),
    "cib3-force": (*CIB, *CIB_VOTES[:1], "orphans_saved", "answered_orphans"),
    "cib3-merge": (*CIB, "orphans_saved", "answered_orphans", "crash_at_merge"),
    "cib3-disjoint": (*CIB, *MERGES, "merge_begun_again", "left: its writer was told"),
    "cib5-disjoint": (*CIB, *MERGES, "merge_begun_again"),
    "cib2-disjoint": (*MERGES,),
    "cib3-power": (*CIB, *CIB_DISK, "crash_between_effects"),
    "cib3-wipe": (*CIB, "crm.vote_restored", "snapshot_sent", "fault wipe"),
    "cib3-eio": (*CIB, "daemon_ended_by_its_disk", "fault broken-disk"),
    "cib5-damage": (*CIB, "damage_noticed", "Corrupt", "crm.vote_restored", "fault damage"),
    "cib3-compact": (*CIB, "snapshot_sent"),
    "cib3-compact-wipe": (*CIB, "snapshot_sent", "damage_noticed", "crm.vote_restored"),
    "full3": (
        *CIB,
        *VIEWS,
        "read_at_once",
        "crm.dc_silent",
        "orphans_saved",
        "fault crm-kill",
        "fault crm-pause",
    ),
    "full5": (*CIB, *VIEWS, "crm.dc_silent", "fault crm-kill", "fault crm-pause"),
    "whole3": WHOLE,
    "whole5": WHOLE,
    "whole3-net": (*WHOLE, "call_in_mtu_hole", "fault swizzle", "fault flap"),
    "whole3-two-dcs": ("BecameDc", "stale_term_refused", "call_in_mtu_hole", "fault lrm-kill", "reattached"),
    "stop3": (
        *("BecameDc", "left_cleanly", "moved_away", "all_down", "caretaker", "stopped_by_caretaker"),
        "left_without_a_view",
    ),
    "agents3": (
        *WHOLE[:6],
        *("agent_slow", "stop_failed", "start_did_nothing", "monitor_flapped", "reattached"),
    ),
    "fence3": FENCES,
    "fence5": FENCES,
    "liar3": ("device_lied", "believed_a_liar", "active_twice", "barred", "learned_that_it_is_barred"),
    "full3-wait": (*CIB, "waited_no_more", "fault partition", "fault power"),
    "full3-force": (*CIB, "orphans_saved", "answered_orphans"),
}


def never(name: str, seen: Mapping[str, int]) -> list[str]:
    """What a class is meant to reach and these runs did not. A name stands for all that begin with it."""
    return [what for what in EXPECTED.get(name, ()) if not _total(what, seen)]


def _total(what: str, seen: Mapping[str, int]) -> int:
    return sum(count for name, count in seen.items() if name.startswith(what))


def added(into: dict[str, int], seen: Mapping[str, int]) -> None:
    """Sum up."""
    for name, count in seen.items():
        into[name] = into.get(name, 0) + count


def report(name: str, seen: Mapping[str, int]) -> Iterable[str]:
    """For people: each expectation and how often; what never happened last, and marked."""
    for what in EXPECTED.get(name, ()):
        if count := _total(what, seen):
            yield f"  {count:8} {what}"
    for what in never(name, seen):
        yield f"     NEVER {what}"
