"""Users and keys for operators. Whatever matters goes through use cases, and so into the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from access.accounts import reset_account
from access.keys import create_key, revoke_key
from access.models import ApiKey
from access.privileges import (
    FLAGS,
    ROWS,
    Ticks,
    add_group,
    add_user,
    change_group,
    change_user,
    delete_group,
    setting_password,
)
from access.users import disable_user, enable_user
from events.admin import AsShownAdmin, ListAdmin, LongListAdmin, changes_on, operator
from events.errors import Forbidden, OpenbellError
from portfolios.accounts import STARTING_CASH
from portfolios.models import Account, Position
from trading import states
from trading.admin import TradingAccountAdmin
from trading.models import Order

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
        permissions=["reset"],
    )
    def reset_accounts(
        self, request: HttpRequest, accounts: QuerySet[Account]
    ) -> HttpResponse | None:
        """Ask first, then begin each anew; one that cannot be now is named, to be reset again."""
        if request.POST.get("confirmed") != "yes":
            return self._ask_before_reset(request, accounts)
        actor = operator(request)
        for account in accounts:
            try:
                new = reset_account(account_id=account.pk, cash=STARTING_CASH, actor=actor)
            except OpenbellError as error:
                self.message_user(request, f"{account.number}: {error.message}", messages.ERROR)
                continue
            text = f"{account.number} is closed, {new.number} takes its place"
            self.message_user(request, text, messages.SUCCESS)
        return None

    def _ask_before_reset(
        self, request: HttpRequest, accounts: QuerySet[Account]
    ) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Reset accounts",
            "opts": self.opts,
            "rows": _what_a_reset_ends(accounts),
            "cash": STARTING_CASH,
            "number": uuid4(),  # so that a second click resets nothing more
            "back": request.get_full_path(),
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/access/reset_accounts.html", context)

    def has_reset_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("portfolios.reset_account")


def _what_a_reset_ends(accounts: QuerySet[Account]) -> list[dict[str, Any]]:
    found = list(accounts)
    positions = _count_by_account(Position.objects.exclude(quantity=0), found)
    orders = _count_by_account(Order.objects.filter(status__in=states.OPEN), found)
    keys = _count_by_account(ApiKey.objects.filter(revoked_at=None), found)
    return [
        {
            "account": account,
            "positions": positions.get(account.pk, 0),
            "orders": orders.get(account.pk, 0),
            "keys": keys.get(account.pk, 0),
        }
        for account in found
    ]


def _count_by_account(rows: QuerySet[Any], accounts: list[Account]) -> dict[int, int]:
    of_accounts = rows.filter(account__in=accounts).order_by().values("account_id")
    return dict(of_accounts.annotate(count=Count("pk")).values_list("account_id", "count"))


@admin.register(ApiKey)
class ApiKeyAdmin(LongListAdmin):
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
        if _is_of_staff(obj.account.user) and not is_superuser(request):
            raise Forbidden("keys of members of staff are made by superusers only")
        key, secret = create_key(
            account_id=obj.account_id, user=obj.account.user, name=obj.name, actor=operator(request)
        )
        obj.pk, obj.key_id = key.pk, key.key_id
        obj.shown_once = secret  # type: ignore[attr-defined]

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Say above the form why there is no new key."""
        try:
            return super().add_view(request, *args, **kwargs)
        except OpenbellError as error:
            self.message_user(request, error.message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

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
class PlatformUserAdmin(AsShownAdmin, LongListAdmin, UserAdmin):
    """Users are disabled, never deleted: their books and events stay.

    Members of staff are changed by superusers only, who alone give privileges.
    """

    list_display = ["username", "email", "is_active", "is_staff", "date_joined", "last_login"]
    readonly_fields = ["is_active", "last_login", "date_joined"]
    actions = ["disable", "enable"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        privileges = [] if is_superuser(request) else [*FLAGS, *ROWS]
        return [*self.readonly_fields, *privileges]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may = super().has_change_permission(request, obj)
        return may and (obj is None or is_superuser(request) or not _is_of_staff(obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Change what was changed on the form, and no column that somebody else may have."""
        actor = operator(request)
        if not change:
            add_user(obj, actor=actor)
            return
        change_user(user_id=obj.pk, changes=_changes_with_ticks(form), actor=actor)

    @method_decorator(sensitive_post_parameters())
    def user_change_password(
        self, request: HttpRequest, id: str, form_url: str = ""
    ) -> HttpResponse:
        user = self.get_object(request, unquote(id))
        if request.method != "POST" or user is None:
            return super().user_change_password(request, id, form_url)
        with setting_password(user_id=user.pk, actor=operator(request)):
            return super().user_change_password(request, id, form_url)

    @admin.action(description="Shut out", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        # Nobody saws off their own branch.
        for user in self._changeable(request, queryset.exclude(pk=request.user.pk)):
            disable_user(user_id=user.pk, actor=operator(request))
            text = f"{user}: their sessions, keys and sockets are closed."
            self.message_user(request, text, messages.WARNING)

    @admin.action(description="Let in again", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for user in self._changeable(request, queryset):
            enable_user(user_id=user.pk, actor=operator(request))
            self.message_user(request, f"{user} may log in again.", messages.SUCCESS)

    def _changeable(self, request: HttpRequest, users: QuerySet[Any]) -> Iterator[Any]:
        for user in users:
            if self.has_change_permission(request, user):
                yield user
            else:
                why = f"{user}: members of staff are changed by superusers only"
                self.message_user(request, why, messages.ERROR)


@admin.register(Group)
class PlatformGroupAdmin(AsShownAdmin, ListAdmin, GroupAdmin):
    """What its members may do: given and taken by superusers only."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_superuser(request)

    def save_model(self, request: HttpRequest, obj: Group, form: Any, change: bool) -> None:
        """As a user's page: only what was changed on it."""
        changes, actor = _changes_with_ticks(form), operator(request)
        if change:
            change_group(group_id=obj.pk, changes=changes, actor=actor)
        else:
            add_group(obj, permissions=form.cleaned_data["permissions"], actor=actor)

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        delete_group(obj, actor=operator(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        for group in queryset:
            delete_group(group, actor=operator(request))


def is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)


def _changes_with_ticks(form: Any) -> dict[str, Any]:
    """The changes on a page, and of several rows to choose from only those ticked or unticked."""
    changes = changes_on(form)
    for name in changes.keys() & {*ROWS, "permissions"}:
        shown = form.data.getlist(form[name].html_initial_name)
        before = {int(pk) for pk in shown if pk.isdecimal()}
        after = {row.pk for row in changes[name]}
        changes[name] = Ticks(added=after - before, removed=before - after)
    return changes


def _is_of_staff(user: Any) -> bool:
    return user.is_staff or user.is_superuser
