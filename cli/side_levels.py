"""Levels beside the configuration itself: shadows, history, ready-made services, sites, preferences."""

from __future__ import annotations

from typing import Final

from cli.tree import Command, Level


def _cib(name: str, summary: str, *arguments: str, usage: str = "") -> Command:
    return Command(name, f"cli.commands.cib:{name}", summary, arguments, usage=usage)


def _cibstatus(name: str, summary: str, *arguments: str, usage: str = "", handler: str = "") -> Command:
    return Command(name, f"cli.commands.cibstatus:{handler or name}", summary, arguments, usage=usage)


CIBSTATUS: Final = Level(
    "cibstatus",
    "pretend that something happened, in a shadow",
    commands=(
        _cibstatus("show", "the state as it is pretended to be"),
        _cibstatus("origin", "where the state that is shown comes from"),
        _cibstatus("node", "a node's state", "node", usage="node NODE online|offline|unclean"),
        _cibstatus(
            "op",
            "an operation's result",
            usage="op OPERATION[:INTERVAL_MS] RSC RESULT NODE",
            handler="operation",
        ),
        _cibstatus("quorum", "with or without", "boolean", usage="quorum true|false"),
        _cibstatus("ticket", "a ticket", usage="ticket TICKET grant|revoke|standby|activate"),
        _cibstatus("run", "carry out on paper what the cluster would do, until it rests"),
        _cibstatus("simulate", "what the cluster would do next"),
        _cibstatus("load", "take the status of another CIB", "file", usage="load FILE|live"),
        _cibstatus("save", "write configuration and status to a file", "file", usage="save FILE"),
    ),
)

CIB: Final = Level(
    "cib",
    "the CIB as a document, and shadows of it",
    levels=(CIBSTATUS,),
    commands=(
        _cib(
            "new",
            "a shadow; or an empty CIB in a file",
            usage="new NAME [withstatus] [force] [empty] | new FILE.xml",
        ),
        _cib("sandbox", "a fresh shadow with the status of now", usage="sandbox [NAME]"),
        _cib(
            "use", "work on a shadow from now on; without NAME on the cluster", "shadow", usage="use [NAME]"
        ),
        Command(
            "diff",
            "cli.commands.cib_copies:diff",
            "what was changed in a shadow, or between two copies (files, state folders, `live`)",
            ("shadow",),
            usage="diff [NAME] | diff A B",
        ),
        _cib("run", "in a shadow: what the cluster would do, on paper, until it rests"),
        _cib("commit", "what was changed in a shadow becomes the cluster's", "shadow", usage="commit [NAME]"),
        _cib("reset", "copy the cluster's CIB over a shadow", "shadow", usage="reset [NAME]"),
        Command("list", "cli.commands.cib:list_all", "the shadows there are"),
        _cib("delete", "delete shadows", "shadow", "…", usage="delete NAME…"),
        Command(
            "import",
            "cli.commands.cib:import_file",
            "replace the configuration by that of a CIB; with NAME a shadow of it",
            ("file",),
            usage="import FILE [NAME]",
        ),
        _cib("export", "write the whole CIB", "file", usage="export FILE|-"),
        _cib("version", "admin_epoch.epoch.num_updates and digest"),
        Command(
            "orphans",
            "cli.commands.orphans:orphans",
            "changes that this node made while apart, and that were not merged",
            usage="orphans [show REPORT | apply REPORT | discard REPORT…]",
        ),
        Command(
            "recover",
            "cli.commands.cib_copies:recover",
            "which copies of the CIB can be read, and what would be lost; begin anew from one",
            usage="recover [DIR…] | recover from SOURCE [to DIR]",
        ),
        Command(
            "history",
            "cli.commands.cib_copies:history",
            "the log of this node's copy, or of one in a folder: who changed what in which term",
            usage="history [DIR]",
        ),
    ),
)


def _past(name: str, summary: str, usage: str) -> Command:
    return Command(name, "cli.commands.events:events", summary, (name, "…"), usage=usage)


def _look(name: str, summary: str, *arguments: str, usage: str = "") -> Command:
    return Command(name, f"cli.commands.history_view:{name}", summary, arguments, usage=usage)


HISTORY: Final = Level(
    "history",
    "what was changed, by whom, and why",
    commands=(
        Command(
            "config",
            "cli.commands.history:config",
            "the commits that are kept, the newest last",
            usage="config [COUNT]",
        ),
        Command("show", "cli.commands.history:show", "what a commit changed", usage="show REV"),
        Command("diff", "cli.commands.history:diff", "between revisions", usage="diff A [B]"),
        Command(
            "events",
            "cli.commands.events:events",
            "commits, transitions and operations in the order of time",
            ("object", "…"),
            usage="events [RSC|NODE]…",
        ),
        _past("resource", "events of resources, deleted ones too", usage="resource RSC…"),
        _past("node", "events of nodes", usage="node NODE…"),
        Command(
            "log",
            "cli.commands.history_log:log",
            "logs of this node, or of others (by ssh), by time",
            usage="log [-f FROM] [-t TO] [-n NODE,…|all] [WORD]…",
        ),
        Command("latest", "cli.commands.events:latest", "the newest transition"),
        Command(
            "transition",
            "cli.commands.transition:list_all",
            "as `hacli transition list`",
            aliases=("peinputs",),
        ),
        _look("graph", "a transition as a picture", usage="graph [NUMBER] [FILE [dot|svg|png|pdf]]"),
        _look("wdiff", "as diff, word by word", usage="wdiff A [B]"),
        _look("limit", "look at a time only", usage="limit [FROM [TO]]"),
        _look("setnodes", "look at nodes only", "node", "…", usage="setnodes [NODE…]"),
        _look("exclude", "leave out lines and events", usage="exclude [REGEX|clear]"),
        _look(
            "session",
            "keep what is looked at, under a name",
            usage="session [list] | session save|load|delete NAME",
        ),
        _look("info", "the source, what is looked at, and how much there is"),
        _look("source", "where history is read: there is one source", usage="source [live]"),
        _look("refresh", "nothing to do: each command asks anew"),
        _look("detail", "nothing to do: log, limit and exclude narrow what is shown", usage="detail [0|1]"),
    ),
)

SCRIPT: Final = Level(
    "script",
    "common services, made from a few parameters",
    aliases=("wizard", "template"),
    commands=(
        Command("list", "cli.commands.script:list_all", "the services there are"),
        Command("show", "cli.commands.script:show", "what one needs", ("wizard",), usage="show NAME"),
        Command(
            "verify",
            "cli.commands.script:verify",
            "the definitions it would make",
            ("wizard",),
            usage="verify NAME PARAM=VALUE…",
        ),
        Command("run", "cli.commands.script:run", "make them", ("wizard",), usage="run NAME PARAM=VALUE…"),
        Command(
            "json",
            "cli.commands.script_json:json",
            "the same for programs: a request as JSON, the answer as JSON",
            usage="""json '["list"]' | '["show", NAME]' | '["verify"|"run", NAME, {PARAM: VALUE…}]'""",
        ),
    ),
)

SITE: Final = Level(
    "site",
    "tickets of a cluster of clusters",
    commands=(
        Command(
            "ticket",
            "cli.commands.site:ticket",
            "who has a ticket",
            ("ticket",),
            usage="ticket show|time [TICKET] | grant|revoke|standby|activate|delete TICKET",
        ),
    ),
)


def _corosync(name: str, summary: str, *arguments: str, usage: str = "") -> Command:
    return Command(name, f"cli.commands.corosync:{name}", summary, arguments, (), usage)


def _nodelist(name: str, summary: str, *arguments: str, usage: str) -> Command:
    handler = f"cli.commands.corosync_nodes:{name.replace('-', '_')}"
    return Command(name, handler, summary, arguments, (), usage)


COROSYNC: Final = Level(
    "corosync",
    "corosync.conf, where corosync carries the cluster",
    commands=(
        _corosync("show", "this node's file"),
        _corosync("edit", "in $EDITOR; what corosync could not read is not written"),
        _corosync("get", "values of a key", usage="get PATH"),
        _corosync("set", "one value, in this node's file", usage="set PATH VALUE"),
        _corosync("diff", "how other nodes' files differ (by ssh)", "node", "…", usage="diff [NODE…]"),
        _corosync(
            "push", "this node's file becomes that of others (by ssh)", "node", "…", usage="push [NODE…]"
        ),
        _corosync("pull", "another node's file becomes this one's (by ssh)", "node", usage="pull NODE"),
        _corosync("reload", "have corosync read its file again, on all nodes"),
        _corosync(
            "status",
            "links, votes, groups, as its tools say them",
            "corosync-status",
            usage="status [ring|quorum|qdevice|qnetd|cpg]",
        ),
        _nodelist("add-node", "one more node in this node's file", usage="add-node ADDR[,ADDR]… [NAME]"),
        _nodelist("del-node", "one node less in this node's file", "node", usage="del-node NAME|ADDR|ID"),
        _nodelist(
            "link",
            "links: the nodes' addresses, and options",
            "corosync-link",
            usage="link show | add NODE=ADDR… [options N=V…] | update NUMBER [NODE=ADDR…] [options N=[V]…]"
            " | remove NUMBER",
        ),
        _corosync("log", "the end of its log", usage="log [COUNT]"),
    ),
)

OPTIONS: Final = Level(
    "options",
    "what this user prefers",
    commands=(
        Command("show", "cli.commands.user_options:show", "all of them, or one", usage="show [NAME]"),
        Command("set", "cli.commands.user_options:set_one", "one, from now on", usage="set NAME VALUE"),
        Command("reset", "cli.commands.user_options:reset", "as they were made", usage="reset [NAME]"),
        Command("save", "cli.commands.user_options:save", "options are saved as they are set"),
    ),
)

MAINTENANCE: Final = Level(
    "maintenance",
    "leave all resources alone",
    commands=(
        Command("on", "cli.commands.node:maintenance_on", "maintenance-mode=true"),
        Command("off", "cli.commands.node:maintenance_off", "maintenance-mode=false"),
        Command(
            "action",
            "cli.commands.by_hand:action",
            "an action of an agent by hand, of a resource that the cluster leaves alone",
            ("resource", "action"),
            usage="action RSC ACTION [ssh]",
        ),
    ),
)

ASSIST: Final = Level(
    "assist",
    "larger steps: what primitives have in common, bonds without dependency",
    commands=(
        Command(
            "template",
            "cli.commands.assist:template",
            "a template of what primitives have in common; they then refer to it",
            ("new", "resource", "…"),
            usage="template ID PRIMITIVE PRIMITIVE…",
        ),
        Command(
            "weak-bonds",
            "cli.commands.assist:weak_bonds",
            "resources go to one node, and do not depend on each other",
            ("resource", "…"),
            usage="weak-bonds RSC RSC…",
        ),
    ),
)
