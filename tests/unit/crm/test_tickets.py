from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.cib.model import Element, element
from crm.tickets import SET_ID, Deed, Ticket, Witness, carried, done, tickets_in, without
from hacluster.errors import InvalidRequest, NotFound

PLAIN = element(
    "configuration",
    None,
    element("crm_config", None, element("cluster_property_set", {"id": "cib-bootstrap-options"})),
    element("resources"),
)


def granted(configuration: Element, name: str, grant: str) -> Element:
    return done(configuration, name, Deed.GRANT, now_s=7, grant=grant)


def states(witness: Witness, configuration: Element) -> dict[str, tuple[str, str]]:
    section = witness.section(configuration)
    found = section.all("ticket_state") if section is not None else ()
    return {one.id: (one.get("granted"), one.get("standby")) for one in found}


def test_a_grant_counts_where_it_is_remembered() -> None:
    configuration = granted(PLAIN, "T", "g1")
    assert tickets_in(configuration) == {"T": Ticket(name="T", grant="g1", last_granted_s=7)}
    dc = Witness({"g1"})
    assert states(dc, configuration) == {"T": ("true", "false")}
    follower = Witness()
    section = dc.section(configuration)
    assert section is not None
    follower.adopt(element("status", None, section))
    assert states(follower, configuration) == {"T": ("true", "false")}
    assert states(Witness(), configuration) == {"T": ("false", "false")}, "everybody had stopped"


def test_what_is_revoked_does_not_come_back_with_a_memory() -> None:
    witness = Witness({"g1"})
    configuration = done(granted(PLAIN, "T", "g1"), "T", Deed.REVOKE, now_s=8, grant="g2")
    assert states(witness, configuration) == {"T": ("false", "false")}
    assert tickets_in(configuration)["T"].last_granted_s == 7
    again = granted(configuration, "T", "g3")
    assert states(witness, again) == {"T": ("false", "false")}
    witness.adopt(element("status"))
    assert not witness.grants


def test_standby_does_not_grant() -> None:
    configuration = done(PLAIN, "T", Deed.STANDBY, now_s=7, grant="g1")
    assert states(Witness({"g1"}), configuration) == {"T": ("false", "true")}
    configuration = granted(configuration, "T", "g2")
    assert states(Witness({"g2"}), configuration) == {"T": ("true", "true")}
    configuration = done(configuration, "T", Deed.ACTIVATE, now_s=7, grant="g3")
    assert states(Witness({"g2"}), configuration) == {"T": ("true", "false")}


def test_only_a_revoked_ticket_is_deleted() -> None:
    configuration = granted(PLAIN, "T", "g1")
    with pytest.raises(InvalidRequest, match="revoke it first"):
        done(configuration, "T", Deed.DELETE, now_s=7, grant="")
    configuration = done(configuration, "T", Deed.REVOKE, now_s=7, grant="")
    assert done(configuration, "T", Deed.DELETE, now_s=7, grant="") == PLAIN
    with pytest.raises(NotFound):
        done(PLAIN, "T", Deed.DELETE, now_s=7, grant="")


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 256])
def test_what_cannot_be_a_name(name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot name a ticket"):
        granted(PLAIN, name, "g")


def test_nobody_changes_tickets_by_writing_a_configuration() -> None:
    present = granted(PLAIN, "T", "g1")
    assert without(present) == PLAIN
    assert carried(present, PLAIN) == present
    forged = granted(PLAIN, "T", "g0")
    assert carried(present, forged) == present
    assert carried(PLAIN, forged) == PLAIN
    assert carried(present, element("configuration")).path("crm_config") is not None


@given(st.text(min_size=1, max_size=40).filter(str.isprintable))
def test_any_name(name: str) -> None:
    configuration = granted(granted(PLAIN, name, "g1"), f"not {name}", "g2")
    assert tickets_in(configuration)[name].grant == "g1"
    section = configuration.child("crm_config")
    assert section is not None
    ids = [one.id for one in section.walk() if one.id]
    assert len(ids) == len(set(ids))
    assert [one.id for one in section.children][-1] == SET_ID
