"""The OpenAPI document as a page shows it: groups of operations with flat tables of fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]
METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    kind: str  # "string", "array of Order", "integer 1 to 500"
    required: bool
    place: str  # query, path or body; empty in an answer
    note: str


@dataclass(frozen=True, slots=True)
class Answer:
    status: str
    kind: str
    fields: list[Field]


@dataclass(frozen=True, slots=True)
class Operation:
    anchor: str
    method: str
    path: str
    summary: str
    description: str
    fields: list[Field]
    answers: list[Answer]


@dataclass(frozen=True, slots=True)
class Group:
    anchor: str
    name: str
    operations: list[Operation]


def outline(document: Schema) -> list[Group]:
    """The document's operations by their first tag, in the order of its list of tags."""
    reader = _Reader(document)
    groups: dict[str, list[Operation]] = {tag["name"]: [] for tag in document.get("tags", [])}
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                operation = reader.operation(path, method, item[method])
                groups.setdefault(item[method]["tags"][0], []).append(operation)
    return [
        Group(name.lower().replace(" ", "-"), name, operations)
        for name, operations in groups.items()
    ]


class _Reader:
    """Follows the document's references."""

    def __init__(self, document: Schema) -> None:
        self._schemas = document.get("components", {}).get("schemas", {})

    def operation(self, path: str, method: str, said: Schema) -> Operation:
        return Operation(
            anchor=said["operationId"],
            method=method.upper(),
            path=path,
            summary=said.get("summary", ""),
            description=said.get("description", ""),
            fields=[self._parameter(each) for each in said.get("parameters", [])]
            + self._body(said.get("requestBody")),
            answers=[
                self._answer(status, answer)
                for status, answer in said["responses"].items()
                if status != "default"
            ],
        )

    def _parameter(self, said: Schema) -> Field:
        return Field(
            name=said["name"],
            kind=self._kind(said["schema"]),
            required=said.get("required", False),
            place=said["in"],
            note=said.get("description", ""),
        )

    def _body(self, said: Schema | None) -> list[Field]:
        if said is None:
            return []
        return self._fields(_content(said), place="body")

    def _answer(self, status: str, said: Schema) -> Answer:
        schema = _content(said)
        kind = self._kind(schema) if schema else "no body"
        return Answer(status, kind, self._fields(schema))

    def _fields(self, schema: Schema, place: str = "") -> list[Field]:
        """The fields of an object, or of the objects of an array."""
        target = self._resolved(schema)
        if target.get("type") == "array":
            target = self._resolved(target["items"])
        required = target.get("required", [])
        return [
            Field(name, self._kind(each), name in required, place, self._note(each))
            for name, each in target.get("properties", {}).items()
        ]

    def _kind(self, schema: Schema) -> str:
        if "$ref" in schema:
            target = self._resolved(schema)
            return _choices(target) if "enum" in target else _name(schema)
        for combination in ("allOf", "oneOf", "anyOf"):
            if combination in schema:
                kinds = [self._kind(each) for each in schema[combination]]
                return " or ".join(kind for kind in kinds if kind)
        if schema.get("type") == "array":
            return f"array of {self._kind(schema['items'])}"
        if "enum" in schema:
            return _choices(schema)
        return f"{_scalar(schema)}{_range(schema)}{' or null' if schema.get('nullable') else ''}"

    def _note(self, schema: Schema) -> str:
        return schema.get("description", "")

    def _resolved(self, schema: Schema) -> Schema:
        return self._schemas[_name(schema)] if "$ref" in schema else schema


def _content(said: Schema) -> Schema:
    return said.get("content", {}).get("application/json", {}).get("schema", {})


def _name(reference: Schema) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _choices(schema: Schema) -> str:
    return " · ".join(str(choice) for choice in schema["enum"] if choice not in ("", None))


def _scalar(schema: Schema) -> str:
    readable = {"date-time": "time", "uuid": "id", "date": "date"}
    return readable.get(schema.get("format", "")) or str(schema.get("type", "any"))


def _range(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is None and most is None:
        return ""
    if most is None:
        return f" from {least}"
    if least is None:
        return f" up to {most}"
    return f" {least} to {most}"
