"""A cursor over the words of one command, and the meaning of single words: scores, roles, ids, booleans."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from hacluster.errors import InvalidRequest

IDENTIFIER: Final = re.compile(r"[A-Za-z_][\w.-]*")
INTEGER: Final = re.compile(r"[+-]?\d+")
NOT_AN_ID: Final = "an id starts with a letter or _ and goes on with letters, digits, _ . and -"
_NAMES: Final = re.compile(r"[\w-]+")
_INFINITY: Final = re.compile(r"([+-]?)(?:inf|infinity)", re.IGNORECASE)
_NAMED_SCORES: Final = {"advisory": "0", "mandatory": "INFINITY"}
ROLES: Final = {
    role.lower(): role for role in ("Started", "Stopped", "Promoted", "Unpromoted", "Master", "Slave")
}
ACTIONS: Final = ("start", "stop", "promote", "demote")
_TRUE: Final = ("true", "yes", "on", "1", "y")
_FALSE: Final = ("false", "no", "off", "0", "n")


class Words:
    """The words of a command, read from left to right."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = tuple(words)
        self._at = 0

    @property
    def at_end(self) -> bool:
        """Nothing is left."""
        return self._at >= len(self._words)

    @property
    def left(self) -> tuple[str, ...]:
        """What has not been read."""
        return self._words[self._at :]

    def peek(self, ahead: int = 0) -> str | None:
        """The next word (or one further on), None at the end."""
        index = self._at + ahead
        return self._words[index] if index < len(self._words) else None

    def keyword(self) -> str:
        """The next word in lower case, "" at the end."""
        return (self.peek() or "").lower()

    def take(self, what: str = "a word", remedy: str = "") -> str:
        """The next word. Raises InvalidRequest naming `what` when there is none."""
        word = self.peek()
        if word is None:
            before = f" after {self._words[self._at - 1]!r}" if self._at else ""
            raise InvalidRequest(what=f"{what} is missing{before}", remedy=remedy)
        self._at += 1
        return word

    def take_identifier(self, what: str) -> str:
        """The next word, which must be a valid id."""
        return checked_identifier(self.take(f"the id of the {what}"))

    def take_pair(self, *names: str) -> tuple[str, str] | None:
        """The next word when it is NAME=VALUE with one of `names` (any case), else None."""
        word = self.peek()
        if word is None or "=" not in word:
            return None
        name, _, value = word.partition("=")
        if name.lower() not in names:
            return None
        self._at += 1
        return name.lower(), value

    def misplaced(self, error: InvalidRequest) -> Misplaced:
        """The error with the word that it is about: the next one, the one just read, or the end."""
        at = min(self._at, len(self._words))
        ended = at == len(self._words) and "is missing" in error.what
        named = at < len(self._words) and repr(self._words[at]) in error.what
        place = at if ended or named else max(at - 1, 0)
        return Misplaced(what=error.what, remedy=error.remedy, left=len(self._words) - place)

    def expect_end(self, hint: str = "") -> None:
        """Raises InvalidRequest when words are left; it says which word of the hint was probably meant."""
        if not self.at_end:
            from difflib import get_close_matches

            word = (self.peek() or "").lower().partition("=")[0]
            meant = get_close_matches(word, _NAMES.findall(hint), n=1, cutoff=0.7) if len(word) > 2 else []
            if meant and meant[0] != word:
                hint = f"did you mean {meant[0]}? {hint}"
            raise InvalidRequest(what=f"{self.peek()!r} is not understood here", remedy=hint)


class Misplaced(InvalidRequest):
    """A word of a command that is wrong; `left` words, from it on, are at the end of the command."""

    left: int = 0


def checked_identifier(word: str) -> str:
    """`word` when it can be an XML id. Raises InvalidRequest."""
    if not IDENTIFIER.fullmatch(word):
        raise InvalidRequest(what=f"{word!r} is not a valid id", remedy=NOT_AN_ID)
    return word


def score_of(word: str) -> str | None:
    """The score a word (without its colon) says, as the CIB writes it; None when it is no score."""
    named = _NAMED_SCORES.get(word.lower())
    if named is not None:
        return named
    infinity = _INFINITY.fullmatch(word)
    if infinity is not None:
        return infinity[1] + "INFINITY"
    return word if INTEGER.fullmatch(word) else None


def score_text(score: str) -> str:
    """The other way round: how `show` prints a score."""
    return re.sub(r"INFINITY$", "inf", score)


def is_score_word(word: str | None) -> bool:
    """A word that ends in a colon and is no pair: a score, or the name of an attribute that holds it."""
    return word is not None and len(word) > 1 and word.endswith(":") and "=" not in word


def score_attributes(word: str) -> dict[str, str]:
    """`100:` -> score, `pingd:` -> score-attribute."""
    value = word[:-1]
    score = score_of(value)
    return {"score-attribute": value} if score is None else {"score": score}


def role_of(word: str) -> str:
    """The role in its canonical case. Raises InvalidRequest."""
    role = ROLES.get(word.lower())
    if role is None:
        raise InvalidRequest(what=f"{word!r} is not a role", remedy="one of " + ", ".join(ROLES.values()))
    return role


def boolean_of(word: str) -> bool | None:
    """True or False for the usual words of both, else None."""
    lowered = word.lower()
    if lowered in _TRUE:
        return True
    return False if lowered in _FALSE else None


def boolean_text(name: str, word: str) -> str:
    """ "true" or "false". Raises InvalidRequest naming the attribute."""
    value = boolean_of(word)
    if value is None:
        raise InvalidRequest(what=f"{name}={word}: not a boolean", remedy="use true or false")
    return "true" if value else "false"


def boolean_as_written(word: str) -> str:
    """A boolean that the CIB's schema knows as it is (true, false, 1, 0); others as true or false."""
    value = boolean_of(word)
    if value is None or word in ("true", "false", "1", "0"):
        return word
    return "true" if value else "false"
