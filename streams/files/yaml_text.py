"""YAML that people write. A name that stands twice in one place is told; YAML's own reader takes the last one."""

from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(text: str) -> tuple[Any, list[str]]:
    """What a text says, and a line for each name that it says twice. Raises `yaml.YAMLError`."""
    loader = _Loader(text)
    try:
        return loader.get_single_data(), loader.twice
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """Looks at mappings as they stand in the text: what is merged into them later may be said again."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.twice: list[str] = []

    def compose_mapping_node(self, anchor: Any) -> Any:
        node: Any = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                self.twice.append(
                    f"line {line}, {key.value} stands there twice, first in line {lines[name]}: only one of them would "
                    "count"
                )
            lines.setdefault(name, line)
        return node
