"""Classes of fields, as dataclasses are, for what every program of ours loads or makes in great numbers.

A dataclass writes the source of its methods and compiles it when its module is loaded: half of what a
command of 50 ms spends. Here nothing is written or compiled until there are many objects of a class: the
first ones are filled field by field. Fields have slots, and a frozen one's cannot be set or deleted, as with
dataclasses; fields are not inherited, and `replace` and `asdict` of `dataclasses` are not for these.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from operator import attrgetter
from typing import Any, Final, TypeVar, dataclass_transform

MANY: Final = 100
"""With so many objects of a class its code is compiled, which takes as long as filling about so many."""

T = TypeVar("T")


class _Made:
    """A default that is made anew for each object."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], object]) -> None:
        self.make = make


def field(*, default_factory: Callable[[], T]) -> T:
    """A field whose default is made anew for each object."""
    return _Made(default_factory)  # type: ignore[return-value]  # what a checker sees is the field


@dataclass_transform(eq_default=False, field_specifiers=(field,))
def record(*, frozen: bool = False, kw_only: bool = False) -> Callable[[type[T]], type[T]]:
    """Make a class of its annotated names.

    A frozen one is compared, hashed and shown by its fields unless it says otherwise; others are themselves
    alone. With `kw_only` the fields are given by name.
    """

    def decorate(plain: type[T]) -> type[T]:
        names = tuple(plain.__annotations__)
        defaults = {name: vars(plain)[name] for name in names if name in vars(plain)}
        members = {
            name: value
            for name, value in vars(plain).items()
            if name not in names and name not in ("__dict__", "__weakref__")
        }
        members["__qualname__"] = plain.__qualname__
        members["__slots__"] = names
        members["__match_args__"] = () if kw_only else names
        if frozen:
            members = {**_frozen(names), **members}
        made: type[T] = type(plain.__name__, plain.__bases__, members)
        _give_init(made, names, defaults, kw_only=kw_only, frozen=frozen)
        return made

    return decorate


def _frozen(names: tuple[str, ...]) -> dict[str, object]:
    """The methods of what is never changed: two with the same fields are the same."""
    get = attrgetter(*names)

    def values_of(self: object) -> tuple[object, ...]:
        found = get(self)
        return found if len(names) > 1 else (found,)

    def equal(self: object, other: object) -> object:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return get(self) == get(other)

    def hashed(self: object) -> int:
        return hash(get(self))

    def shown(self: object) -> str:
        fields = [f"{name}={value!r}" for name, value in zip(names, values_of(self), strict=True)]
        return f"{type(self).__qualname__}({', '.join(fields)})"

    def refuse(self: object, name: str, *_value: object) -> None:
        raise AttributeError(f"{name} of a {type(self).__name__} cannot be changed: it is frozen")

    return {
        "__eq__": equal,
        "__hash__": hashed,
        "__repr__": shown,
        "__setattr__": refuse,
        "__delattr__": refuse,
    }


def _give_init(
    cls: type, names: tuple[str, ...], defaults: dict[str, object], *, kw_only: bool, frozen: bool
) -> None:
    if "__init__" in vars(cls):
        return
    put = object.__setattr__ if frozen else setattr
    plain = [(name, value) for name, value in defaults.items() if not isinstance(value, _Made)]
    anew = [(name, value.make) for name, value in defaults.items() if isinstance(value, _Made)]
    required = [name for name in names if name not in defaults]
    by_place = () if kw_only else names
    least, most, full = len(required), len(by_place), len(names)
    left = MANY

    def fill(self: object, *given: object, **named: object) -> None:
        nonlocal left
        left -= 1
        if left < 1:
            cls.__init__ = _compiled(cls, names, defaults, kw_only=kw_only, frozen=frozen)  # type: ignore[misc]  # a class's method is set once, here
        count = len(given)
        if named or count < least or count > most:
            missing = [name for name in required[count:] if name not in named]
            wrong = [name for name in named if name not in names or name in by_place[:count]]
            if missing or wrong or count > most:
                raise TypeError(f"{cls.__name__}: {count} by place, missing: {missing}, wrong: {wrong}")
        if count < full:
            for name, value in plain:
                put(self, name, value)
            for name, make in anew:
                put(self, name, make())
        for _ in map(put, repeat(self), by_place, given):
            pass
        for name, value in named.items():
            put(self, name, value)

    cls.__init__ = fill  # type: ignore[misc]  # as above


def _compiled(
    cls: type, names: tuple[str, ...], defaults: dict[str, object], *, kw_only: bool, frozen: bool
) -> Callable[..., None]:
    """The same as code of its own: no loop, no search for names."""
    place: dict[str, Any] = {"_MADE": _Made}
    parameters = ["self", "*"] if kw_only else ["self"]
    lines = []
    for name in names:
        value = name
        if name not in defaults:
            parameters.append(name)
        else:
            default = defaults[name]
            parameters.append(f"{name}=_default_{name}")
            place[f"_default_{name}"] = default
            if isinstance(default, _Made):
                place[f"_make_{name}"] = default.make
                value = f"{name} if {name}.__class__ is not _MADE else _make_{name}()"
        place[f"_store_{name}"] = vars(cls)[name].__set__
        lines.append(f" _store_{name}(self, {value})" if frozen else f" self.{name} = {value}")
    exec(f"def __init__({', '.join(parameters)}):\n" + "\n".join(lines), place)  # noqa: S102 - of our own names
    compiled: Callable[..., None] = place["__init__"]
    return compiled
