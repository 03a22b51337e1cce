"""Random configurations of every kind of object, as text of the language; a seed gives the same text."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from cli.grammar.lexer import in_quotes, quoted

NODES = ("n1", "n2", "n3")
_VALUES = (
    *("1", "10s", "a b", "it's", 'say "hi"', "", "/srv/x", "a\\b", "end\\", "#1", "x=y", "é", "{}", "$HOME"),
    *("a\tb", "*", "[x]", "rule", "inf:", "(a)", "PT5M", "http://x/?a=1&b=2", "<&>", "\\\\", '\\"', "-1"),
)
_ROLES = ("Started", "Stopped", "Promoted", "Unpromoted", "Master", "Slave")
_SCORES = ("inf", "-INF", "+inf", "INFINITY", "-infinity", "0", "100", "-5", "+7", "advisory", "mandatory")
_DATES = ("2030-01-01", '"2030-01-01 10:00:00Z"', "2030-W01-1", "2030-01-01T10:00:00+02:00")


@dataclass
class Writer:
    """One text in the making."""

    rng: random.Random
    lines: list[str] = field(default_factory=list)
    sets: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    number: int = 0

    def a_word(self, *words: str) -> str:
        return self.rng.choice(words)

    def maybe(self, text: str, chance: float = 0.4) -> str:
        return text if self.rng.random() < chance else ""

    def new(self, prefix: str) -> str:
        self.number += 1
        return f"{prefix}{self.number}"

    def any_case(self, word: str) -> str:
        return self.rng.choice((word, word, word.upper(), word.title()))

    def value(self) -> str:
        value = self.rng.choice(_VALUES)
        return self.rng.choice((quoted(value), in_quotes(value), _by_backslashes(value), _single(value)))

    def pairs(self, least: int = 1) -> str:
        names = self.rng.sample(("ip", "port", "target-role", "x.y", "n_1", "passwd", "fake", "q"), 3)
        words = [f"{name}={self.value()}" for name in names[: self.rng.randint(least, 3)]]
        if words and self.rng.random() < 0.1:
            words.append("bare")
        if words and self.rng.random() < 0.1:
            words.append(f"${self.new('pair')}:named=1")
        return " ".join(words)

    def a_set(self, keyword: str, *, rules: bool = True) -> str:
        text = self.any_case(keyword)
        if self.sets and self.rng.random() < 0.1 and keyword in ("params", "op_params"):
            return f"{text} $id-ref={self.rng.choice(self.sets)}"
        if self.rng.random() < 0.2:
            name = self.new("set")
            text += f" $id={name}"
            if keyword in ("params", "op_params"):
                self.sets.append(name)
        if rules and self.rng.random() < 0.2:
            text += f" {self.rng.randint(1, 9)}:"
        if rules and self.rng.random() < 0.2:
            text += f" {self.rule()}"
        return f"{text} {self.pairs()}"

    def maybe_set(self, keyword: str, chance: float = 0.4, *, rules: bool = True) -> str:
        return self.a_set(keyword, rules=rules) if self.rng.random() < chance else ""

    def rule(self, *, role: bool = False) -> str:
        words = ["rule"]
        if self.rules and self.rng.random() < 0.1:
            return f"rule $id-ref={self.rng.choice(self.rules)}"
        if self.rng.random() < 0.2:
            words.append(f"$id={self.new('rule')}")
            self.rules.append(words[-1][4:])
        if role and self.rng.random() < 0.3:
            words.append(self.a_word("$role=", "role=") + self.any_case(self.rng.choice(_ROLES)))
        if self.rng.random() < 0.7:
            words.append(f"{self.rng.choice((*_SCORES, 'pingd'))}:")
        joint = f" {self.any_case(self.a_word('and', 'or'))} "
        words.append(joint.join(self.expression() for _ in range(self.rng.randint(1, 3))))
        return " ".join(words)

    def expression(self) -> str:
        rng = self.rng
        match rng.randrange(7):
            case 0:
                return self.any_case(self.a_word("defined", "not_defined")) + " #health"
            case 1:
                return f"date {self.a_word('lt', 'GT')} {rng.choice(_DATES)}"
            case 2:
                end = self.a_word(f"end={rng.choice(_DATES)}", "hours=3 minutes=5", "years=1", "P=1")
                return f"date {self.a_word('in', 'in_range')} start={rng.choice(_DATES)} " + end.replace(
                    "P=1", "weeks=1 days=2"
                )
            case 3:
                fields = rng.sample(("hours=9-16", "weekdays=1-5", "months=1", "weeks=3", "years=2030-"), 2)
                return f"date {self.a_word('spec', 'date_spec')} {' '.join(fields)}"
            case 4:
                return (
                    f"site {self.a_word('', 'string:')}eq {self.a_word('meta{zone}', 'param{a_b}', 'north')}"
                )
            case 5:
                kind = self.a_word("number:", "version:", "integer:", "")
                return f"load {kind}{self.a_word('lt', 'gte', 'NE', 'lte', 'gt')} 5"
            case _:
                return " ".join(("#uname", self.a_word("eq", "ne"), self.a_word("n1", "n2", '"n 3"')))

    def resource(self, keyword: str, kind: str) -> str:
        name = self.new("p" if keyword == "primitive" else "t")
        parts = [self.any_case(keyword), name, kind, self.maybe(f"description={self.value()}", 0.2)]
        parts += [self.a_set("params") for _ in range(self.rng.choice((0, 1, 1, 2)))]
        parts += [self.maybe_set("meta"), self.maybe_set("utilization", 0.2, rules=False)]
        if self.rng.random() < 0.2:
            parts.append(f"operations $id={self.new('ops')}")
        for interval in self.rng.sample(range(5, 60), self.rng.randint(0, 3)):
            parts.append(self.operation(interval))
        self.lines.append(" ".join(part for part in parts if part))
        return name

    def operation(self, interval: int) -> str:
        words = [self.any_case("op"), "monitor", f"interval={interval}s", self.maybe("timeout=20")]
        words.append(self.maybe("on-fail=restart", 0.2))
        words.append(self.maybe(f"role={self.any_case(self.rng.choice(_ROLES))}", 0.2))
        words.append(self.maybe("OCF_CHECK_LEVEL=10", 0.2) or self.maybe_set("op_params", 0.2, rules=False))
        words.append(self.maybe_set("op_meta", 0.2, rules=False))
        return " ".join(word for word in words if word)

    def members(self, names: Sequence[str], kinds: Sequence[str]) -> str:
        """Resource sets with brackets of all kinds."""
        parts: list[str] = []
        rest = list(names)
        while rest:
            some, rest = rest[: (size := self.rng.randint(1, 3))], rest[size:]
            mark = f":{self.any_case(self.rng.choice(kinds))}" if self.rng.random() < 0.3 else ""
            text = " ".join(f"{one}{mark}" for one in some)
            forms = ("{}", "{}", "( {} )", "({})", "[ {} ]", "[{}]", "( {} require-all=false )")
            parts.append(self.rng.choice((*forms, "[ {} sequential=true ]")).format(text))
        return " ".join(parts)


def _by_backslashes(value: str) -> str:
    if not value:
        return "''"
    if value.endswith("\\"):  # at the end of a line it would continue the line
        return in_quotes(value)
    return "".join(one if one.isalnum() else f"\\{one}" for one in value)


def _single(value: str) -> str:
    return in_quotes(value) if "'" in value else f"'{value}'"


def random_text(seed: object) -> str:
    """Definitions in random order, some of them continued over lines."""
    writer = Writer(random.Random(str(seed)))
    rng, lines = writer.rng, writer.lines
    _nodes(writer)
    templates = [writer.resource("rsc_template", "ocf:pacemaker:Stateful") for _ in range(rng.randint(0, 1))]
    kinds = (
        "Dummy",
        "ocf:pacemaker:Dummy",
        "systemd:x@y",
        "stonith:fence_x",
        "ping",
        *(f"@{t}" for t in templates),
    )
    singles = [writer.resource("primitive", rng.choice(kinds)) for _ in range(rng.randint(3, 7))]
    top = _containers(writer, singles)
    _constraints(writer, [*top, *templates])
    _options(writer, top)
    _people(writer, singles)
    rng.shuffle(lines)
    return "\n".join(_continued(line, rng) for line in lines) + "\n"


def _nodes(writer: Writer) -> None:
    for number, name in enumerate(NODES, 1):
        first = writer.a_word("", "", f"{number}:", f"$id={number}")
        kind = writer.a_word("", "", ":member", ":REMOTE", ":normal")
        parts = [writer.any_case("node"), first, name + kind, writer.maybe("description='a node'", 0.2)]
        parts += [writer.maybe_set("attributes", rules=False), writer.maybe("utilization cpu=4")]
        parts += [writer.maybe("utilization mem=2 disk=3", 0.2)]
        writer.lines.append(" ".join(part for part in parts if part))


def _containers(writer: Writer, singles: list[str]) -> list[str]:
    rng = writer.rng
    rest = singles[:]
    top: list[str] = []

    def sets() -> str:
        some = (writer.maybe_set("meta"), writer.maybe_set("params", 0.2))
        return " ".join(one for one in (writer.maybe("description='all of it'", 0.1), *some) if one)

    if rng.random() < 0.6:
        name, inside = writer.new("g"), [rest.pop() for _ in range(min(2, len(rest)))]
        writer.lines.append(f"{writer.any_case('group')} {name} {' '.join(inside)} {sets()}")
        if rng.random() < 0.4:
            inner, name = name, writer.new("c")
            writer.lines.append(f"clone {name} {inner} {sets()}")
        top.append(name)
    if rest and rng.random() < 0.5:
        top.append(writer.new("c"))
        writer.lines.append(f"{writer.a_word('clone', 'ms', 'CLONE')} {top[-1]} {rest.pop()} {sets()}")
    if rest and rng.random() < 0.4:
        top.append(writer.new("b"))
        writer.lines.append(
            f"bundle {top[-1]} {writer.a_word('docker', 'podman')} image=reg/x:1 replicas=2 "
            f"{writer.maybe('options=' + writer.value())} network control-port=3121 port-mapping port=80 "
            f"port-mapping id={writer.new('map')} range=1-9 "
            "storage storage-mapping source-dir=/a target-dir=/b "
            f"{writer.maybe_set('meta', rules=False)} primitive {rest.pop()}"
        )
    return [*top, *rest]


def _constraints(writer: Writer, names: list[str]) -> None:
    rng, lines = writer.rng, writer.lines
    for _ in range(rng.randint(1, 3)):
        what = writer.a_word(rng.choice(names), "/p.*/", f"{{ {writer.members(names, _ROLES)} }}")
        role = "" if what[0] == "{" else writer.maybe(f"role={writer.any_case('promoted')}", 0.2)
        options = role + writer.maybe(" resource-discovery=never", 0.2)
        if rng.random() < 0.5:
            where = f"{rng.choice(_SCORES)}: {rng.choice(NODES)}"
        else:
            where = " ".join(writer.rule(role=True) for _ in range(rng.randint(1, 2)))
        lines.append(f"location {writer.new('l')} {what} {options} {where}")
    for _ in range(rng.randint(0, 2) if len(names) > 1 else 0):
        some = rng.sample(names, rng.randint(2, len(names)))
        extra = writer.maybe(" influence=NO" if len(some) == 2 else "", 0.3)
        lines.append(
            f"colocation {writer.new('k')} {rng.choice(_SCORES)}: {writer.members(some, _ROLES)}{extra}"
        )
        kind = writer.a_word("", "Mandatory:", "OPTIONAL:", "serialize:", "0:", "inf:")
        what = writer.members(some, ("start", "stop", "promote", "demote"))
        lines.append(f"order {writer.new('o')} {kind} {what} {writer.maybe('symmetrical=no')}")
    some = rng.sample(names, rng.randint(1, len(names)))
    policy = writer.maybe("loss-policy=demote")
    what = writer.a_word("", "_rsc_set_ ") + writer.members(some, _ROLES)
    lines.append(f"rsc_ticket {writer.new('k')} ticketA: {what} {policy}")


def _options(writer: Writer, top: list[str]) -> None:
    lines = writer.lines
    lines.append(f"property stonith-enabled=false {writer.pairs()}")
    lines.append(f"property {writer.a_word('other:', '$id=other')} {writer.pairs()}")
    rule = writer.rule() if writer.rng.random() < 0.4 else ""
    lines.append(f"rsc_defaults {writer.maybe('$id=rd ')}{rule} {writer.pairs()}")
    lines.append(f"op_defaults od: rule op monitor interval=10s and rsc type=Dummy {writer.pairs()}")
    lines.append(f"tag {writer.new('tag')}{writer.a_word('', ':')} {' '.join(top[:2])}")
    targets = ("n1: {} n2: {}", "attr:rack=1 {} pattern:n.* {}", "{} {}", "n1: {} pattern:n(2|3) {}")
    lines.append("fencing_topology " + writer.a_word(*targets).format("s1,s2 s3", "s4"))


def _people(writer: Writer, singles: list[str]) -> None:
    specs = (
        "xpath:\"//x[@id='a b']\"",
        f"ref:{singles[0]}",
        "type:nvpair attr:name",
        f"meta:{singles[0]}",
        "cib",
    )
    rights = [f"{writer.a_word('read', 'WRITE', 'deny')} {writer.a_word(*specs)}" for _ in range(3)]
    writer.lines.append(f"role admin {writer.maybe('description=x')} {' '.join(rights)}")
    writer.lines.append("acl_target joe admin")
    select = writer.maybe("select nodes attributes { standby } fencing")
    to = writer.a_word(
        "to x to y", "to { 'a b' attributes k=v meta timeout=9s } meta z=1", "to x meta z=1", ""
    )
    writer.lines.append(f"alert al /bin/x {writer.maybe_set('attributes', rules=False)} {select} {to}")


def _continued(line: str, rng: random.Random) -> str:
    """Broken at some blanks outside of quotes, with a comment above now and then."""
    out: list[str] = []
    quote = ""
    position = 0
    while position < len(line):
        one = line[position]
        if one == "\\":
            out.append(line[position : position + 2])
            position += 2
            continue
        if one in "'\"":
            quote = "" if one == quote else quote or one
        out.append(" \\\n\t" if one == " " and not quote and rng.random() < 0.1 else one)
        position += 1
    return rng.choice(("", "", "# why\n", "#one\n# two -- more\n")) + "".join(out)
