from __future__ import annotations

import pytest

from hacluster.vocabulary.agent import AgentName


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ocf:hacluster:IPaddr", AgentName("ocf", "hacluster", "IPaddr")),
        ("OCF:heartbeat:Dummy", AgentName("ocf", "heartbeat", "Dummy")),
        ("lsb:nginx", AgentName("lsb", "", "nginx")),
        ("systemd:foo@a:b", AgentName("systemd", "", "foo@a:b")),
        ("stonith:external/ssh", AgentName("stonith", "", "external/ssh")),
        ("heartbeat:IPaddr", AgentName("heartbeat", "", "IPaddr")),
    ],
)
def test_parse(text: str, name: AgentName) -> None:
    assert AgentName.parse(text) == name
    assert AgentName.parse(str(name)) == name


@pytest.mark.parametrize(
    "text",
    ["", "ocf", "ocf:", "ocf:x", "ocf:x:", "ocf:../..:x", "ocf:p:a/b", "lsb:../x", "lsb:a/b", "lsb:.x",
     "lsb:", "upstart:x", "nagios:x", "lsb:a\0b", "lsb:a\nb", "lsb:" + "x" * 300, "stonith:../x/y",
     "stonith:a/b/c", "stonith:external/.x"],
)  # fmt: skip
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        AgentName.parse(text)
