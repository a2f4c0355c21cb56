"""An interpreter of pickles that calls nothing: imports become names, calls become records."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

#: Operations of one pickle. An empty dict costs one byte of the file and 64 of memory, so this bounds memory and time.
MAX_OPERATIONS = 1 << 22

_MISSING = object()
_DICTS = frozenset({("collections", "OrderedDict"), ("collections", "defaultdict"), ("builtins", "dict")})


class Global:
    """A name that the file would import. Nothing is imported."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"[:200]


class Object:
    """What calling `made_by` would have made. Nothing was called; its state and its items are dropped."""

    __slots__ = ("made_by",)

    def __init__(self, made_by: Global) -> None:
        self.made_by = made_by

    def __str__(self) -> str:
        return str(self.made_by)


_SET = Global("builtins", "set")

Function = Callable[[tuple[Any, ...]], Any]


def read_pickle(
    data: bytes,
    position: int = 0,
    *,
    functions: Mapping[tuple[str, str], Function] | None = None,
    persistent: Function | None = None,
) -> tuple[Any, int]:
    """Interpret one pickle of protocol 2 to 5.

    Parameters
    ----------
    data : bytes
    position : int
        Where the pickle begins.
    functions : mapping of (module, name) to callable
        What to do in place of calling that name; each takes the tuple of arguments. Other calls make an `Object`.
    persistent : callable, optional
        Turns a persistent id, a tuple, into a value.

    Returns
    -------
    tuple of object and int
        None, bool, int, float, str, bytes, tuple, list, dict, `Global`, `Object` and what `functions` and `persistent`
        return; and the position after the pickle. Keys of dicts that are not text are replaced by a bare ``object()``:
        a file could choose numbers that hash alike, and tuples too deep to hash.

    Raises
    ------
    ValueError
        The pickle is broken, or has an operation that a checkpoint does not need.

    Notes
    -----
    Memory and time are linear in the bytes read. The values may nest as deep as the file is long and refer to
    themselves, so they must not be compared, hashed, printed or walked without a bound.
    """
    machine = _Machine(data, position, functions or {}, persistent)
    return machine.run(), machine.position


def _broken(what: str) -> NoReturn:
    raise ValueError(f"its pickle {what}")


class _Machine:
    def __init__(
        self, data: bytes, position: int, functions: Mapping[tuple[str, str], Function], persistent: Function | None
    ) -> None:
        self.data = data
        self.position = position
        self.functions = functions
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: list[Any] = []
        self.budget = MAX_OPERATIONS

    def run(self) -> Any:
        if self.data[self.position : self.position + 1] != b"\x80":
            _broken("does not begin with a protocol")
        while True:
            self.spend(1)
            code = self.take(1)
            if code == b".":
                break
            operation = _OPERATIONS.get(code)
            if operation is None:
                _broken(f"has the operation {code!r} at byte {self.position - 1}, which no state dict needs")
            operation(self)
        value = self.pop()
        if self.stack or self.marked:
            _broken("leaves values behind")
        return value

    # -- reading -------------------------------------------------------------------------------------------------------

    def spend(self, operations: int) -> None:
        self.budget -= operations
        if self.budget < 0:
            _broken(f"takes more than {MAX_OPERATIONS:,} operations: save model.state_dict() alone")

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            _broken("ends early")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def counted(self, form: str) -> bytes:
        count = self.number(form)
        if count < 0:
            _broken("has a text of negative length")
        return self.take(count)

    def line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + 1000)
        if end < 0:
            _broken("has a name without an end")
        line = self.take(end + 1 - self.position)
        return line[:-1].decode()

    # -- the stack -----------------------------------------------------------------------------------------------------

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            _broken("takes from an empty stack")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack:
            _broken("looks at an empty stack")
        return self.stack[-1]

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        if not self.marked:
            _broken("misses a mark")
        items, self.stack = self.stack, self.marked.pop()
        return items

    def pop_or_mark(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def tuple_of(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def put(self, index: int) -> None:
        # Picklers number from 0 or 1 without gaps, so an index beyond the bytes read is broken, and padding is cheap.
        if index > self.position:
            _broken(f"remembers a value under {index}, further than it is long")
        value = self.top()
        self.memo.extend([_MISSING] * (index + 1 - len(self.memo)))
        self.memo[index] = value

    def get(self, index: int) -> None:
        value = self.memo[index] if index < len(self.memo) else _MISSING
        if value is _MISSING:
            _broken(f"recalls a value under {index} that it never remembered")
        self.push(value)

    # -- containers ----------------------------------------------------------------------------------------------------

    def append(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is list:
            target.extend(items)
        elif type(target) is not Object:
            _broken("appends to what is not a list")

    def set_items(self, items: list[Any]) -> None:
        target = self.top()
        if len(items) % 2:
            _broken("has a key without a value")
        if type(target) is dict:
            for key, value in zip(items[::2], items[1::2], strict=True):
                target[_key(key)] = value
        elif type(target) is not Object:
            _broken("sets items of what is not a dict")

    def add_items(self) -> None:
        self.pop_mark()
        if type(self.top()) is not Object:
            _broken("adds to what is not a set")

    def frozen_set(self) -> None:
        self.pop_mark()
        self.push(Object(_SET))

    def pair(self) -> list[Any]:
        value, key = self.pop(), self.pop()
        return [key, value]

    # -- names and calls -----------------------------------------------------------------------------------------------

    def name(self) -> None:
        self.push(Global(self.line(), self.line()))

    def name_from_stack(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            _broken("names a global by what is not text")
        self.push(Global(module, name))

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if type(arguments) is not tuple:
            _broken("calls with arguments that are not a tuple")
        # An Object too: what a call returned may be a class or a function.
        if type(function) not in (Global, Object):
            _broken("calls what is not a name")
        self.push(self.made(function, arguments))

    def made(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        if type(function) is Object:
            return Object(function.made_by)
        name = (function.module, function.name)
        if name in _DICTS:
            return self.made_dict(arguments)
        ours = self.functions.get(name)
        return Object(function) if ours is None else ours(arguments)

    def made_dict(self, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        """Python 2 pickled an OrderedDict as a list of pairs; a defaultdict begins with its factory."""
        made: dict[Any, Any] = {}
        if arguments and type(arguments[0]) is list:
            self.spend(len(arguments[0]))
            for pair in arguments[0]:
                if type(pair) not in (list, tuple) or len(pair) != 2:
                    _broken("makes a dict of what are not pairs")
                made[_key(pair[0])] = pair[1]
        return made

    def call_with_keywords(self) -> None:
        self.pop()
        self.call()

    def build(self) -> None:
        self.pop()
        self.top()

    def persistent_value(self) -> None:
        key = self.pop()
        if self.persistent is None or type(key) is not tuple:
            _broken("refers to a storage in a form that PyTorch does not write")
        self.push(self.persistent(key))

    def protocol(self) -> None:
        if not 2 <= (protocol := self.number("B")) <= 5:
            _broken(f"has the protocol {protocol}, not 2 to 5")


def _key(key: object) -> object:
    """Text, or a key that is equal to no other; see the notes of :func:`read_pickle`."""
    return key if type(key) is str else object()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _text_of_python_2(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


_Operation = Callable[[_Machine], object]

#: What a pickler of protocol 2 to 5 writes, without LONG4, extension codes, and buffers outside the stream.
_OPERATIONS: Mapping[bytes, _Operation] = {
    b"\x80": _Machine.protocol,
    b"\x95": lambda m: m.take(8),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push(m.number("B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"\x8a": lambda m: m.push(int.from_bytes(m.counted("B"), "little", signed=True)),
    b"G": lambda m: m.push(m.number(">d")),
    b"X": lambda m: m.push(_text(m.counted("<I"))),
    b"\x8c": lambda m: m.push(_text(m.counted("B"))),
    b"\x8d": lambda m: m.push(_text(m.counted("<Q"))),
    b"T": lambda m: m.push(_text_of_python_2(m.counted("<i"))),
    b"U": lambda m: m.push(_text_of_python_2(m.counted("B"))),
    b"B": lambda m: m.push(m.counted("<I")),
    b"C": lambda m: m.push(m.counted("B")),
    b"\x8e": lambda m: m.push(m.counted("<Q")),
    b"\x96": lambda m: m.push(m.counted("<Q")),
    b")": lambda m: m.push(()),
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"t": lambda m: m.push(tuple(m.pop_mark())),
    b"]": lambda m: m.push([]),
    b"a": lambda m: m.append([m.pop()]),
    b"e": lambda m: m.append(m.pop_mark()),
    b"}": lambda m: m.push({}),
    b"s": lambda m: m.set_items(m.pair()),
    b"u": lambda m: m.set_items(m.pop_mark()),
    b"\x8f": lambda m: m.push(Object(_SET)),
    b"\x90": _Machine.add_items,
    b"\x91": _Machine.frozen_set,
    b"(": _Machine.mark,
    b"0": _Machine.pop_or_mark,
    b"1": _Machine.pop_mark,
    b"q": lambda m: m.put(m.number("B")),
    b"r": lambda m: m.put(m.number("<I")),
    b"\x94": lambda m: m.put(len(m.memo)),
    b"h": lambda m: m.get(m.number("B")),
    b"j": lambda m: m.get(m.number("<I")),
    b"c": _Machine.name,
    b"\x93": _Machine.name_from_stack,
    b"R": _Machine.call,
    b"\x81": _Machine.call,
    b"\x92": _Machine.call_with_keywords,
    b"b": _Machine.build,
    b"Q": _Machine.persistent_value,
}
