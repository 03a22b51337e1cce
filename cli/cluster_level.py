"""The level `cluster`: its nodes, keys and services."""

from __future__ import annotations

from typing import Final

from cli.tree import Command, Level


def _services(name: str, summary: str, usage: str) -> Command:
    first = {"run": ("program",), "copy": ("file",), "diff": ("file",), "wait_for_startup": ()}.get(name)
    places = ("node", "…") if first is None else (*first, "node", "…")
    return Command(name, f"cli.commands.services:{name}", summary, places, (), f"{name} {usage}")


def _geo(name: str, also: str) -> Command:
    handler = "cli.commands.site:geo"
    return Command(name, handler, "not part of this: tickets are granted by hand", (), (also,), f"{name} …")


CLUSTER: Final = Level(
    "cluster",
    "make a cluster, keys",
    commands=(
        Command(
            "init",
            "cli.commands.cluster:init",
            "make keys, certificates and cluster.toml for all nodes",
            usage="init --name NAME --node NODE=ADDR[,ADDR]… --output DIR",
        ),
        Command(
            "token",
            "cli.commands.cluster_join:token",
            "let one new node join: print a token and wait for it",
            usage="token [--ca DIR] [--expires T] [--address ADDR]… [--port N] [--no-vote]",
        ),
        Command(
            "join",
            "cli.commands.cluster_join:join",
            "make this machine a node of a cluster",
            usage="join TOKEN [--address ADDR[,ADDR]…] [--check] [--verbose]",
        ),
        Command(
            "remove",
            "cli.commands.cluster_remove:remove",
            "take a node out of the cluster",
            ("node",),
            (),
            "remove NODE [--ca DIR | --keep-certificate]",
        ),
        Command(
            "vote",
            "cli.commands.cluster_join:vote",
            "give a node votes, or take them away",
            ("node",),
            (),
            "vote NODE [VOTES]",
        ),
        Command(
            "key",
            "cli.commands.cluster_keys:key",
            "make a key, or change it on every node",
            ("generate", "rotate"),
            usage="key generate|rotate",
        ),
        Command(
            "cert",
            "cli.commands.cluster_keys:cert",
            "certificates: show, renew, sign for others, make for users, revoke",
            ("show", "renew", "request", "sign", "install", "user", "revoke"),
            usage="cert show|renew|request|sign FILE NODE|install FILE|user NAME DIR|revoke WHOSE [--ca DIR]",
        ),
        Command(
            "rename",
            "cli.commands.cluster_rename:rename",
            "another name for the cluster",
            ("new",),
            usage="rename NAME",
        ),
        Command(
            "move-dc",
            "cli.commands.cluster_state:move_dc",
            "another node decides; no resource is touched",
            ("node",),
            (),
            "move-dc [NODE]",
        ),
        Command(
            "force-quorum",
            "cli.commands.cluster:force_quorum",
            "go on with the nodes that are here: they are the cluster",
            usage="force-quorum",
        ),
        Command("status", "cli.commands.status:show", "as `hacli status`"),
        Command("links", "cli.commands.cluster_state:links", "links of this node, losses, refused packets"),
        Command("quorum", "cli.commands.cluster_state:quorum", "who votes, and whether it is enough"),
        Command("health", "cli.commands.services:health", "what is not well"),
        _services("start", "start the services of this node, or of others (by ssh)", "[NODE…|--all]"),
        _services("stop", "move resources away, then stop them", "[NODE…|--all]"),
        _services("restart", "stop, then start", "[NODE…|--all]"),
        _services("enable", "start them with each boot", "[NODE…|--all]"),
        _services("disable", "do not start them with a boot any more", "[NODE…|--all]"),
        _services("wait_for_startup", "until this node is a member and somebody decides", "[SECONDS]"),
        _services("run", "a command of the system on other nodes (by ssh)", "COMMAND [NODE…]"),
        _services("copy", "a file to the same place on other nodes (by ssh)", "FILE [NODE…]"),
        Command(
            "crash_test",
            "cli.commands.crash_test:crash_test",
            "have something fail, and watch the cluster mend itself",
            ("crash", "node"),
            ("crash-test",),
            "crash_test kill messaging|crm|lrm | fence NODE",
        ),
        _geo("geo_init", "geo-init"),
        _geo("geo_join", "geo-join"),
        _geo("geo_init_arbitrator", "geo-init-arbitrator"),
        _services("diff", "how a file differs on other nodes (by ssh)", "FILE [NODE…]"),
    ),
)
