"""What pydantic finds wrong, field by field, without quoting what was given: it may be secret or private."""

from __future__ import annotations

from pydantic import ValidationError


def complaints(error: ValidationError) -> list[str]:
    """Return one line per fault: `temperature: Input should be less than or equal to 2`."""
    lines = []
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(map(str, detail["loc"]))
        lines.append(f"{where}: {detail['msg']}" if where else str(detail["msg"]))
    return lines
