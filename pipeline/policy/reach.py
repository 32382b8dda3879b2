"""What can be true of uploads at once, as far as conditions can tell them apart: the ground for saying that a rule can
never hold, or that two rules always hold together.

A condition is taken apart at `&&`, `||` and `!` into its smallest parts (`face_swap.probability >= 0.8`). Such a part
tells few uploads apart: those below the number, at it, above it, and those that nobody judged. One upload of each kind
is tried. A part in a form that cannot be represented so (a pattern, a sum, a time of day) counts as true or false as
it likes: more uploads are thought possible than there are, so "never" and "always" are proofs, "sometimes" is none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from typing import NamedTuple

from pipeline.events.values import CredentialState, Family, Relation
from pipeline.policy.condition import Condition, Language, Token, literal, tokens
from pipeline.policy.fields import FIELDS, Field, Kind, Value, neutral, spoken

MOST = 20_000
"""So many kinds of uploads are looked at before giving up: a second or so."""

Truth = bool | None
"""None: it cannot be answered (a key that is not there)."""


class TooMany(Exception):
    """There are more kinds of uploads than are looked at: nothing is proved."""


# --- conditions, taken apart -----------------------------------------------------------------------------------------


class Leaf(NamedTuple):
    """A part without `&&`, `||`, `!`, its pieces set apart by spaces. `offset`: where it begins in what was written."""

    text: str
    offset: int


class Not(NamedTuple):
    """`!part`."""

    part: Formula


class All(NamedTuple):
    """`a && b && …`."""

    parts: tuple[Formula, ...]


class Some(NamedTuple):
    """`a || b || …`."""

    parts: tuple[Formula, ...]


Formula = Leaf | Not | All | Some


@lru_cache(maxsize=4096)
def formula(written: str) -> Formula:
    """A condition as written out, taken apart."""
    return _parsed(tokens(written))


def leaves(of: Formula, negated: bool = False) -> Iterator[tuple[Leaf, bool]]:
    """The smallest parts, each with whether it stands under an odd number of `!`."""
    match of:
        case Leaf():
            yield of, negated
        case Not(part):
            yield from leaves(part, not negated)
        case All(parts) | Some(parts):
            for part in parts:
                yield from leaves(part, negated)


def truth(of: Formula, known: Mapping[str, Truth]) -> Truth:
    """Whether it holds, as CEL says: what cannot be answered matters only where the rest leaves it open."""
    match of:
        case Leaf(text, _):
            return known[text]
        case Not(part):
            inner = truth(part, known)
            return None if inner is None else not inner
        case All(parts):
            found = [truth(part, known) for part in parts]
            return False if False in found else None if None in found else True
        case Some(parts):
            found = [truth(part, known) for part in parts]
            return True if True in found else None if None in found else False


def _parsed(said: Sequence[Token]) -> Formula:
    while len(said) > 1 and said[0].text == "(" and _closing(said, 0) == len(said) - 1:
        said = said[1:-1]
    outside = [i for i, depth in enumerate(_depths(said)) if depth == 0]
    if not any(said[i].text == "?" for i in outside):
        kinds: tuple[tuple[str, type[Some] | type[All]], ...] = (("||", Some), ("&&", All))
        for operator, kind in kinds:
            cuts = [-1, *(i for i in outside if said[i].text == operator), len(said)]
            if len(cuts) > 2:
                pieces = (said[a + 1 : b] for a, b in pairwise(cuts))
                return kind(tuple(_parsed(piece) for piece in pieces))
        if said[0].text == "!" and not any(said[i].text in _COMPARING for i in outside):
            rest = next(i for i, token in enumerate(said) if token.text != "!")
            return Not(_parsed(said[rest:])) if rest % 2 else _parsed(said[rest:])
    return Leaf(" ".join(token.text for token in said), said[0].offset)


_COMPARING = frozenset({"==", "!=", "<", "<=", ">", ">=", "in", "+", "-", "*", "/", "%"})


def _depths(said: Sequence[Token]) -> Iterator[int]:
    depth = 0
    for token in said:
        depth -= token.text in ")]}"
        yield depth + (token.text in ")]}")
        depth += token.text in "([{"


def _closing(said: Sequence[Token], opening: int) -> int:
    depth = 0
    for i in range(opening, len(said)):
        depth += (said[i].text in "([{") - (said[i].text in ")]}")
        if depth == 0:
            return i
    return len(said)


# --- kinds of uploads ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class World:
    """A kind of upload: what is true of it of every part, and one example."""

    known: Mapping[str, Truth]
    example: Mapping[str, Value]

    def holds(self, condition: Condition) -> bool:
        """Whether the condition holds; what cannot be answered does not."""
        return truth(formula(condition.written), self.known) is True

    def maybe(self, condition: Condition) -> bool:
        """Whether it holds or cannot be answered."""
        return truth(formula(condition.written), self.known) is not False

    def told(self) -> str:
        """The example in words: `face_swap.probability = 0.83, upload.surface = 'ad'`."""
        parts = ((name, spoken(value)) for name, value in self.example.items())
        return ", ".join(f"{name} = {value!r}" for name, value in parts if value not in (None, "", False))


@dataclass(frozen=True, slots=True)
class Group:
    """Fields that depend on each other, or parts that speak of several of them: to be tried together."""

    fields: tuple[str, ...]
    parts: tuple[str, ...]
    points: tuple[tuple[tuple[Value, ...], tuple[Truth, ...]], ...]

    def kinds(self) -> Iterator[tuple[tuple[Value, ...], tuple[Truth, ...]]]:
        """One point of those that no part tells apart."""
        yield from {truths: (values, truths) for values, truths in reversed(self.points)}.values()


@dataclass(frozen=True, slots=True)
class Space:
    """All that can be true of some conditions. `groups` do not depend on each other."""

    groups: tuple[Group, ...]

    def __iter__(self) -> Iterator[World]:
        """Every kind of upload. Raises TooMany."""
        kinds = [tuple(group.kinds()) for group in self.groups]
        if math.prod(len(each) for each in kinds) > MOST:
            raise TooMany
        for choice in product(*kinds):
            yield world(self.groups, choice)


def world(groups: Sequence[Group], points: Sequence[tuple[tuple[Value, ...], tuple[Truth, ...]]]) -> World:
    """The kind of upload that one point of every group makes."""
    known: dict[str, Truth] = {}
    example: dict[str, Value] = {}
    for group, (values, truths) in zip(groups, points, strict=True):
        known.update(zip(group.parts, truths, strict=True))
        example.update(zip(group.fields, values, strict=True))
    return World(known, example)


def space(
    language: Language,
    conditions: Iterable[Condition],
    only: Mapping[str, tuple[Value, ...]] = {},
    besides: Mapping[str, tuple[float, ...]] = {},
) -> Space:
    """All that can be true of these conditions.

    Args:
        language: in which they are written.
        only: fields that hold nothing but these values.
        besides: numbers that are tried beside those that the conditions name, also of fields that they do not name but
            that depend on those.

    Raises:
        TooMany: they speak of too much at once.
    """
    parts = {leaf.text: None for each in conditions for leaf, _ in leaves(formula(each.written))}
    compiled = {part: language.compile(part) for part in parts}
    shapes = {part: _shape(part, language) for part in parts}
    groups = _Groups()
    free: list[str] = []
    for part, shape in shapes.items():
        condition = compiled[part]
        fields = condition.fields if isinstance(condition, Condition) else ()
        if isinstance(condition, Condition) and (_EXACT.fullmatch(shape) or all(name in only for name in fields)):
            groups.join(fields, part)
        else:
            free.append(part)
    for name in besides:
        groups.widen(name)
    exact = [part for part in parts if part not in free]
    named = _named([tokens(part) for part in exact], language)
    made = []
    for fields, own in groups.apart():
        points = _points(fields, named, only, besides)
        tried = [compiled[part] for part in own]
        judge = [each for each in tried if isinstance(each, Condition)]
        made.append(Group(fields, own, tuple((p, _truths(language, judge, fields, p)) for p in points)))
    made += [Group((), (part,), (((), (True,)), ((), (False,)))) for part in free]
    return Space(tuple(made))


def _truths(
    language: Language, parts: Sequence[Condition], fields: Sequence[str], values: Sequence[Value]
) -> tuple[Truth, ...]:
    seen = language.see(dict(zip(fields, values, strict=True)))
    found = [part.holds(seen) for part in parts]
    return tuple(None if each.error else each.yes for each in found)


class _Groups:
    """Fields that were joined, with the parts that speak of them."""

    def __init__(self) -> None:
        self._sets: list[tuple[set[str], list[str]]] = []

    def join(self, fields: Sequence[str], part: str) -> None:
        wanted = set(fields)
        touched = [each for each in self._sets if any(_depend(a, b) for a in each[0] for b in wanted)]
        for names, _parts in touched:
            wanted |= names
        merged = [known for _, parts in touched for known in parts]
        self._sets = [each for each in self._sets if each not in touched]
        self._sets.append((wanted, [*merged, part]))

    def widen(self, name: str) -> None:
        for fields, _ in self._sets:
            if any(_depend(name, other) for other in fields):
                fields.add(name)

    def apart(self) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
        for fields, parts in self._sets:
            yield tuple(sorted(fields)), tuple(parts)


def _depend(a: str, b: str) -> bool:
    """Whether what one field holds says anything of the other."""
    about = a.partition(".")[0]
    return a == b or (about == b.partition(".")[0] and about in _RULES)


def falls(
    found: Space, fields: Sequence[str], follows: Callable[[Partial], bool], acts: Callable[[World], bool]
) -> tuple[World, World] | None:
    """Two kinds of uploads that differ in one of these numbers alone, of which only the one with less of it acts.

    `follows`: whether what depends on the number by definition is as it must be; such fields may differ as well.
    """
    for i, group in enumerate(found.groups):
        others = [tuple(each.kinds()) for each in (*found.groups[:i], *found.groups[i + 1 :])]
        for name in (name for name in fields if name in group.fields):
            at = group.fields.index(name)
            free = [j for j, each in enumerate(group.fields) if j != at and not each.endswith(".abstained")]
            rising: dict[str, list[tuple[tuple[Value, ...], tuple[Truth, ...]]]] = {}
            for point in group.points:
                if follows(dict(zip(group.fields, point[0], strict=True))) and not math.isnan(float(point[0][at])):  # type: ignore[arg-type]
                    rising.setdefault(repr([point[0][j] for j in free]), []).append(point)
            steps = {
                (low[1], high[1]): (low, high)
                for points in rising.values()
                for low, high in pairwise(sorted(points, key=lambda point: float(point[0][at])))  # type: ignore[arg-type]
                if low[1] != high[1]
            }
            if len(steps) * math.prod(len(each) for each in others) > MOST:
                raise TooMany
            for (low, high), rest in product(steps.values(), product(*others)):
                before = world(found.groups, (*rest[:i], low, *rest[i:]))
                after = world(found.groups, (*rest[:i], high, *rest[i:]))
                if acts(before) and not acts(after):
                    return before, after
    return None


def vague(condition: Condition, language: Language) -> tuple[str, ...]:
    """Its parts in a form that values cannot represent."""
    parts = (leaf.text for leaf, _ in leaves(formula(condition.written)))
    return tuple(part for part in dict.fromkeys(parts) if not _EXACT.fullmatch(_shape(part, language)))


def blind(condition: Condition, language: Language) -> Iterator[tuple[str, int]]:
    """Numbers that may be unknown and are negated, with where in the text: what nobody knows is then as good as low."""
    for leaf, negated in leaves(formula(condition.written)):
        unequal = any(token.text == "!=" for token in tokens(leaf.text))
        for token in tokens(leaf.text):
            name = language.field(token.text) if token.kind == "name" else None
            if name and FIELDS[name].kind is Kind.NUMBER and not FIELDS[name].known and negated is not unequal:
                yield name, condition.offset(leaf.offset)


# --- parts that a few values represent -------------------------------------------------------------------------------

_CODES = {
    Kind.NUMBER: "n",
    Kind.TEXT: "t",
    Kind.FLAG: "f",
    Kind.TEXTS: "l",
    Kind.PAIRS: "m",
    Kind.MOMENT: "d",
}

_COMPARE = "(==|!=|<|<=|>|>=)"
_EQUAL = "(==|!=)"
_TEXTS = r"\[ s( , s)* \]"
_EXACT = re.compile(
    "|".join(
        (
            f"n {_COMPARE} (- )?1",
            f"(- )?1 {_COMPARE} n",
            f"n {_COMPARE} n",
            f"t {_EQUAL} s",
            f"s {_EQUAL} t",
            f"t in {_TEXTS}",
            "f",
            f"f {_EQUAL} b",
            f"f {_EQUAL} f",
            "s in l",
            rf"l {_EQUAL} \[ \]",
            r"l\.exists \( v , v == s \)",
            rf"l\.exists \( v , v in {_TEXTS} \)",
            r"l\.size \( \) (==|!=|>) 0",
            r"size \( l \) (==|!=|>) 0",
            "s in m",
            rf"m\.k {_EQUAL} s",
            rf"m \[ s \] {_EQUAL} s",
            rf"m\.k in {_TEXTS}",
            "b",
        )
    )
)
"""Forms of parts whose truth the values below decide; n: a number field, 1: a number, t: a text field, s: a text, …"""


def _shape(part: str, language: Language) -> str:
    return " ".join(_code(token, language) for token in tokens(part))


def _code(token: Token, language: Language) -> str:
    if token.kind == "string":
        return "s"
    if token.kind == "number":
        return "0" if token.text == "0" else "1"
    if token.kind != "name" or token.text in ("in", "size"):
        return token.text
    if token.text in ("true", "false"):
        return "b"
    name = language.field(token.text)
    if name is None:
        return "v" if "." not in token.text else "?"
    rest = token.text[len(name) :]
    code = _CODES[FIELDS[name].kind]
    return f"{code}.k" if code == "m" and rest.count(".") == 1 else f"{code}{rest}"


@dataclass(frozen=True, slots=True)
class _Named:
    """What parts name of a field: numbers, texts (those that always go together once), texts by key."""

    numbers: Mapping[str, set[float]]
    texts: Mapping[str, dict[str, frozenset[int]]]
    keys: Mapping[str, dict[str, set[str]]]


def _named(parts: Sequence[Sequence[Token]], language: Language) -> _Named:
    numbers: dict[str, set[float]] = {}
    texts: dict[str, dict[str, set[int]]] = {}
    keys: dict[str, dict[str, set[str]]] = {}
    for i, part in enumerate(parts):
        fields = [(language.field(token.text), token.text) for token in part if token.kind == "name"]
        sign = -1.0 if any(token.text == "-" for token in part) else 1.0
        said = [literal(token.text) for token in part if token.kind == "string"]
        for name, dotted in fields:
            if name is None:
                continue
            kind = FIELDS[name].kind
            if kind is Kind.NUMBER:
                mentioned = {sign * float(token.text) for token in part if token.kind == "number"}
                numbers.setdefault(name, set()).update(mentioned)
            elif kind is Kind.PAIRS:
                index = "[" in [token.text for token in part[:2]] or part[0].kind == "string"
                key, values = (said[0], said[1:]) if index else (dotted[len(name) + 1 :], said)
                keys.setdefault(name, {}).setdefault(key, set()).update(values)
            else:
                for each in said:
                    texts.setdefault(name, {}).setdefault(each, set()).add(i)
    frozen = {name: {text: frozenset(where) for text, where in each.items()} for name, each in texts.items()}
    return _Named(numbers, frozen, keys)


def _points(
    fields: Sequence[str],
    named: _Named,
    only: Mapping[str, tuple[Value, ...]],
    besides: Mapping[str, tuple[float, ...]],
) -> Iterator[tuple[Value, ...]]:
    numeric = [name for name in fields if FIELDS[name].kind is Kind.NUMBER]
    said = {number for name in numeric for number in (*named.numbers.get(name, ()), *besides.get(name, ()))}
    numbers = _numbers(said, [FIELDS[name] for name in numeric])
    choices = [
        only[name]
        if name in only
        else _within(FIELDS[name], numbers)
        if name in numeric
        else _values(FIELDS[name], named)
        for name in fields
    ]
    if math.prod(len(each) for each in choices) > MOST * 5:
        raise TooMany
    rules = {about: _RULES[about] for name in fields if (about := name.partition(".")[0]) in _RULES}
    for values in product(*choices):
        whole = dict(zip(fields, values, strict=True))
        if all(
            rule({name.partition(".")[2]: v for name, v in whole.items() if name.startswith(f"{about}.")})
            for about, rule in rules.items()
        ):
            yield values


def _numbers(named: Iterable[float], fields: Sequence[Field]) -> list[float]:
    """Every number that is named, the ends, and as many between two of them as there are fields to be told apart."""
    ends = [each.most for each in fields if math.isfinite(each.most)]
    marks = {0.0, *ends, *(number for number in named if number >= 0.0)}
    ordered = sorted({*marks, max((*marks, 1.0)) + 1.0})
    between = [
        a + (b - a) * step / (len(fields) + 1) for a, b in pairwise(ordered) for step in range(1, len(fields) + 1)
    ]
    return sorted((*ordered, *between))


def _within(field: Field, numbers: Iterable[float]) -> tuple[float, ...]:
    possible = tuple(number for number in numbers if number <= field.most)
    return possible if field.known else (*possible, math.nan)


_OTHER = "(other)"


def _values(field: Field, named: _Named) -> tuple[Value, ...]:
    match field.kind:
        case Kind.FLAG:
            return (False, True)
        case Kind.TEXT:
            said = named.texts.get(field.name, {})
            if field.values:
                rest = [value for value in field.values if value not in said]
                empty = [value for value in rest if value == ""]
                return (*said, *empty, *[value for value in rest if value != ""][:1])
            return tuple(dict.fromkeys(("", *said, _OTHER)))
        case Kind.TEXTS:
            groups = {where: text for text, where in named.texts.get(field.name, {}).items()}
            if len(groups) > _LISTED:
                raise TooMany
            apart = (*groups.values(), _OTHER)
            return tuple(
                [t for t, inside in zip(apart, each, strict=True) if inside]
                for each in product((False, True), repeat=len(apart))
            )
        case Kind.PAIRS:
            keys = named.keys.get(field.name, {})
            options = [
                [(key, None), (key, _OTHER), *((key, value) for value in values)] for key, values in keys.items()
            ]
            return tuple({key: value for key, value in each if value is not None} for each in product(*options))
    raise TooMany  # moments: no part that speaks of one is exact


_LISTED = 8
"""So many texts in a list that are told apart."""


# --- what fields say of each other -----------------------------------------------------------------------------------

Partial = Mapping[str, Value]
"""Fields of one kind without their common beginning, those that are in use."""


def _signal(values: Partial) -> bool:
    """low ≤ probability ≤ high, all three or none; judged means that they are there, missing that they are not."""
    numbers = [values[name] for name in ("low", "probability", "high") if name in values]
    if any(math.isnan(float(number)) for number in numbers):  # type: ignore[arg-type]
        bounds_only = "probability" not in values or math.isnan(float(values["probability"]))  # type: ignore[arg-type]
        if not (bounds_only and all(math.isnan(float(number)) for number in numbers)):  # type: ignore[arg-type]
            return False
    elif numbers != sorted(numbers):  # type: ignore[type-var]
        return False
    judged = values.get("judged")
    if numbers:
        there = not math.isnan(float(numbers[0]))  # type: ignore[arg-type]
        if judged is not None and judged is not there:
            return False
        judged = there
    if judged is False and (values.get("abstained") or values.get("supported")):
        return False
    return not (values.get("missing") and (judged or values.get("abstained")))


def _credentials(values: Partial) -> bool:
    """Without credentials nobody issued them."""
    there = values.get("state") not in ("", CredentialState.ABSENT.value, None) or "state" not in values
    return there or not any(value for name, value in values.items() if name != "state")


def _known(values: Partial) -> bool:
    """Only an acting bank knows a share of it, or the very bytes."""
    return values.get("banks") != [] or not (values.get("share") or values.get("exact"))


def _consent(values: Partial) -> bool:
    return not (values.get("given") and values.get("revoked"))


def _request(values: Partial) -> bool:
    """Where nobody asked, nothing was said."""
    return values.get("kind") != "" or not any(value for name, value in values.items() if name != "kind")


def _uploader(values: Partial) -> bool:
    """Of somebody unknown nothing is known."""
    rest = (value for name, value in values.items() if name != "known")
    return values.get("known") is not False or all(v is False or (isinstance(v, float) and math.isnan(v)) for v in rest)


def _media(values: Partial) -> bool:
    """What could not be read has no length and no size."""
    rest = (value for name, value in values.items() if name != "kind")
    return values.get("kind") != "" or all(isinstance(v, float) and math.isnan(v) for v in rest)


_RULES: Mapping[str, Callable[[Partial], bool]] = {
    **{family.value: _signal for family in Family},
    "credentials": _credentials,
    "known": _known,
    "consent": _consent,
    "request": _request,
    "uploader": _uploader,
    "media": _media,
}


# --- what nobody vouches for -----------------------------------------------------------------------------------------


def nobody_vouches() -> Mapping[str, tuple[Value, ...]]:
    """Facts as they are where nobody asked, consented, declared, signed or knew anything."""
    found = {name: (neutral(each),) for name, each in FIELDS.items() if each.evidence == "fact"}
    return {
        **found,
        "credentials.state": ("", CredentialState.ABSENT.value),
        "consent.relation": (Relation.UNKNOWN.value,),
    }


def not_judged(families: Iterable[Family]) -> Mapping[str, tuple[Value, ...]]:
    """Signals as they are where nobody looked for these."""
    names = tuple(f"{family.value}." for family in families)
    return {
        name: (neutral(each),) for name, each in FIELDS.items() if each.evidence == "signal" and name.startswith(names)
    }
