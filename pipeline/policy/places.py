"""Where in a policy file a word stands, so that whatever is wrong with it is said with line and column."""

from __future__ import annotations

import re
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


class Places:
    """A file's content, and where each part of it stands."""

    def __init__(self, text: str, origin: str) -> None:
        """Raises ConfigError when `text` is no YAML. `origin` is named in errors."""
        self._text = text
        self._nodes: dict[Path, yaml.Node] = {}
        self._keys: dict[Path, yaml.Node] = {}
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            self.content: Any = None if root is None else loader.construct_document(root)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            place = f"{Place(mark.line + 1, mark.column + 1)}: " if mark else ""
            raise ConfigError(f"policy {origin}: {place}{error.problem}") from None
        except yaml.YAMLError as error:
            raise ConfigError(f"policy {origin}: {error}") from None
        except RecursionError:
            raise ConfigError(f"policy {origin}: nested too deeply") from None
        finally:
            loader.dispose()
        if root is not None:
            self._walk((), root, set())

    def of(self, path: Path, offset: int | None = None) -> Place | None:
        """Where a value stands, or what is nearest to it; `offset`: so many characters into a text."""
        while path and path not in self._nodes and path not in self._keys:
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
        start, end = node.start_mark.index, node.end_mark.index
        if node.style in ("|", ">"):
            start = self._text.index("\n", start) + 1
        elif node.style:
            start += 1
        seen = 0
        for i in range(start, end):
            if self._text[i].isspace():
                continue
            if seen == wanted:
                line = self._text.count("\n", 0, i)
                return Place(line + 1, i - (self._text.rfind("\n", 0, i) + 1) + 1)
            seen += 1
        return _place(node.start_mark)

    def _walk(self, path: Path, node: yaml.Node, above: set[int]) -> None:
        self._nodes[path] = node
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
