"""The command tree as data: one-shot, scripts, the interactive shell, help and completion read it.

A handler is "module:function", called as `function(context, words) -> exit status` and imported when first
used. A program ("module:main") gets all words that follow its name. New levels go to
`cli/commands/<level>.py` and here.
"""

from __future__ import annotations

from typing import Final

from cli.cluster_level import CLUSTER
from cli.side_levels import (
    ASSIST,
    CIB,
    CIBSTATUS,
    COROSYNC,
    HISTORY,
    MAINTENANCE,
    OPTIONS,
    SCRIPT,
    SITE,
)
from cli.tree import Command, Level

__all__ = ["CONFIGURE", "PROGRAMS", "ROOT", "Command", "Level"]


def _configure(
    name: str, summary: str, *arguments: str, usage: str = "", aliases: tuple[str, ...] = ()
) -> Command:
    return Command(
        name, f"cli.commands.configure:{name.replace('-', '_')}", summary, arguments, aliases, usage
    )


def _tool(name: str, summary: str, *arguments: str, usage: str = "") -> Command:
    handler = f"cli.commands.configure_tools:{name.replace('-', '_')}"
    return Command(name, handler, summary, arguments, usage=usage)


def _definition(name: str, usage: str, summary: str, aliases: tuple[str, ...] = ()) -> Command:
    return Command(name, "cli.commands.configure:define", summary, ("new", "definition", "…"), aliases, usage)


CONFIGURE: Final = Level(
    "configure",
    "the cluster's configuration",
    session=True,
    aliases=("cf", "cfg", "conf"),
    levels=(ASSIST,),
    commands=(
        _definition(
            "node",
            "node [ID:] NAME[:TYPE] [description=T] [attributes N=V…] [utilization N=V…]",
            "a node; given again its values are merged",
        ),
        _definition(
            "primitive",
            "primitive ID [CLASS:[PROVIDER:]]TYPE|@TEMPLATE [params N=V…] [meta N=V…] [op NAME N=V…]…",
            "a resource",
        ),
        _definition(
            "rsc_template",
            "rsc_template ID TYPE [params …] [meta …] [op …]",
            "what several primitives have in common",
        ),
        _definition(
            "group",
            "group ID MEMBER… [params N=V…] [meta N=V…]",
            "resources that are started in order, on one node",
        ),
        _definition(
            "clone", "clone ID RSC [params N=V…] [meta N=V…]", "a resource that is active on several nodes"
        ),
        _definition(
            "ms",
            "ms ID RSC [params N=V…] [meta N=V…]",
            "the old promotable clone (better a clone with promotable=true)",
            aliases=("master",),
        ),
        _definition(
            "bundle",
            "bundle ID docker|podman N=V… [network …] [storage …] [meta …] [primitive RSC]",
            "a set of containers",
        ),
        _definition("monitor", "monitor RSC[:ROLE] INTERVAL[:TIMEOUT]", "one more monitor of a primitive"),
        _definition(
            "location",
            "location ID RSC [role=R] SCORE: NODE | location ID RSC rule [SCORE:] EXPRESSION…",
            "where a resource likes to be, or may not be",
        ),
        _definition(
            "colocation",
            "colocation ID SCORE: A[:ROLE] WITH[:ROLE]",
            "A is placed where WITH is",
            aliases=("collocation",),
        ),
        _definition(
            "order",
            "order ID [KIND:] FIRST[:ACTION] THEN[:ACTION] [symmetrical=BOOL]",
            "THEN waits for FIRST",
        ),
        _definition(
            "rsc_ticket", "rsc_ticket ID TICKET: RSC[:ROLE]… [loss-policy=P]", "resources that need a ticket"
        ),
        _definition("property", "property [SETID:] NAME=VALUE… | remove NAME…", "cluster options"),
        _definition(
            "rsc_defaults",
            "rsc_defaults [SETID:] [rule …] NAME=VALUE… | remove NAME…",
            "defaults of meta attributes",
        ),
        _definition(
            "op_defaults",
            "op_defaults [SETID:] [rule …] NAME=VALUE… | remove NAME…",
            "defaults of operations",
        ),
        _definition(
            "fencing_topology",
            "fencing_topology [NODE:] DEV[,DEV…]…",
            "levels of fencing devices",
            aliases=("fencing-topology",),
        ),
        _definition("tag", "tag ID OBJ…", "a name for several objects"),
        _definition("role", "role ID read|write|deny SPEC…", "permissions"),
        _definition("acl_target", "acl_target USER ROLE…", "the roles of a user"),
        _definition("acl_group", "acl_group GROUP ROLE…", "the roles of a group of users"),
        _definition(
            "alert",
            "alert ID PATH [attributes …] [meta …] [select …] [to RECIPIENT]…",
            "a program that is told of events",
        ),
        _definition("user", "user …", "the old form; use role and acl_target"),
        _definition("xml", "xml TEXT", "any object as XML"),
        _configure(
            "show",
            "print objects",
            "object",
            "…",
            usage="show [xml|--exact] [ID|GLOB|type:T|tag:T|related:ID|changed]…",
        ),
        _configure("edit", "edit objects in $EDITOR", "object", "…", usage="edit [xml] [OBJECT…]"),
        _configure("delete", "delete objects", "object", "…", usage="delete [--force] ID…", aliases=("rm",)),
        _configure("rename", "rename an object", "object", "new", usage="rename OLD NEW"),
        _configure(
            "modgroup",
            "change the members of a group",
            "group",
            usage="modgroup G add ID [after|before ID] | remove ID",
        ),
        Command(
            "load",
            "cli.commands.configure:load_file",
            "load definitions from a file",
            ("method", "file"),
            usage="load [xml] update|replace|push FILE|URL|-",
        ),
        _configure(
            "save", "write definitions to a file", "file", usage="save [xml|--exact] [OBJECT…] FILE|-"
        ),
        _configure("filter", "pipe definitions through a program", usage="filter PROGRAM [xml] [OBJECT…]"),
        _configure("set", "set one value", usage="set ID.NAME|ID.OPERATION[.INTERVAL].ATTRIBUTE VALUE"),
        _configure(
            "get_property",
            "print a cluster option",
            "property",
            "…",
            usage="get_property [-t|--true] NAME…",
            aliases=("get-property",),
        ),
        _configure("verify", "check the configuration"),
        Command(
            "simulate",
            "cli.commands.programs:plan",
            "what the cluster would do with the pending changes, at length",
            aliases=("ptest",),
            usage="simulate [nograph] [v…] [scores] [utilization] [actions]",
        ),
        _configure("plan", "the pending changes, and what the cluster would do because of them"),
        _configure(
            "commit",
            "write the changes",
            usage="commit [force] [--reason TEXT] [--confirm TIME [--guard RSC,…]]",
        ),
        _configure("refresh", "drop the changes"),
        _configure("erase", "delete everything but nodes", usage="erase [nodes]"),
        _configure(
            "default-timeouts",
            "write the times that agents advise into operations",
            "object",
            "…",
            usage="default-timeouts ID…",
        ),
        _tool("schema", "show or set the schema", usage="schema [NAME]"),
        _tool("upgrade", "to the newest schema", usage="upgrade [force]"),
        _tool(
            "graph",
            "a picture of resources and constraints",
            "picture",
            "file",
            usage="graph [dot|svg|png] [FILE [dot|svg|png]]",
        ),
        _tool("validate-all", "the agent's own check of a resource's parameters", "resource"),
        Command(
            "rsctest",
            "cli.commands.by_hand:rsctest",
            "probe, start, monitor and stop resources that do not run",
            ("resource", "…"),
            usage="rsctest RSC… [NODE…|all]",
        ),
    ),
)


def _resource(
    name: str, summary: str, *arguments: str, usage: str = "", aliases: tuple[str, ...] = ()
) -> Command:
    module = {"move": "moving", "ban": "moving", "clear": "moving", "secret": "secret"}.get(name, "resource")
    return Command(name, f"cli.commands.{module}:{name}", summary, arguments, aliases, usage)


RESOURCE: Final = Level(
    "resource",
    "start, stop, move and look after resources",
    aliases=("rsc", "res"),
    commands=(
        _resource(
            "status", "where resources run", "resource", "…", aliases=("show", "list"), usage="status [RSC…]"
        ),
        _resource("start", "let resources run (target-role=Started)", "resource", "…", usage="start RSC…"),
        _resource("stop", "stop resources (target-role=Stopped)", "resource", "…", usage="stop RSC…"),
        _resource("restart", "stop, wait, start, wait", "resource", "…", usage="restart RSC…"),
        _resource("promote", "target-role=Promoted", "resource", usage="promote RSC"),
        _resource("demote", "target-role=Unpromoted", "resource", usage="demote RSC"),
        _resource("manage", "the cluster looks after them", "resource", "…", usage="manage RSC…"),
        _resource("unmanage", "the cluster leaves them alone", "resource", "…", usage="unmanage RSC…"),
        _resource("maintenance", "meta maintenance", "resource", "onoff", usage="maintenance RSC [on|off]"),
        _resource(
            "move",
            "to a node; the constraint goes again once it is there",
            *("resource", "node"),
            usage="move RSC [NODE] [LIFETIME | --until TIME | --keep] [force]",
            aliases=("migrate",),
        ),
        _resource(
            "ban",
            "keep off a node (leaves a constraint)",
            "resource",
            "node",
            usage="ban RSC [NODE] [LIFETIME | --until TIME]",
        ),
        _resource(
            "clear",
            "remove what move and ban left",
            "resource",
            usage="clear RSC",
            aliases=("unmove", "unban", "unmigrate"),
        ),
        _resource("cleanup", "forget failures, look again", "resource", "node", usage="cleanup [RSC] [NODE]"),
        _resource(
            "refresh",
            "forget history, look again",
            "resource",
            "node",
            usage="refresh [RSC] [NODE]",
            aliases=("reprobe",),
        ),
        _resource(
            "meta", "one meta attribute", "resource", "setshow", usage="meta RSC set|delete|show NAME [VALUE]"
        ),
        _resource(
            "param", "one parameter", "resource", "setshow", usage="param RSC set|delete|show NAME [VALUE]"
        ),
        _resource(
            "utilization",
            "one need",
            "resource",
            "setshow",
            usage="utilization RSC set|delete|show NAME [VALUE]",
        ),
        _resource(
            "failcount",
            "failures counted",
            "resource",
            "setshow",
            "node",
            usage="failcount RSC show|delete NODE [OP [INTERVAL]] | set NODE COUNT [OP [INTERVAL]]",
        ),
        _resource("scores", "what speaks for each node", usage="scores"),
        _resource("constraints", "what constrains a resource", "resource", usage="constraints RSC"),
        _resource("locate", "the nodes it runs on", "resource", usage="locate RSC"),
        _resource("operations", "operation history", "resource", "node", usage="operations [RSC] [NODE]"),
        _resource(
            "secret",
            "a parameter's value outside the CIB",
            "resource",
            "secret",
            usage="secret RSC set|stash|unstash|delete|show|check PARAM [VALUE] | push PARAM [NODE…]",
        ),
        _resource(
            "trace", "trace the agent (trace_ra=1)", "resource", usage="trace RSC [OP] [INTERVAL] [DIR]"
        ),
        _resource("untrace", "stop tracing", "resource", usage="untrace RSC [OP] [INTERVAL]"),
    ),
)


def _node(
    name: str, summary: str, *arguments: str, usage: str = "", aliases: tuple[str, ...] = ()
) -> Command:
    return Command(name, f"cli.commands.node:{name.replace('-', '_')}", summary, arguments, aliases, usage)


NODE: Final = Level(
    "node",
    "the nodes of the cluster",
    commands=(
        _node("show", "list nodes and attributes", "node", usage="show [NODE]", aliases=("list",)),
        _node("status", "nodes and their state", "node", usage="status [NODE]"),
        _node("standby", "run nothing there", "node", usage="standby [NODE] [reboot|forever]"),
        _node("online", "end standby", "node", usage="online [NODE]"),
        _node("maintenance", "leave everything there alone", "node", usage="maintenance [NODE]"),
        _node("ready", "end maintenance", "node", usage="ready [NODE]"),
        _node(
            "attribute",
            "a permanent attribute",
            "node",
            "setshow",
            usage="attribute NODE set|delete|show NAME [VALUE]",
        ),
        _node(
            "utilization",
            "a capacity",
            "node",
            "setshow",
            usage="utilization NODE set|delete|show NAME [VALUE]",
        ),
        _node(
            "status-attr",
            "a transient attribute",
            "node",
            "setshow",
            usage="status-attr NODE set|delete|show NAME [VALUE]",
        ),
        Command("fence", "cli.commands.fence:fence", "fence it by its devices", ("node",), (), "fence NODE"),
        _node("server", "the addresses of nodes, from cluster.toml", "node", usage="server [NODE]"),
        _node("clearstate", "it is off: what waits for its fence goes on", "node", usage="clearstate NODE"),
        _node("delete", "remove a node from the configuration", "node", usage="delete NODE"),
    ),
)


def _fence(name: str, does: str, summary: str, usage: str) -> Command:
    return Command(name, f"cli.commands.fence:{does}", summary, ("node",), (), usage)


FENCE: Final = Level(
    "fence",
    "make certain that a node runs nothing",
    aliases=("stonith",),
    commands=(
        _fence("list", "show", "the devices that would be used", "list [NODE]"),
        _fence("history", "history", "what became of fencings", "history [NODE]"),
        _fence("fence", "fence", "fence a node by its devices", "fence NODE [reboot|off]"),
        _fence("unfence", "unfence", "give it back what devices cut off", "unfence NODE"),
        _fence("confirm", "confirm", "it is off: what waits for its fence goes on", "confirm NODE [--force]"),
        _fence("forgive", "forgive", "let in whom a device lied about", "forgive NODE [--force]"),
    ),
)


RA: Final = Level(
    "ra",
    "resource agents of this node",
    commands=(
        Command("classes", "cli.commands.ra:classes", "classes and providers"),
        Command(
            "list",
            "cli.commands.ra:list_agents",
            "agents of a class",
            ("class",),
            usage="list CLASS [PROVIDER]",
        ),
        Command("providers", "cli.commands.ra:providers", "who has an agent", usage="providers TYPE [CLASS]"),
        Command(
            "validate",
            "cli.commands.configure_tools:ra_validate",
            "the agent's own check of parameters",
            ("agent",),
            usage="validate [CLASS:[PROVIDER:]]TYPE NAME=VALUE…",
        ),
        Command(
            "lint",
            "cli.commands.ra_lint:lint",
            "whether an init script is fit for a cluster",
            ("agent",),
            usage="lint lsb:NAME",
        ),
        Command(
            "info",
            "cli.commands.ra:info",
            "parameters and operations of an agent",
            ("agent",),
            ("meta",),
            "info [CLASS:[PROVIDER:]]TYPE",
        ),
    ),
)

IMPORT: Final = Level(
    "import",
    "come from another cluster",
    commands=(
        Command(
            "heartbeat",
            "cli.commands.import_heartbeat:run",
            "ha.cf, haresources and authkeys of heartbeat version 1",
            ("directory",),
            usage="heartbeat DIR [--output OUT] [--as-is] [--node NAME=ADDR]… [--name NAME] [--hosts FILE]",
        ),
        Command(
            "corosync",
            "cli.commands.import_corosync:run",
            "corosync.conf, and Pacemaker's CIB",
            ("file",),
            usage="corosync FILE [--cib CIB] [--keep-corosync] [--output OUT] [--hosts FILE]",
        ),
    ),
)

TRANSITION: Final = Level(
    "transition",
    "what the cluster decided and did",
    commands=(
        Command("list", "cli.commands.transition:list_all", "stored transitions, the newest last"),
        Command("show", "cli.commands.transition:show", "one of them", ("number",), usage="show [NUMBER]"),
        Command(
            "save",
            "cli.commands.transition:save",
            "its input or its graph, for `hacli simulate -x`",
            ("number",),
            usage="save [graph] NUMBER FILE|-",
        ),
    ),
)


ROOT: Final = Level(
    "",
    "hacli",
    levels=(
        CONFIGURE,
        RESOURCE,
        NODE,
        FENCE,
        MAINTENANCE,
        CLUSTER,
        TRANSITION,
        RA,
        IMPORT,
        CIB,
        HISTORY,
        SCRIPT,
        SITE,
        OPTIONS,
        CIBSTATUS,
        COROSYNC,
    ),
    commands=(
        Command(
            "apply",
            "cli.commands.apply:apply",
            "make the configuration as a file says",
            ("file",),
            usage="apply FILE|- [--check] [--prune] [--reason TEXT] [--confirm TIME [--guard RSC,…]]",
        ),
        Command(
            "plan",
            "cli.commands.apply:plan",
            "what apply would change, and what the cluster would do then",
            ("file",),
            usage="plan FILE|- [--prune]",
        ),
        Command("confirm", "cli.commands.history:confirm", "keep the commit that waits for it"),
        Command(
            "rollback",
            "cli.commands.history:rollback",
            "back to a revision; without one, undo the commit that waits",
            usage="rollback [REV]",
        ),
        Command(
            "undo",
            "cli.commands.history:undo",
            "take back what the last commit changed",
            usage="undo [REV]",
        ),
        Command("diff", "cli.commands.history:diff", "between revisions", usage="diff A [B]"),
        Command(
            "report",
            "cli.commands.report:report",
            "configuration, state and logs of nodes in a tar file, without secrets",
            usage="report [-f FROM] [-t TO] [-n NODE,…|all] [DEST|-]",
        ),
        Command(
            "status",
            "cli.commands.status:show",
            "the state of the cluster",
            ("status",),
            ("st", "stat"),
            "status [html|simple|xml] [bynode] [brief] [detail] [ops] [timing] [failcounts] [verbose] [quiet]"
            " [noheaders] [--links] [--watch [SECONDS]] [--json]",
        ),
        Command(
            "verify",
            "cli.commands.verify:main",
            "check the configuration, or what the loss of nodes would mean",
            usage="verify [-x FILE] [--agents] [--survive 1|2 [--jobs N]] [--output json]",
        ),
    ),
)

# Programs of their own: everything after the name is theirs. `main(context, words) -> exit status`.
PROGRAMS: Final = {
    "simulate": ("cli.commands.programs:simulate", "what would the cluster do"),
    "why": ("cli.commands.why:main", "why is a resource where it is"),
    "demo": ("cli.demo.__main__:main", "two nodes on this machine, and a power failure"),
}
