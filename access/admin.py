"""Users and keys for operators. Whatever matters goes through use cases, and so into the log."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from access.accounts import reset_account
from access.keys import create_key, revoke_key
from access.models import ApiKey
from access.users import disable_user, enable_user
from events.admin import ListAdmin, operator
from events.errors import OpenbellError
from portfolios.accounts import STARTING_CASH
from portfolios.models import Account
from trading.admin import TradingAccountAdmin

admin.site.site_header = "Openbell"
admin.site.site_title = "Openbell"
admin.site.index_title = "The floor"

User = get_user_model()
admin.site.unregister(User)
admin.site.unregister(Group)
admin.site.unregister(Account)


@admin.register(Account)
class ResettableAccountAdmin(TradingAccountAdmin):
    """The books' own page, and what takes keys and orders, too."""

    actions = [*TradingAccountAdmin.actions, "reset_accounts"]

    @admin.action(
        description="Reset: close the book, cancel its orders, open a fresh one",
        permissions=["freeze"],
    )
    def reset_accounts(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        """Begin each anew; one that cannot be now is named, and is to be reset once more."""
        actor = operator(request)
        for account in accounts:
            try:
                new = reset_account(account_id=account.pk, cash=STARTING_CASH, actor=actor)
            except OpenbellError as error:
                self.message_user(request, f"{account.number}: {error.message}", messages.ERROR)
                continue
            text = f"{account.number} is closed, {new.number} takes its place"
            self.message_user(request, text, messages.SUCCESS)


@admin.register(ApiKey)
class ApiKeyAdmin(ListAdmin):
    list_display = ["key_id", "name", "account", "user", "created_at", "last_used_at", "revoked_at"]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter)]
    list_select_related = ["account", "user"]
    search_fields = ["key_id", "name", "user__username", "account__number"]
    ordering = ["-id"]
    fields = ["account", "name"]
    raw_id_fields = ["account"]
    actions = ["revoke"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.fields
        return ["key_id", "name", "account", "user", "created_at", "last_used_at", "revoked_at"]

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        key, secret = create_key(
            account_id=obj.account_id, user=obj.account.user, name=obj.name, actor=operator(request)
        )
        obj.pk, obj.key_id = key.pk, key.key_id
        obj.shown_once = secret  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: Any = None
    ) -> HttpResponse:
        """Show the secret on this very page; a message would lie in a cookie or the session."""
        context = {**self.admin_site.each_context(request), "key": obj, "title": "Key created"}
        return TemplateResponse(request, "admin/access/key_created.html", context)

    @admin.action(description="Revoke for good", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset:
            revoke_key(account_id=key.account_id, key_id=key.key_id, actor=operator(request))
        self.message_user(request, f"Revoked {len(queryset)} key(s).", messages.WARNING)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("access.change_apikey")


@admin.register(User)
class PlatformUserAdmin(ListAdmin, UserAdmin):
    """Users are disabled, never deleted: their books and events stay."""

    list_display = ["username", "email", "is_active", "is_staff", "date_joined", "last_login"]
    readonly_fields = ["is_active", "last_login", "date_joined"]
    actions = ["disable", "enable"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.action(description="Shut out", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for user in queryset.exclude(pk=request.user.pk):  # nobody saws off their own branch
            disable_user(user_id=user.pk, actor=operator(request))
        self.message_user(request, "Their sessions, keys and sockets are closed.", messages.WARNING)

    @admin.action(description="Let in again", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for user in queryset:
            enable_user(user_id=user.pk, actor=operator(request))
        self.message_user(request, "They may log in again.", messages.SUCCESS)


@admin.register(Group)
class PlatformGroupAdmin(ListAdmin, GroupAdmin):
    pass
