"""Columns that Django has none for."""

from __future__ import annotations

from typing import Any

from django.db import models


class ExactTextField(models.CharField):
    """Text compared byte for byte: VARBINARY on MySQL, whose text ignores trailing spaces."""

    def db_type(self, connection: Any) -> str | None:
        if connection.vendor == "mysql":
            assert self.max_length is not None
            return f"varbinary({self.max_length * 4})"
        return super().db_type(connection)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        value = super().get_db_prep_value(value, connection, prepared)
        return value.encode() if connection.vendor == "mysql" and isinstance(value, str) else value

    def from_db_value(self, value: Any, *_: Any) -> str | None:
        return value.decode() if isinstance(value, bytes) else value
