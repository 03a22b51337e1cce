"""Values that are not in the CIB: whose file is read, and what is none."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import ResourceId
from hacluster.vocabulary.operation import FENCE_DEVICE, FENCING_KEY, Operation
from lrm import secrets

FENCER_KEY = f"1:2:0:{FENCING_KEY}"


def a_secret(var: Path, resource: str, value: str, *, signed: str | None = None) -> None:
    path = var / "lrm/secrets" / resource / "passwd"
    path.parent.mkdir(parents=True)
    path.write_text(value)
    digest = hashlib.md5((value if signed is None else signed).rstrip().encode(), usedforsecurity=False)
    path.with_name("passwd.sign").write_text(f"{digest.hexdigest()}\n")


def revealed(var: Path, resource: str, *, key: str = "1:2:0:uuid", **meta: str) -> str | None:
    operation = Operation(
        resource=ResourceId(resource),
        agent=AgentName.parse("stonith:fence_x"),
        action="off",
        parameters={"passwd": "lrm://"},
        meta=meta,
        transition_key=key,
    )
    found = secrets.reveal(operation, var)
    assert ("passwd" in found.parameters) is (found.missing == ())
    return found.parameters.get("passwd")


@pytest.mark.parametrize("name", ["ilo-fencing", "ilo-fencing-node2"])
def test_a_fencing_uses_its_device_s_secret(tmp_path: Path, name: str) -> None:
    """It has a resource's name of its own, so that the device's monitor does not hold it up."""
    a_secret(tmp_path, "ilo", "hush\n")
    assert revealed(tmp_path, "ilo") == "hush"
    assert revealed(tmp_path, name, key=FENCER_KEY, **{FENCE_DEVICE: "ilo"}) == "hush"


def test_no_resource_gets_another_s_secret_by_its_meta_attributes(tmp_path: Path) -> None:
    a_secret(tmp_path, "ilo", "hush")
    assert revealed(tmp_path, "mine", **{FENCE_DEVICE: "ilo"}) is None
    assert revealed(tmp_path, "ilo-fencing") is None


def test_instances_share_their_resource_s_secret_unless_they_have_their_own(tmp_path: Path) -> None:
    a_secret(tmp_path, "web", "of all")
    a_secret(tmp_path, "web:1", "of one")
    assert [revealed(tmp_path, f"web:{number}") for number in (0, 1)] == ["of all", "of one"]
    assert revealed(tmp_path, "web:x") is None


def test_what_its_signature_does_not_fit_is_missing(tmp_path: Path) -> None:
    a_secret(tmp_path, "ilo", "hush", signed="other")
    assert revealed(tmp_path, "ilo") is None


@pytest.mark.parametrize("resource", ["../ilo", "..", ".hidden", "a/../ilo"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, resource: str) -> None:
    a_secret(tmp_path / "lrm/secrets/x", "ilo", "hush")
    a_secret(tmp_path, "ilo", "hush")
    assert revealed(tmp_path, resource) is None
    assert revealed(tmp_path, "f", key=FENCER_KEY, **{FENCE_DEVICE: resource}) is None


def test_the_owner_survives_a_copy() -> None:
    operation = Operation(
        resource=ResourceId("ilo-fencing"),
        agent=AgentName.parse("stonith:fence_x"),
        action="off",
        meta={FENCE_DEVICE: "ilo"},
        transition_key=FENCER_KEY,
    )
    assert replace(operation, action="reboot").owner == "ilo"
    assert replace(operation, meta={}).owner == "ilo-fencing", "an older DC does not name the device"


def test_a_damaged_signature_fits_nothing(tmp_path: Path) -> None:
    """It may hold anything: ha-lrm must not end by it."""
    a_secret(tmp_path, "ilo", "hush")
    (tmp_path / "lrm/secrets/ilo/passwd.sign").write_bytes(b"\xff\0\xfe")
    assert revealed(tmp_path, "ilo") is None
    assert revealed(tmp_path, "ilo\0") is None


@pytest.mark.parametrize(
    ("secret", "said", "kept"),
    [
        ("hush", "+ passwd=hush\nbad login 'hush'", "+ passwd=lrm://\nbad login 'lrm://'"),
        ("line1\n  line2\nab", "line2 and line1 and ab", "lrm:// and lrm:// and ab"),
        ("abc", "abc", "abc"),
        ("hush", "", ""),
    ],
)
def test_what_an_agent_says_of_a_secret_is_not_kept(
    tmp_path: Path, secret: str, said: str, kept: str
) -> None:
    a_secret(tmp_path, "ilo", secret)
    operation = Operation(
        resource=ResourceId("ilo"),
        agent=AgentName.parse("ocf:a:b"),
        action="start",
        parameters={"passwd": "lrm://", "port": "1"},
    )
    assert secrets.hide(operation, tmp_path, said) == kept
    assert secrets.hide(replace(operation, parameters={}), tmp_path, said) == said
