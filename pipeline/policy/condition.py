"""Conditions in CEL, the Common Expression Language: text → checked against the fields → true or false of an upload.

The one door to the CEL library. Text is type-checked before it is ever evaluated, so what can still fail is to look up
a key that is not there: such a condition does not hold, and says why.

Source: the CEL specification, https://github.com/cel-expr/cel-spec.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from cel_expr_python import cel

from pipeline.events.values import Family
from pipeline.policy.fields import Field, Kind, Value
from pipeline.policy.regions import INSTEAD

_TYPES = {
    Kind.NUMBER: cel.Type.DOUBLE,
    Kind.TEXT: cel.Type.STRING,
    Kind.FLAG: cel.Type.BOOL,
    Kind.TEXTS: cel.Type.List(cel.Type.STRING),
    Kind.PAIRS: cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
    Kind.MOMENT: cel.Type.TIMESTAMP,
}


class Token(NamedTuple):
    """A piece of a condition. `kind`: name (dotted), number, string, operator. `offset`: characters from the start."""

    kind: str
    text: str
    offset: int


@dataclass(frozen=True, slots=True)
class NoCondition:
    """Why a text is no condition, and where: characters from its start, None for the whole."""

    why: str
    offset: int | None


class Comparison(NamedTuple):
    """`face_swap.probability >= 0.83`: what the words of a reason and the trace point at."""

    family: Family
    threshold: float


@dataclass(frozen=True, slots=True)
class Held:
    """Whether a condition holds. `error`: why it could not be answered; it does not hold then."""

    yes: bool
    error: str | None = None


_YES, _NO = Held(True), Held(False)


@dataclass(frozen=True, slots=True)
class Condition:
    """A checked condition. `written`: with definitions and thresholds put in. `fields`: those that it then uses."""

    text: str
    written: str
    fields: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    _program: Any
    _offsets: tuple[int, ...] = ()

    def offset(self, of_written: int) -> int:
        """Where in `text` the character stands that is so far into `written`."""
        return self._offsets[of_written]

    def holds(self, seen: Activation) -> Held:
        """Whether it is true of an upload. Never raises."""
        try:
            value = self._program.eval(seen.values).value()
        except RuntimeError as error:  # what the library raises for a key that is not there, or a bad pattern
            return Held(False, _tidy(str(error)))
        if not isinstance(value, bool):
            return Held(False, _tidy(str(value)))
        return _YES if value else _NO


@dataclass(frozen=True, slots=True)
class Activation:
    """The values of fields for one upload, in the form in which conditions read them."""

    values: Any


class Language:
    """The fields, thresholds and definitions that conditions may speak of.

    Thresholds are read as `threshold.<name>`, definitions as `is.<name>`.
    """

    def __init__(
        self,
        fields: Mapping[str, Field],
        thresholds: Mapping[str, float] = {},
        define: Mapping[str, str] = {},
    ) -> None:
        self._fields = fields
        self._thresholds = {f"threshold.{name}": value for name, value in thresholds.items()}
        self._define = {f"is.{name}": text for name, text in define.items()}
        self._known = (*fields, *self._thresholds, *self._define)
        types = {name: _TYPES[field.kind] for name, field in fields.items()}
        self._env = cel.NewEnv(variables=types)

    def compile(self, text: str) -> Condition | NoCondition:
        """The condition that `text` describes, or where and why it is none.

        Definitions and thresholds are put in before the library sees the text: the text that it checks is kept in step
        with the one that was written, so that errors point into the latter.
        """
        written, offsets = self._expanded(text)
        if wrong := self._unknown(text):
            return wrong
        try:
            program = self._env.compile(written)
        except RuntimeError as error:
            return self._refused(str(error), text, written, offsets)
        if program.return_type() != cel.Type.BOOL:
            return NoCondition("is no condition: it yields a value, not true or false", 0)
        if odd := self._never_said(written) or self._no_pattern(written):
            why, at = odd
            return NoCondition(why, offsets[at])
        used = dict.fromkeys(self.field(token.text) for token in tokens(written) if token.kind == "name")
        return Condition(
            text, written, tuple(name for name in used if name), self._comparisons(written), program, tuple(offsets)
        )

    def see(self, values: Mapping[str, Value]) -> Activation:
        """Values of fields, ready to be read by this language's conditions."""
        return Activation(self._env.Activation(dict(values)))

    def field(self, name: str) -> str | None:
        """The field that a dotted name speaks of: itself, or what stands before a key or a method."""
        while name and name not in self._fields:
            name = name.rpartition(".")[0]
        return name or None

    def _expanded(self, text: str) -> tuple[str, list[int]]:
        """The text with definitions and thresholds put in, and for each of its characters the offset in `text`."""
        parts: list[str] = []
        offsets: list[int] = []
        done = 0

        def put(piece: str, at: list[int]) -> None:
            parts.append(piece)
            offsets.extend(at)

        for token in tokens(text):
            if token.kind != "name":
                continue
            instead = None
            if token.text in self._thresholds:
                instead = repr(float(self._thresholds[token.text]))
            elif token.text in self._define:
                instead = f"({self._expanded(self._define[token.text])[0]})" if self._plain(token.text) else None
            if instead is None:
                continue
            put(text[done : token.offset], list(range(done, token.offset)))
            put(instead, [token.offset] * len(instead))
            done = token.offset + len(token.text)
        put(text[done:], list(range(done, len(text))))
        return "".join(parts), offsets

    def _plain(self, name: str) -> bool:
        """Whether a definition speaks of no other one: they would have to be ordered, and could go in circles."""
        return not any(t.kind == "name" and t.text in self._define for t in tokens(self._define[name]))

    def _unknown(self, text: str) -> NoCondition | None:
        """Dotted names that nobody knows, with what was probably meant: said better than the library says it."""
        for token in tokens(text):
            if token.text in self._define and not self._plain(token.text):
                return NoCondition(f"{token.text!r} speaks of another definition; write that out", token.offset)
            if token.kind != "name" or token.text in self._known:
                continue
            if "." not in token.text or token.text.split(".")[0] in _local(text) or self.field(token.text):
                continue
            meant = closest(token.text, self._known)
            hint = f"; did you mean {meant!r}?" if meant else ""
            return NoCondition(f"there is no field {token.text!r}{hint}", token.offset)
        return None

    def _never_said(self, written: str) -> tuple[str, int] | None:
        """A text that is compared with a field which never holds it, and where."""
        said = tokens(written)
        closed = {name: field for name, field in self._fields.items() if field.values}
        for i, token in enumerate(said):  # upload.purposes.exists(p, p == 'satire')
            over, _, macro = token.text.rpartition(".")
            if token.kind == "name" and macro in _MACROS and over in closed and len(said) > i + 2:
                closed[said[i + 2].text] = closed[over]
        for i, token in enumerate(said):
            field = closed.get(token.text) if token.kind == "name" else None
            if field is None:
                continue
            for text in _compared(said, i):
                value = literal(text.text)
                if value not in field.values:
                    meant = closest(value, field.values)
                    if INSTEAD.get(value) in field.values:
                        meant = INSTEAD[value]
                    hint = f"; did you mean {meant!r}?" if meant else ""
                    if len(field.values) <= _LISTED:
                        hint += f" It is one of {', '.join(repr(each) for each in field.values)}"
                    return f"{field.name!r} is never {value!r}{hint}", text.offset
        return None

    def _no_pattern(self, written: str) -> tuple[str, int] | None:
        """A pattern that is none, and where: the library would only say so when it meets an upload."""
        said = tokens(written)
        for name, bracket, pattern in zip(said, said[1:], said[2:], strict=False):
            if name.text.endswith("matches") and bracket.text == "(" and pattern.kind == "string":
                tried = Condition("", "", (), (), self._env.compile(f"''.matches({pattern.text})"))
                if error := tried.holds(self.see({})).error:
                    return f"{pattern.text} is no pattern: {error}", pattern.offset
        return None

    def _refused(self, error: str, text: str, written: str, offsets: list[int]) -> NoCondition:
        found = _REFUSAL.search(error)
        if found is None:
            return NoCondition(_tidy(error), None)
        lines = written.split("\n")
        at = sum(len(line) + 1 for line in lines[: int(found["line"]) - 1]) + int(found["column"]) - 1
        offset = offsets[at] if at < len(offsets) else max(0, len(text) - 1)
        why = found["why"]
        if name := re.search(r"undeclared reference to '([^']+)'", why):
            meant = closest(name[1], self._known)
            why = f"there is no field {name[1]!r}" + (f"; did you mean {meant!r}?" if meant else "")
        elif why.startswith("Syntax error"):
            why = re.sub(r" expecting \{.*", "", why.replace("'<EOF>'", "end"))
        elif "'(double, int)'" in why or "'(int, double)'" in why:
            why = "numbers are written with a point here: 3.0 instead of 3"
        return NoCondition(why, offset)

    def _comparisons(self, written: str) -> tuple[Comparison, ...]:
        found = [t for t in tokens(written) if t.text not in "()"]
        pairs = []
        for name, operator, number in zip(found, found[1:], found[2:], strict=False):
            family, _, what = name.text.partition(".")
            signal = name.text in self._fields and what == "probability"
            if signal and operator.text in (">=", ">") and number.kind == "number":
                pairs.append(Comparison(Family(family), float(number.text)))
        return tuple(dict.fromkeys(pairs))


_LISTED = 20
"""So many values of a field are listed in an error."""

_MACROS = ("all", "exists", "exists_one", "filter", "map")

_TOKEN = re.compile(
    r"""(?P<string>[rR]?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))"""
    r"""|(?P<number>0x[0-9a-fA-F]+|\d*\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\d+)"""
    r"""|(?P<name>[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*)*)"""
    r"""|(?P<comment>//[^\n]*)"""
    r"""|(?P<operator>>=|<=|==|!=|&&|\|\||[^\s\w])""",
    re.DOTALL,
)
_REFUSAL = re.compile(r"ERROR: <input>:(?P<line>\d+):(?P<column>\d+): (?P<why>[^\n]*)")


def tokens(text: str) -> tuple[Token, ...]:
    """The pieces of a condition, comments left out."""
    return tuple(
        Token(
            str(found.lastgroup), re.sub(r"\s", "", found[0]) if found.lastgroup == "name" else found[0], found.start()
        )
        for found in _TOKEN.finditer(text)
        if found.lastgroup != "comment"
    )


def closest(name: str, known: tuple[str, ...]) -> str | None:
    """The known name that was probably meant."""
    from difflib import get_close_matches  # only where something is wrong

    return next(iter(get_close_matches(name, known, n=1, cutoff=0.6)), None)


def _local(text: str) -> frozenset[str]:
    """Names that macros bind: `r` in `upload.regions.exists(r, …)`."""
    return frozenset(re.findall(rf"\.\s*(?:{'|'.join(_MACROS)})\s*\(\s*(\w+)\s*,", text))


def literal(text: str) -> str:
    """The text that a string literal stands for; CEL writes it as Python does, but for two escapes."""
    plain = text if text[0] in "rR" else re.sub(r"\\([?`])", r"\1", text)
    return str(ast.literal_eval(plain))


def _compared(said: tuple[Token, ...], i: int) -> Iterable[Token]:
    """The string literals that the name at `i` is compared with."""
    before, after = said[max(0, i - 2) : i], said[i + 1 :]
    if len(before) == 2 and before[0].kind == "string" and before[1].text in ("==", "!=", "in"):
        yield before[0]
    if len(after) > 1 and after[0].text in ("==", "!=") and after[1].kind == "string":
        yield after[1]
    if len(after) > 1 and (after[0].text, after[1].text) == ("in", "["):
        for token in after[2:]:
            if token.text == "]":
                return
            if token.kind == "string":
                yield token


def _tidy(error: str) -> str:
    return re.sub(r"\s*\[[A-Z_]+\]\s*$|^[A-Z_]+: ", "", error.split("\n")[0])
