"""Writes each chart's README.md: what it is (README.intro.md) and its values, from values.schema.json and values.yaml.

python charts/readme.py
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHARTS = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Row:
    """One key of the table."""

    key: str
    description: str
    allowed: str
    default: str


def rows(schema: dict[str, Any], values: Any) -> Iterator[Row]:
    """The leaves of a schema, depth first, with their defaults."""
    yield from _rows(schema, schema.get("$defs", {}), "", values)


def _rows(node: dict[str, Any], shared: dict[str, Any], key: str, value: Any) -> Iterator[Row]:
    if "$ref" in node:
        node = shared[node["$ref"].rsplit("/", 1)[1]] | {name: node[name] for name in node if name != "$ref"}
    children = node.get("properties")
    if not children or not isinstance(node.get("additionalProperties"), bool):
        yield Row(key, node.get("description", ""), _allowed(node), _shown(value))
        return
    for name, child in children.items():
        below = value.get(name) if isinstance(value, dict) else None
        yield from _rows(child, shared, f"{key}.{name}" if key else name, below)


def flat(values: Any, leaves: set[str], key: str = "") -> Iterator[tuple[str, Any]]:
    """The values at `leaves`; what is no leaf and holds nothing is left out."""
    if key in leaves or not isinstance(values, dict):
        yield key, values
        return
    for name, value in values.items():
        yield from flat(value, leaves, f"{key}.{name}" if key else name)


def _allowed(node: dict[str, Any]) -> str:
    if "enum" in node:
        return ", ".join(map(str, node["enum"]))
    bounds = [str(node[name]) for name in ("minimum", "maximum") if name in node]
    kind = node.get("type", "")
    return f"{kind} {' to '.join(bounds)}".strip() if kind == "integer" else str(kind)


def _shown(value: Any) -> str:
    return "" if value in ("", None) else f"`{json.dumps(value, ensure_ascii=False)}`"


def text(chart: Path) -> str:
    """The README's text."""
    schema = json.loads((chart / "values.schema.json").read_text())
    values = yaml.safe_load((chart / "values.yaml").read_text())
    lines = [(chart / "README.intro.md").read_text().rstrip(), "", "## Values", ""]
    lines += ["Written by `python charts/readme.py` from `values.schema.json` and `values.yaml`.", ""]
    lines += ["| key | what it is | allowed | default |", "|---|---|---|---|"]
    for row in rows(schema, values):
        cells = (f"`{row.key}`", row.description, row.allowed, row.default)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for found in sorted(CHARTS.glob("*/Chart.yaml")):
        (found.parent / "README.md").write_text(text(found.parent))
