"""The books as an operator sees them: accounts to freeze, everything else to read.

Postings, positions and lots can be neither added, changed nor deleted here: a correction is a new
transaction. Their pages do not count rows, for that would read the whole table.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html

from events import idempotency
from events.admin import ListAdmin, LongListAdmin, ReadOnlyAdmin, operator
from events.errors import OpenbellError
from events.idempotency import KeyTaken
from portfolios.accounts import deposit, freeze, transfer, unfreeze, withdraw
from portfolios.errors import AccountNotFound, AmountInvalid
from portfolios.models import (
    Account,
    AccountDay,
    Entitlement,
    Lot,
    NonTradeActivity,
    Position,
    PositionDay,
    Posting,
    Watchlist,
    WatchlistEntry,
)
from quotes.amounts import CASH_PLACES, QUANTITY_PLACES, from_units, plain


class BookAdmin(LongListAdmin, ReadOnlyAdmin):
    """Rows of the books: to read, the newest first."""

    ordering = ["-pk"]


class CashActionForm(ActionForm):
    """What moving cash has to know, beside the action; and a number, so that it is moved once."""

    number = forms.CharField(required=False, label="", widget=forms.HiddenInput, initial=uuid4)
    amount = forms.DecimalField(required=False, label="USD")
    to_account = forms.CharField(required=False, max_length=16, label="to account")


@admin.register(Account)
class AccountAdmin(BookAdmin):
    action_form = CashActionForm
    list_display = [
        "number",
        "owner",
        "name",
        "status",
        "frozen",
        "multiplier",
        "cash",
        "hold_cash",
        "call_due_at",
    ]
    list_select_related = ["user"]
    list_filter = [
        "status",
        "frozen",
        "trading_suspended",
        "multiplier",
        ("called_at", admin.EmptyFieldListFilter),
    ]
    search_fields = ["number", "user__username", "user__email"]
    search_help_text = "account number, user name or e-mail"
    actions = [
        "freeze_accounts",
        "unfreeze_accounts",
        "deposit_cash",
        "withdraw_cash",
        "transfer_cash",
    ]

    @admin.display(description="user", ordering="user__username")
    def owner(self, account: Account) -> str:
        url = reverse("admin:auth_user_change", args=[account.user_id])
        return format_html('<a href="{}">{}</a>', url, account.user.get_username())

    @admin.action(description="Freeze: no new orders", permissions=["freeze"])
    def freeze_accounts(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        for account in accounts:
            freeze(account_id=account.pk, actor=operator(request), reason="by the operator")
        self.message_user(request, f"{len(accounts)} accounts are frozen", messages.SUCCESS)

    @admin.action(description="Unfreeze: orders are possible again", permissions=["freeze"])
    def unfreeze_accounts(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        for account in accounts:
            unfreeze(account_id=account.pk, actor=operator(request), reason="by the operator")
        self.message_user(request, f"{len(accounts)} accounts are unfrozen", messages.SUCCESS)

    @admin.action(description="Deposit cash: USD", permissions=["move_cash"])
    def deposit_cash(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        for account, amount in self._asked(request, accounts):
            deposit(account_id=account.pk, amount=amount, actor=operator(request))
            self.message_user(request, f"{amount} deposited in {account.number}")

    @admin.action(description="Withdraw cash: USD", permissions=["move_cash"])
    def withdraw_cash(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        for account, amount in self._asked(request, accounts):
            withdraw(account_id=account.pk, amount=amount, actor=operator(request))
            self.message_user(request, f"{amount} withdrawn from {account.number}")

    @admin.action(
        description="Transfer cash: USD, to another account of its owner",
        permissions=["move_cash"],
    )
    def transfer_cash(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        number = request.POST.get("to_account", "")
        for account, amount in self._asked(request, accounts):
            target = Account.objects.filter(number=number).first()
            if target is None:
                raise AccountNotFound
            transfer(
                source_id=account.pk,
                target_id=target.pk,
                amount=amount,
                actor=operator(request),
            )
            self.message_user(request, f"{amount} moved from {account.number} to {number}")

    def _asked(
        self, request: HttpRequest, accounts: QuerySet[Account]
    ) -> Iterator[tuple[Account, Decimal]]:
        """The chosen accounts one by one, with the amount that stands beside the action."""
        amount = amount_in(request)
        yield from ((account, amount) for account in accounts.order_by("pk"))

    def response_action(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Say on the list why a use case failed; what it did before that is done.

        A list that is sent twice, as by a second click, does once what it asks for.
        """
        number, said = request.POST.get("number", ""), request.POST.urlencode()
        try:
            with idempotency.form_of(operator(request), number, said):
                return super().response_action(request, *args, **kwargs)
        except KeyTaken:
            why = "this was sent before, and is done as far as the messages say"
        except OpenbellError as error:
            why = error.message
        self.message_user(request, why, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())

    def has_freeze_permission(self, request: HttpRequest) -> bool:
        """Whoever may change accounts may freeze them, though the form itself only shows."""
        return request.user.has_perm("portfolios.change_account")

    def has_move_cash_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("portfolios.move_cash")


def amount_in(request: HttpRequest) -> Decimal:
    """The amount beside the action. Raises AmountInvalid."""
    text = request.POST.get("amount", "")
    try:
        return Decimal(text)
    except InvalidOperation:
        raise AmountInvalid("an amount is needed" if not text else None, amount=text) from None


@admin.register(Posting)
class PostingAdmin(BookAdmin):
    list_display = ["__str__", "at", "kind", "amount_shown", "asset", "source", "target"]
    list_select_related = ["instrument"]
    search_fields = ["=account__number", "=reference"]
    search_help_text = "an account number, or the id of an execution"

    @admin.display(description="amount")
    def amount_shown(self, posting: Posting) -> str:
        places = CASH_PLACES if posting.instrument_id is None else QUANTITY_PLACES
        return plain(from_units(posting.amount, places))

    @admin.display(description="asset")
    def asset(self, posting: Posting) -> str:
        return "USD" if posting.instrument is None else posting.instrument.symbol


@admin.register(NonTradeActivity)
class NonTradeActivityAdmin(BookAdmin):
    list_display = ["account", "type", "net_amount", "on", "at", "description"]
    list_select_related = ["account"]
    list_filter = ["type"]
    search_fields = ["=account__number"]
    search_help_text = "an account number"


@admin.register(Entitlement)
class EntitlementAdmin(BookAdmin):
    list_display = ["account", "action", "quantity", "transaction", "reversal", "problem"]
    list_select_related = ["account", "action__instrument"]
    list_filter = [("problem", admin.EmptyFieldListFilter)]
    search_fields = ["=account__number", "=action__public_id", "=action__instrument__symbol"]
    search_help_text = "an account number, a symbol or the id of a corporate action"


@admin.register(AccountDay)
class AccountDayAdmin(BookAdmin):
    list_display = ["account", "on", "open_cash", "first_transaction"]
    list_select_related = ["account"]
    search_fields = ["=account__number"]
    search_help_text = "an account number"


@admin.register(PositionDay)
class PositionDayAdmin(BookAdmin):
    list_display = ["account", "instrument", "on", "open_quantity"]
    list_select_related = ["account", "instrument"]
    search_fields = ["=account__number", "=instrument__symbol"]
    search_help_text = "an account number or a symbol"


@admin.register(Position)
class PositionAdmin(BookAdmin):
    list_display = [
        "account",
        "instrument",
        "quantity",
        "hold_quantity",
        "cost_basis",
        "realized",
        "updated_at",
    ]
    list_select_related = ["account", "instrument"]
    search_fields = ["=account__number", "=instrument__symbol"]
    search_help_text = "an account number or a symbol"


@admin.register(Lot)
class LotAdmin(BookAdmin):
    list_display = [
        "account",
        "instrument",
        "quantity_left",
        "price",
        "cost_left",
        "fee_left",
        "opened_at",
    ]
    list_select_related = ["account", "instrument"]
    search_fields = ["=account__number", "=instrument__symbol", "=execution_id"]
    search_help_text = "an account number, a symbol or the id of an execution"


class WatchlistEntryInline(admin.TabularInline):
    model = WatchlistEntry
    extra = 0
    autocomplete_fields = ["instrument"]


@admin.register(Watchlist)
class WatchlistAdmin(ListAdmin):
    list_display = ["name", "account", "updated_at"]
    list_select_related = ["account"]
    show_full_result_count = False
    search_fields = ["name", "=account__number"]
    autocomplete_fields = ["account"]
    inlines = [WatchlistEntryInline]
    ordering = ["-pk"]
