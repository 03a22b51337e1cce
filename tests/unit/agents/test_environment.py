from __future__ import annotations

import pytest

from agents.environment import (
    VALUE_BYTES_MAX,
    NodeFacts,
    base_environment,
    environment,
    invisible_to_shell,
    invocation,
    metadata_environment,
    positional,
)
from hacluster.errors import InvalidRequest
from hacluster.vocabulary.agent import AgentName
from hacluster.vocabulary.ids import ResourceId
from hacluster.vocabulary.operation import Operation

FACTS = NodeFacts(node="node1", node_id="1", sbin_dir="/opt/sbin", agent_socket="/run/x/agent.sock")


def an_operation(
    agent: str = "ocf:hacluster:Dummy",
    action: str = "monitor",
    *,
    parameters: dict[str, str] | None = None,
    meta: dict[str, str] | None = None,
    interval_ms: int = 0,
    start_delay_ms: int = 0,
) -> Operation:
    return Operation(
        resource=ResourceId("web"),
        agent=AgentName.parse(agent),
        action=action,
        interval_ms=interval_ms,
        timeout_ms=30_000,
        start_delay_ms=start_delay_ms,
        parameters=parameters or {},
        meta=meta or {},
    )


def test_ocf_variables() -> None:
    built = environment(an_operation(parameters={"ip": "10.0.0.1", "a-b": "x"}), FACTS)
    expected = {
        "OCF_RA_VERSION_MAJOR": "1",
        "OCF_RA_VERSION_MINOR": "1",
        "OCF_ROOT": "/usr/lib/ocf",
        "OCF_RESOURCE_INSTANCE": "web",
        "OCF_RESOURCE_TYPE": "Dummy",
        "OCF_RESOURCE_PROVIDER": "hacluster",
        "OCF_EXIT_REASON_PREFIX": "ocf-exit-reason:",
        "OCF_RESKEY_ip": "10.0.0.1",
        "OCF_RESKEY_a-b": "x",
        "OCF_RESKEY_crm_feature_set": "3.16.2",
        "OCF_RESKEY_CRM_meta_timeout": "30000",
        "OCF_RESKEY_CRM_meta_interval": "0",
        "OCF_RESKEY_CRM_meta_name": "monitor",
        "OCF_RESKEY_CRM_meta_on_node": "node1",
        "OCF_RESKEY_CRM_meta_on_node_uuid": "1",
        "HA_SBIN_DIR": "/opt/sbin",
        "HA_RSCTMP": "/run/resource-agents",
        "HACLUSTER_AGENT_SOCKET": "/run/x/agent.sock",
        "LC_ALL": "C",
    }
    assert {name: built.get(name) for name in expected} == expected
    assert built["PATH"].split(":")[0] == "/opt/sbin"


def test_nothing_of_our_own_environment_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"NOTIFY_SOCKET": "@x", "PYTHONPATH": "/x", "LD_PRELOAD": "/x.so", "GRPC_TRACE": "all"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    assert not secrets.keys() & environment(an_operation(), FACTS).keys()
    assert not secrets.keys() & base_environment(FACTS).keys()


def test_parameters_stay_behind_their_prefix() -> None:
    hostile = {"LD_PRELOAD": "/tmp/x.so", "PATH": "/tmp", "OCF_ROOT": "/tmp", "CRM_meta_timeout": "1"}
    built = environment(an_operation(parameters=hostile), FACTS)
    assert "LD_PRELOAD" not in built
    assert built["PATH"].startswith("/opt/sbin:/usr/sbin")
    assert built["OCF_ROOT"] == "/usr/lib/ocf"
    assert built["OCF_RESKEY_LD_PRELOAD"] == "/tmp/x.so"
    assert built["OCF_RESKEY_CRM_meta_timeout"] == "30000"


def test_extra_cannot_replace_what_is_built() -> None:
    facts = NodeFacts(node="n", extra={"PATH": "/tmp", "OCF_TRACE_RA": "1"})
    assert base_environment(facts)["PATH"].startswith("/usr/sbin")
    assert base_environment(facts)["OCF_TRACE_RA"] == "1"


def test_meta_names_and_the_old_ones_agents_ask_for() -> None:
    meta = {"promoted-max": "1", "promoted-node-max": "1", "notify_type": "pre", "on_node": "other"}
    built = environment(an_operation(meta=meta), FACTS)
    for name in ("promoted_max", "master_max", "promoted_node_max", "master_node_max"):
        assert built[f"OCF_RESKEY_CRM_meta_{name}"] == "1"
    assert built["OCF_RESKEY_CRM_meta_promotable"] == "true"
    assert built["OCF_RESKEY_CRM_meta_notify_type"] == "pre"
    assert built["OCF_RESKEY_CRM_meta_on_node"] == "other"


@pytest.mark.parametrize("where", ["parameters", "meta"])
def test_check_level_has_no_prefix(where: str) -> None:
    level = {"OCF_CHECK_LEVEL": "10"}
    operation = an_operation(parameters=level) if where == "parameters" else an_operation(meta=level)
    built = environment(operation, FACTS)
    assert built["OCF_CHECK_LEVEL"] == "10"
    assert "OCF_RESKEY_OCF_CHECK_LEVEL" not in built
    assert "OCF_CHECK_LEVEL" not in environment(an_operation(), FACTS)


def test_start_delay_is_told() -> None:
    assert environment(an_operation(start_delay_ms=500), FACTS)["OCF_RESKEY_CRM_meta_start_delay"] == "500"


@pytest.mark.parametrize("name", ["", "1", "a b", "a=b", "a\0", "é", "a\n", "x" * 300])
def test_names_an_environment_cannot_hold_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        environment(an_operation(parameters={name: "x"}), FACTS)


@pytest.mark.parametrize("value", ["a\0b", "x" * (VALUE_BYTES_MAX + 1)])
def test_values_the_kernel_refuses_are_refused_before(value: str) -> None:
    with pytest.raises(InvalidRequest, match="of web"):
        environment(an_operation(parameters={"p": value}), FACTS)


def test_values_are_data_whatever_they_look_like() -> None:
    value = "$(rm -rf /); `id` '\"\n|"
    assert environment(an_operation(parameters={"p": value}), FACTS)["OCF_RESKEY_p"] == value


@pytest.mark.parametrize("action", ["", "monitor x", "--help", "../x", "Monitor", "a\0"])
def test_action_names_are_checked(action: str) -> None:
    with pytest.raises(InvalidRequest):
        invocation(an_operation(action=action), "/x", FACTS)


def test_invocation_by_standard() -> None:
    assert invocation(an_operation(), "/a", FACTS).argv == ("/a", "monitor")
    lsb = invocation(an_operation("lsb:x", parameters={"p": "1"}), "/a", FACTS)
    assert lsb.argv == ("/a", "status")
    assert not any(name.startswith("OCF_") for name in lsb.environ)
    heartbeat = an_operation("heartbeat:IPaddr", "start", parameters={"2": "b", "1": "10.0.0.1/24"})
    assert invocation(heartbeat, "/a", FACTS).argv == ("/a", "10.0.0.1/24", "b", "start")
    service = invocation(an_operation("service:x", "start"), "/a", FACTS, standard="lsb")
    assert service.argv == ("/a", "start")
    with pytest.raises(InvalidRequest):
        invocation(an_operation("systemd:x"), "/a", FACTS)


def test_fence_agents_read_stdin() -> None:
    parameters = {"ipaddr": "10.0.0.9", "pcmk_host_list": "n1", "action": "reboot", "passwd": "x=y"}
    call = invocation(
        an_operation("stonith:fence_x", "off", parameters=parameters, meta={"on_node": "n1"}), "/a", FACTS
    )
    assert call.argv == ("/a",)
    assert call.stdin == "action=off\nnodename=n1\nipaddr=10.0.0.9\npasswd=x=y\n"
    with pytest.raises(InvalidRequest):
        invocation(an_operation("stonith:fence_x", "off", parameters={"a": "b\naction=on"}), "/a", FACTS)


def test_positional_arguments_sort_as_numbers_and_have_no_gap() -> None:
    assert positional({str(n): f"v{n}" for n in range(12, 0, -1)}) == tuple(f"v{n}" for n in range(1, 13))
    for name in ("2", "ip", "²", "01", "0", "", "9" * 5_000):
        with pytest.raises(InvalidRequest) as refused:
            positional({name: "x"})
        assert len(str(refused.value)) < 300
    with pytest.raises(InvalidRequest):
        positional({"1": "a\0"})


def test_names_no_shell_can_read_are_pointed_out() -> None:
    assert invisible_to_shell({"a": "", "b-c": "", "d.e": ""}) == ("b-c", "d.e")


def test_metadata_needs_no_resource() -> None:
    built = metadata_environment(AgentName.parse("ocf:heartbeat:IPaddr2"), FACTS)
    assert built["OCF_RESOURCE_INSTANCE"] == "IPaddr2"
    assert not any(name.startswith("OCF_RESKEY_") for name in built)
