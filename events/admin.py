"""The event log and the leases, for operators to look at and never to change."""

from __future__ import annotations

import json
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.functional import cached_property
from django.utils.html import format_html

from events.models import ChainHead, Cursor, Event, IdempotencyKey, Lease

PAGES_MAX = 100


def operator(request: HttpRequest) -> str:
    """How the event log names the member of staff who acts."""
    return f"operator:{request.user.pk}"


class UncountedPaginator(Paginator):
    """Shows the newest rows, up to `PAGES_MAX` pages of them; who wants more, filters."""

    @cached_property
    def count(self) -> int:
        rows = cast("QuerySet[Any]", self.object_list)
        return len(rows.values_list("pk")[: self.per_page * PAGES_MAX])


class ListAdmin(admin.ModelAdmin):
    """A list whose actions take the rows that were ticked on one page of it, and no others.

    Django's "select all" takes every row there is, many more than the operator has seen.
    """

    list_per_page = 50
    list_max_show_all = 50  # more than a page is never shown, and so never ticked

    def response_action(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Refuse what was not ticked, or on more than one page; then nothing is done."""
        across = request.POST.get("select_across", "") not in ("", "0")
        if across or len(request.POST.getlist(ACTION_CHECKBOX_NAME)) > self.list_per_page:
            why = f"tick the rows, at most {self.list_per_page} at a time; nothing was done"
            self.message_user(request, why, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return super().response_action(request, *args, **kwargs)


class AsShownAdmin(admin.ModelAdmin):
    """Changes what somebody changed on the page, by what it showed, however long it stood open.

    Django compares with the row as it is when the page is sent, and so takes what somebody else
    has changed meanwhile for a change of this page's. Here a page carries what it showed.
    """

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        kwargs["show_hidden_initial"] = True
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_related(self, *_: Any) -> None:
        """`save_model` has stored it all, and recorded it; Django would store sets once more."""


def changes_on(form: Any) -> dict[str, Any]:
    """What the fields say that were changed on an `AsShownAdmin`'s page."""
    return {name: form.cleaned_data[name] for name in form.changed_data}


class ReadOnlyAdmin(ListAdmin):
    """Neither added, changed nor deleted by hand."""

    actions: Any = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class LongListAdmin(ListAdmin):
    """A list of which nobody knows how long it is: its rows are never counted."""

    paginator = UncountedPaginator
    show_full_result_count = False


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
        if not prefix:
            return queryset
        # As a range: MariaDB uses no index for what Django makes of `startswith`.
        return queryset.filter(kind__gte=prefix, kind__lt=prefix.removesuffix(".") + "/")


@admin.register(Event)
class EventAdmin(LongListAdmin, ReadOnlyAdmin):
    # The table only grows: whatever this page asks has to have an index.
    list_display = ["id", "recorded_at", "kind", "actor", "account_id", "number", "subject", "at"]
    list_filter = [SubjectFilter]
    sortable_by = ()
    search_fields = ["subject__exact", "request_id__exact"]
    search_help_text = "the whole of order:…, key:…, account:… or user:…, or of a request id"
    ordering = ["-id"]
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
class IdempotencyKeyAdmin(LongListAdmin, ReadOnlyAdmin):
    list_display = ["created_at", "principal", "key", "subject", "kind", "status"]
    search_fields = ["=principal", "=subject"]
    search_help_text = "key:…, user:… or order:…"
    ordering = ["-id"]


@admin.register(Lease)
class LeaseAdmin(ReadOnlyAdmin):
    list_display = ["name", "owner", "epoch", "expires_at", "connection_id"]
    ordering = ["name"]
