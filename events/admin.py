"""The event log and the leases, for operators to look at and never to change."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from events.models import ChainHead, Cursor, Event, IdempotencyKey, Lease


def operator(request: HttpRequest) -> str:
    """How the event log names the member of staff who acts."""
    return f"operator:{request.user.pk}"


class ReadOnlyAdmin(admin.ModelAdmin):
    """Neither added, changed nor deleted by hand."""

    actions: Any = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class SubjectFilter(admin.SimpleListFilter):
    """By what happened, through the index of kinds; asking for all kinds would scan the table."""

    title = "what"
    parameter_name = "what"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("trading.", "orders and fills"),
            ("portfolios.", "accounts and cash"),
            ("access.", "users and keys"),
            ("quotes.", "the market"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        prefix = self.value()
        return queryset.filter(kind__startswith=prefix) if prefix else queryset


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = ["id", "recorded_at", "kind", "actor", "account_id", "number", "subject", "at"]
    list_filter = [SubjectFilter]
    search_fields = ["subject", "actor", "request_id"]
    search_help_text = "order:…, key:…, user:…, or a request id"
    ordering = ["-id"]
    list_per_page = 50
    show_full_result_count = False
    exclude = ["payload"]
    readonly_fields = ["readable_payload"]

    @admin.display(description="account's number", ordering="account_sequence")
    def number(self, event: Event) -> int | None:
        return event.account_sequence

    @admin.display(description="payload")
    def readable_payload(self, event: Event) -> str:
        return format_html("<pre>{}</pre>", json.dumps(event.payload, indent=2))


@admin.register(ChainHead)
class ChainHeadAdmin(ReadOnlyAdmin):
    list_display = ["sequence", "hash"]


@admin.register(Cursor)
class CursorAdmin(ReadOnlyAdmin):
    list_display = ["name", "sequence", "moved_at"]
    ordering = ["name"]


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "principal", "key", "subject", "kind", "status"]
    search_fields = ["=principal", "=subject"]
    search_help_text = "key:…, user:… or order:…"
    ordering = ["-id"]
    list_per_page = 50
    show_full_result_count = False


@admin.register(Lease)
class LeaseAdmin(ReadOnlyAdmin):
    list_display = ["name", "owner", "epoch", "expires_at", "connection_id"]
    ordering = ["name"]
