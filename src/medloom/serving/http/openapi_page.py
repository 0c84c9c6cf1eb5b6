"""The OpenAPI document as one plain page: no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from medloom.pages import head

__all__ = ["page"]

Json = dict[str, Any]


def page(document: Json) -> str:
    """Return HTML.

    Args:
        document: From ``document``.
    """
    info = document["info"]
    sections = "".join(_section(document, tag) for tag in document["tags"])
    return (
        f'<!doctype html><html lang="en">{head(info["title"])}<body><main>'
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])} For programs: "
        f'<a href="openapi.json">openapi.json</a>.</p>{sections}</main></body></html>'
    )


def _section(document: Json, tag: Json) -> str:
    found = "".join(
        _operation(method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if tag["name"] in operation["tags"]
    )
    return f"<h2>{escape(tag['description'])}</h2>{found}" if found else ""


def _operation(method: str, path: str, operation: Json) -> str:
    tables = "".join(_tables(operation))
    return (
        f'<details><summary><span class="method">{method.upper()}</span> <code>{escape(path)}</code> '
        f"{escape(operation['summary'])}</summary>{tables}</details>"
    )


def _tables(operation: Json) -> Iterator[str]:
    parameters = [(one["name"], one["in"], one.get("description", "")) for one in operation.get("parameters", ())]
    if parameters:
        yield _table(("Parameter", "in", ""), parameters)
    if "requestBody" in operation:
        kinds = ", ".join(operation["requestBody"]["content"])
        yield _table(("Body",), [(kinds,)])
    answers = [
        (status, answer["description"], ", ".join(answer.get("content", ())))
        for status, answer in sorted(operation["responses"].items())
    ]
    yield _table(("Status", "", "as"), answers)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    first = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f'<table class="words"><tr>{first}</tr>{body}</table>'
