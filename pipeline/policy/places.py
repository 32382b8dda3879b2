"""Where in a policy file a word stands, so that whatever is wrong with it is said with line and column."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from pipeline.errors import ConfigError

Path = tuple[str | int, ...]
"""Keys and indices from the top: `("rules", 2, "when")`."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Line and column, both from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `subject`: the part of the policy that it concerns; empty for the file as a whole."""

    why: str
    place: Place | None = None
    subject: str = ""

    def __str__(self) -> str:
        return ": ".join(str(part) for part in (self.place, self.subject, self.why) if part)


class BadPolicy(ConfigError):
    """A policy file that is refused, with everything that was found to be wrong with it."""

    def __init__(self, origin: str, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(f"policy {origin}: {problem}" for problem in problems))
        self.origin = origin
        self.problems = problems


class Places:
    """A file's content, and where each part of it stands."""

    def __init__(self, text: str, origin: str) -> None:
        """Raises BadPolicy when `text` is no YAML. `origin` is named in errors."""
        self._text = text
        self._nodes: dict[Path, yaml.Node] = {}
        self._keys: dict[Path, yaml.Node] = {}
        try:
            loader = _Loader(text)
        except yaml.reader.ReaderError as error:
            place = Place(text.count("\n", 0, error.position) + 1, error.position - text.rfind("\n", 0, error.position))
            why = f"{chr(error.character)!r} is no character of YAML"
            raise BadPolicy(origin, (Problem(why, place),)) from None
        try:
            root = loader.get_single_node()
            if root is not None:
                self._walk((), root, set())
            self.content: Any = None if root is None else loader.construct_document(root)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            why = error.problem or "is no YAML"
            raise BadPolicy(origin, (Problem(why, _place(mark) if mark else None),)) from None
        except yaml.YAMLError as error:
            raise BadPolicy(origin, (Problem(str(error)),)) from None
        except RecursionError:
            raise BadPolicy(origin, (Problem("nested too deeply"),)) from None
        finally:
            loader.dispose()

    def of(self, path: Path, offset: int | None = None) -> Place | None:
        """Where a value stands, or what is nearest to it; `offset`: so many characters into a text."""
        while path and path not in self._nodes:
            path, offset = path[:-1], None
        node = self._nodes.get(path)
        if node is None:
            return None
        if offset is not None and isinstance(node, yaml.ScalarNode):
            return self._inside(node, offset)
        return _place((self._keys.get(path) or node).start_mark)

    def _inside(self, node: yaml.ScalarNode, offset: int) -> Place:
        """Folding joins lines and changes white space: the rest of the characters is counted."""
        wanted = len(re.sub(r"\s", "", node.value[:offset]))
        last = node.start_mark.index
        for seen, i in enumerate(self._solid(node)):
            last = i
            if seen == wanted:
                break
        return Place(self._text.count("\n", 0, last) + 1, last - self._text.rfind("\n", 0, last))

    def _solid(self, node: yaml.ScalarNode) -> Iterator[int]:
        """Where the characters of a text stand that are no white space, in their order."""
        text, i, end = self._text, node.start_mark.index, node.end_mark.index
        while found := _PROPERTY.match(text, i, end):
            i = found.end()
        pattern = _WRITTEN.get(node.style or "", _PLAIN)
        if node.style in ("|", ">"):
            i = text.index("\n", i) + 1
        elif node.style:
            i, end = i + 1, end - 1
        for found in pattern.finditer(text, i, end):
            if not (found[0].isspace() or found[0] in _ESCAPED_SPACE):
                yield found.start()

    def _walk(self, path: Path, node: yaml.Node, above: set[int]) -> None:
        self._nodes[path] = node
        if len(self._nodes) > _MOST:  # anchors within anchors: a page that stands for gigabytes
            raise yaml.YAMLError("says more than a policy can say")
        if id(node) in above:  # an anchor that contains itself
            return
        above = above | {id(node)}
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    self._keys[(*path, key.value)] = key
                    self._walk((*path, key.value), value, above)
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(node.value):
                self._walk((*path, i), value, above)


_MOST = 100_000
"""Values in a file; the default policy has a few hundred."""

_PROPERTY = re.compile(r"[&!]\S*\s+")
_PLAIN = re.compile(r".", re.DOTALL)
_WRITTEN = {"'": re.compile(r"''|.", re.DOTALL), '"': re.compile(r"\\(?:x..|u.{4}|U.{8}|.)|.", re.DOTALL)}
"""How one character of a quoted text is written: doubled quotes, escapes."""
_ESCAPED_SPACE = frozenset({r"\t", "\\\t", r"\n", r"\v", r"\f", r"\r", "\\ ", r"\N", r"\_", r"\L", r"\P", "\\\n"})


def _place(mark: yaml.Mark) -> Place:
    return Place(mark.line + 1, mark.column + 1)


class _Loader(yaml.SafeLoader):
    """YAML without two of its traps: a key that is given twice, and `NO` (Norway) or `on` as a truth value."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys differ."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), ["t", "f"])
