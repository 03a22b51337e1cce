from __future__ import annotations

from collections.abc import Sequence

import pytest

from cli.grammar.show import show
from crm.cib.haresources import Converted, Installed, Options, convert
from hacluster.errors import InvalidDocuments

TUTORIAL = """\
node1 172.16.20.100/16/eth0 Filesystem::172.16.20.32:/www/htdoc::/var/www/html::nfs httpd
"""


def run(text: str, *, installed: Installed | None = None, **more: object) -> Converted:
    options = {"nodes": ((1, "node1"), (2, "node2")), "auto_failback": True, "stonith": False} | more
    return convert(text, Options(**options), installed or Installed())  # type: ignore[arg-type]


def shown(converted: Converted) -> list[str]:
    return show(converted.cib).replace(" \\\n\t", " ").splitlines()


def agents(converted: Converted) -> list[str]:
    return [note.split(" -> ")[1].split(" (")[0] for note in converted.notes]


def test_the_tutorial() -> None:
    assert shown(run(TUTORIAL)) == [
        "node 1: node1",
        "node 2: node2",
        'primitive fs ocf:hacluster:Filesystem params device="172.16.20.32:/www/htdoc" '
        'directory="/var/www/html" fstype=nfs op monitor interval=10s timeout=40s '
        "op start interval=0 timeout=60s op stop interval=0 timeout=60s",
        'primitive httpd ocf:hacluster:WebServer params docroot="/var/www/html" op monitor interval=10s '
        "op start interval=0 timeout=40s op stop interval=0 timeout=60s",
        "primitive ip ocf:hacluster:IPaddr params ip=172.16.20.100 cidr_netmask=16 nic=eth0 "
        "op monitor interval=10s",
        "group group_1 ip fs httpd",
        "location group_1-prefers-node1 group_1 100: node1",
        "property cib-bootstrap-options: stonith-enabled=false",
        "rsc_defaults rsc-options: resource-stickiness=0",
    ]


def test_failback_and_fencing_are_as_ha_cf_says() -> None:
    lines = shown(run(TUTORIAL, auto_failback=False, stonith=True))
    assert "property cib-bootstrap-options: stonith-enabled=true" in lines
    assert "rsc_defaults rsc-options: resource-stickiness=INFINITY" in lines


def test_the_web_server_serves_what_was_mounted_before_it() -> None:
    text = "node1 Filesystem::/dev/sdb1::/srv/site::ext4 httpd\nnode2 apache\n"
    lines = [line for line in shown(run(text)) if "WebServer" in line]
    assert "/var/www/html" in lines[0]
    assert "/srv/site" in lines[1]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("10.0.0.1", {"ip": "10.0.0.1"}),
        ("IPaddr::10.0.0.1/24", {"ip": "10.0.0.1", "cidr_netmask": "24"}),
        ("IPaddr2::10.0.0.1/24/eth0:web", {"cidr_netmask": "24", "nic": "eth0", "iflabel": "web"}),
        ("10.0.0.1/24/eth0/10.0.0.255", {"nic": "eth0", "broadcast": "10.0.0.255"}),
        ("10.0.0.1/24/10.0.0.255", {"broadcast": "10.0.0.255"}),
    ],
)
def test_addresses(word: str, expected: dict[str, str]) -> None:
    (pairs,) = (one for one in run(f"node1 {word}\n").cib.walk() if one.id == "ip-instance_attributes")
    values = {pair.get("name"): pair.get("value") for pair in pairs.children}
    assert expected.items() <= values.items()


@pytest.mark.parametrize(
    ("installed", "as_is", "expected"),
    [
        (Installed(resource_d=lambda name: name == "Filesystem"), False, "ocf:hacluster:Filesystem"),
        (Installed(resource_d=lambda name: name == "Filesystem"), True, "heartbeat:Filesystem"),
        (Installed(heartbeat_ocf=lambda name: name == "Filesystem"), True, "ocf:heartbeat:Filesystem"),
        (Installed(), True, "ocf:hacluster:Filesystem"),
    ],
)
def test_which_agent_is_taken(installed: Installed, as_is: bool, expected: str) -> None:
    converted = run("node1 Filesystem::/dev/sdb1::/srv::ext4\n", installed=installed, as_is=as_is)
    assert agents(converted) == [expected]


def test_init_scripts_and_units_come_before_our_web_server() -> None:
    assert agents(run("node1 httpd\n", installed=Installed(init_d=lambda _name: True))) == ["lsb:httpd"]
    assert agents(run("node1 httpd\n", installed=Installed(systemd=lambda _name: True))) == ["systemd:httpd"]


def test_a_script_with_arguments_keeps_them_in_order() -> None:
    converted = run("node1 drbddisk::r0::x\n", installed=Installed(resource_d=lambda _name: True))
    assert "primitive drbddisk heartbeat:drbddisk params 1=r0 2=x op monitor interval=10s" in shown(converted)


AS_THEY_WERE = {
    "LVM::vg0": "LVM params volgrpname=vg0",
    "Raid1::/etc/raidtab::/dev/md0": 'Raid1 params raidconf="/etc/raidtab" raiddev="/dev/md0"',
    "ServeRAID::1::2": "ServeRAID params serveraid=1 mergegroup=2",
    "ICP::5::/dev/sdb1": 'ICP params driveid=5 device="/dev/sdb1"',
    "LinuxSCSI::0:0:5": 'LinuxSCSI params scsi="0:0:5"',
    "WAS": "WAS op",
    "WAS::/opt/was.xml": 'WAS params config="/opt/was.xml"',
    "WAS::9080": "WAS params port=9080",
    "db2::db2inst1": "db2 params instance=db2inst1",
    "ids::/opt/ifx::one::onconfig": 'ids params informixdir="/opt/ifx" informixserver=one onconfig=onconfig',
    "AudibleAlarm::node1::node2": 'AudibleAlarm params nodelist="node1 node2"',
    "ids": "ids op",
    "AudibleAlarm": "AudibleAlarm op",
    "Xinetd::tftp": "Xinetd params service=tftp",
    "WinPopup::/etc/hosts.win": 'WinPopup params hostfile="/etc/hosts.win"',
    "portblock::tcp::80,443::block": 'portblock params protocol=tcp portno="80,443" action=block',
    "SendArp::10.0.0.1/eth0": "SendArp params ip=10.0.0.1 nic=eth0",
    "apache::/etc/httpd/httpd.conf": 'apache params configfile="/etc/httpd/httpd.conf"',
}


@pytest.mark.parametrize("word", AS_THEY_WERE)
def test_scripts_of_heartbeats_that_are_ocf_agents_today(word: str) -> None:
    """Debian has them without the scripts in resource.d, which said what their arguments mean."""
    converted = run(f"node1 {word}\n", installed=Installed(heartbeat_ocf=lambda _name: True))
    (line,) = [one for one in shown(converted) if one.startswith("primitive")]
    assert agents(converted) == [f"ocf:heartbeat:{word.split('::')[0]}"]
    assert f" {AS_THEY_WERE[word]}" in line
    (scripted,) = agents(run(f"node1 {word}\n", installed=Installed(resource_d=lambda _name: True)))
    assert scripted == f"heartbeat:{word.split('::')[0]}"


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("LVM", "LVM::VOLUMEGROUP"),
        ("Raid1::/dev/md0", "Raid1::CONFIGFILE::DEVICE"),
        ("portblock::tcp::80", "block|unblock"),
        ("SendArp::10.0.0.1", "ADDRESS/DEVICE"),
        ("ids::/opt/ifx", "DIR::SERVER::ONCONFIG"),
        ("WAS::a::b", "CONFIGFILE or PORT"),
        ("Xinetd::a::b", "Xinetd::SERVICE"),
        ("nginx::a", "hacli configure primitive"),
    ],
)
def test_other_arguments_than_heartbeats_script_took(word: str, remedy: str) -> None:
    with pytest.raises(InvalidDocuments) as caught:
        run(f"node1 {word}\n", installed=Installed(heartbeat_ocf=lambda _name: True))
    assert remedy in str(caught.value.errors[0])


def test_several_lines_continued_ones_and_comments() -> None:
    converted = run("# site\nNODE1 10.0.0.1 \\\n   MailTo::root # mail\n\nnode2 10.0.0.2\n")
    lines = shown(converted)
    assert "group group_1 ip mailto" in lines
    assert "group group_2 ip_2" in lines
    assert "location group_2-prefers-node2 group_2 100: node2" in lines


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("node1 10.0.0.1\nnode3 10.0.0.2\n", 2, "no node of ha.cf"),
        ("node1\n", 1, "no resources"),
        ("node1 nosuchthing\n", 1, "installed"),
        ("node1 10.0.0.1/99\n", 1, "prefix length"),
        ("node1 10.0.0.1 10.0.0.1\n", 1, "already"),
        ("node1 Filesystem::/dev/sdb1\n", 1, "folder"),
        ("node1 OCF::IPaddr::one\n", 1, "hacli configure"),
        ("", 0, "no resources"),
    ],
)
def test_errors_name_line_and_remedy(text: str, line: int, words: str) -> None:
    with pytest.raises(InvalidDocuments) as caught:
        run(text)
    found: Sequence[str] = [str(error) for error in caught.value.errors]
    place = f"haresources:{line}: " if line else "haresources: "
    assert any(one.startswith(place) and words in one and "(" in one for one in found), found
