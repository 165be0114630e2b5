"""Orders and fills for operators: orders can be canceled, accounts stopped, fills looked at.

An order's page tells its whole story (`trading.story`).
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import DEFAULT_DB_ALIAS
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from events.admin import operator
from events.errors import OpenbellError
from portfolios.admin import AccountAdmin, BookAdmin
from portfolios.models import Account
from trading import orders
from trading.kill_switch import stop_trading
from trading.models import Fill, Order
from trading.story import tell

NAMED_MAX = 20  # orders of one account, so that a message can be read


@admin.register(Order)
class OrderAdmin(BookAdmin):
    list_display = [
        "public_id",
        "account",
        "instrument",
        "side",
        "type",
        "quantity",
        "notional",
        "limit_price",
        "status",
        "filled_quantity",
        "submitted_at",
        "reason",
    ]
    list_filter = ["status", "side", "type", "time_in_force"]
    list_select_related = ["account", "instrument"]
    search_fields = ["=public_id", "=account__number", "=instrument__symbol"]
    search_help_text = "an order's id, an account number or a symbol"
    actions = ["cancel_orders"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        return super().get_queryset(request).select_related("account", "instrument")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """The order's page begins with all that it went through."""
        if kwargs.get("obj") is not None:
            context["story"] = tell(kwargs["obj"])
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.action(description="Cancel what is left", permissions=["cancel"])
    def cancel_orders(self, request: HttpRequest, chosen: QuerySet[Order]) -> None:
        """Cancel through the use case; what cannot be canceled is named."""
        canceled = 0
        for order in chosen:
            try:
                orders.cancel(
                    account_id=order.account_id,
                    order_id=order.public_id,
                    actor=operator(request),
                    even_forced=True,
                )
            except OpenbellError as error:
                self.message_user(
                    request, f"order {order.public_id}: {error.message}", messages.ERROR
                )
            else:
                canceled += 1
        self.message_user(request, f"{canceled} orders are canceled", messages.SUCCESS)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whoever may change orders may cancel them, though the form itself only shows."""
        return request.user.has_perm("trading.change_order")


class TradingAccountAdmin(AccountAdmin):
    """Accounts with what takes orders: the books' own page knows of none."""

    actions = [*AccountAdmin.actions, "stop_accounts"]

    @admin.action(description="Stop: freeze, and cancel every open order", permissions=["freeze"])
    def stop_accounts(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        """Pull the kill switch of each; what could not be canceled is named, the first of it."""
        for account in accounts:
            try:
                outcomes = stop_trading(
                    account_id=account.pk,
                    actor=operator(request),
                    reason="by the operator",
                    by_operator=True,
                )
            except OpenbellError as error:
                self._say_half_stopped(request, account, error)
                continue
            kept = [(order, why) for order, why in outcomes if why is not None]
            for order, why in kept[:NAMED_MAX]:
                self.message_user(
                    request, f"order {order.public_id}: {why.message}", messages.ERROR
                )
            text = f"{account.number} is stopped, {len(outcomes) - len(kept)} orders are canceled"
            text += f", {len(kept)} could not be" if kept else ""
            self.message_user(request, text, messages.WARNING if kept else messages.SUCCESS)

    def _say_half_stopped(
        self, request: HttpRequest, account: Account, error: OpenbellError
    ) -> None:
        text = f"{account.number}: {error.message}"
        if Account.objects.using(DEFAULT_DB_ALIAS).get(pk=account.pk).frozen:
            text += "; it is frozen, but its orders may still be open: stop it once more"
        self.message_user(request, text, messages.ERROR)


admin.site.unregister(Account)
admin.site.register(Account, TradingAccountAdmin)


@admin.register(Fill)
class FillAdmin(BookAdmin):
    list_display = [
        "execution_id",
        "account",
        "instrument",
        "side",
        "quantity",
        "price",
        "at",
        "quote_sequence",
        "model",
    ]
    list_select_related = ["account", "instrument"]
    search_fields = ["=execution_id", "=account__number", "=instrument__symbol"]
    search_help_text = "an execution's id, an account number or a symbol"
