"""The market for operators: instruments with their bars, latest quotes, and the clock."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html

from events.admin import AsShownAdmin, ListAdmin, ReadOnlyAdmin, changes_on, operator
from events.errors import OpenbellError
from quotes import corporate_actions, halts, market
from quotes.action_forms import AnnouncementForm
from quotes.instruments import add_instrument, change_instrument
from quotes.models import Bar, CorporateAction, Instrument, LatestQuote, MarketClock, Timeframe
from quotes.pacing import SPEED_MAX, SPEED_MIN
from quotes.ticks import to_instant

BARS_SHOWN = {Timeframe.DAY: 20, Timeframe.MINUTE: 30}


class HaltForm(ActionForm):
    reason = forms.CharField(required=False, max_length=200, label="Reason")


@admin.register(Instrument)
class InstrumentAdmin(AsShownAdmin, ListAdmin):
    list_display = ["symbol", "name", "exchange", "last", "status", "tradable", "halt_shown"]
    list_filter = ["halted", "status", "tradable", "exchange"]
    list_select_related = ["latestquote"]
    search_fields = ["symbol", "name"]
    action_form = HaltForm
    actions = ["halt", "resume"]
    fields = [
        "symbol",
        "name",
        "exchange",
        "status",
        ("tradable", "fractionable"),
        ("marginable", "shortable", "easy_to_borrow"),
        "halt_shown",
        "public_id",
        "created_at",
        "daily_bars",
        "minute_bars",
    ]
    # Halting is an action, because streams and the engine have to hear of it.
    readonly_fields = ["halt_shown", "public_id", "created_at", "daily_bars", "minute_bars"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*(["symbol"] if obj else []), *self.readonly_fields]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # books and history refer to it; make it inactive instead

    def save_model(self, request: HttpRequest, obj: Instrument, form: Any, change: bool) -> None:
        """Change what was changed on the form, and no column that somebody else may have."""
        actor = operator(request)
        if not change:
            add_instrument(obj, actor=actor)
            return
        change_instrument(instrument_id=obj.pk, changes=changes_on(form), actor=actor)

    @admin.display(description="last", ordering="latestquote__trade_price")
    def last(self, instrument: Instrument) -> str:
        latest = getattr(instrument, "latestquote", None)
        return f"{latest.trade_price}" if latest and latest.trade_price else "–"

    @admin.display(description="halt", ordering="halted")
    def halt_shown(self, instrument: Instrument) -> str:
        if not instrument.halted:
            return "–"
        return format_html("<strong>HALTED</strong> {}", instrument.halt_reason)

    @admin.display(description="daily bars")
    def daily_bars(self, instrument: Instrument) -> str:
        return _bars_table(instrument, Timeframe.DAY)

    @admin.display(description="minute bars")
    def minute_bars(self, instrument: Instrument) -> str:
        return _bars_table(instrument, Timeframe.MINUTE)

    @admin.action(description="Halt trading", permissions=["change"])
    def halt(self, request: HttpRequest, queryset: QuerySet[Instrument]) -> None:
        reason = request.POST.get("reason", "").strip() or "halted by an operator"
        for instrument in queryset:
            halts.halt(instrument, reason=reason[:200], actor=operator(request))
        self.message_user(request, f"Halted: {_symbols(queryset)}.", messages.WARNING)

    @admin.action(description="Resume trading", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Instrument]) -> None:
        for instrument in queryset:
            try:
                halts.resume(instrument, actor=operator(request))
            except OpenbellError as error:
                self.message_user(request, f"{instrument}: {error.message}", messages.ERROR)
                return
        self.message_user(request, f"Trading again: {_symbols(queryset)}.", messages.SUCCESS)


@admin.register(CorporateAction)
class CorporateActionAdmin(ReadOnlyAdmin):
    form = AnnouncementForm
    list_display = [
        "__str__",
        "ex_on",
        "payable_on",
        "status",
        "due_at",
        "accounts",
        "announced_at",
    ]
    list_select_related = ["instrument"]
    list_filter = ["status", "kind"]
    search_fields = ["instrument__symbol"]
    autocomplete_fields = ["instrument"]
    ordering = ["-pk"]
    actions = ["cancel", "reverse"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("quotes.add_corporateaction")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.actor = operator(request)
        return form

    def save_model(self, *_: Any) -> None:
        """The form has announced it."""

    @admin.action(description="Call off what is announced", permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[CorporateAction]) -> None:
        self._attempt(request, queryset, corporate_actions.cancel, "Called off")

    @admin.action(description="Take back what is done", permissions=["cancel"])
    def reverse(self, request: HttpRequest, queryset: QuerySet[CorporateAction]) -> None:
        self._attempt(request, queryset, corporate_actions.reverse, "Is being taken back")

    def _attempt(
        self, request: HttpRequest, queryset: QuerySet[CorporateAction], change: Any, done: str
    ) -> None:
        for action in queryset:
            try:
                change(action_id=action.pk, actor=operator(request))
            except OpenbellError as error:
                self.message_user(request, f"{action}: {error.message}", messages.ERROR)
            else:
                self.message_user(request, f"{done}: {action}.", messages.SUCCESS)


@admin.register(LatestQuote)
class LatestQuoteAdmin(ReadOnlyAdmin):
    list_display = ["instrument", "bid_side", "ask_side", "last", "quoted_at", "traded_at"]
    list_select_related = ["instrument"]
    search_fields = ["instrument__symbol"]
    ordering = ["instrument__symbol"]

    @admin.display(description="bid × size", ordering="bid")
    def bid_side(self, latest: LatestQuote) -> str:
        return f"{latest.bid} × {latest.bid_size}" if latest.bid else "–"

    @admin.display(description="ask × size", ordering="ask")
    def ask_side(self, latest: LatestQuote) -> str:
        return f"{latest.ask} × {latest.ask_size}" if latest.ask else "–"

    @admin.display(description="last × size", ordering="trade_price")
    def last(self, latest: LatestQuote) -> str:
        return f"{latest.trade_price} × {latest.trade_size}" if latest.trade_price else "–"

    @admin.display(description="quoted (market time)", ordering="quote_at_us")
    def quoted_at(self, latest: LatestQuote) -> datetime | None:
        return _instant(latest.quote_at_us)

    @admin.display(description="traded (market time)", ordering="trade_at_us")
    def traded_at(self, latest: LatestQuote) -> datetime | None:
        return _instant(latest.trade_at_us)


class SpeedForm(ActionForm):
    speed = forms.FloatField(required=False, label="Speed")


@admin.register(MarketClock)
class MarketClockAdmin(ReadOnlyAdmin):
    list_display = ["mode", "source", "speed", "paused", "market_time", "settled", "updated_at"]
    action_form = SpeedForm
    actions = ["pause", "go_on", "set_speed"]

    @admin.display(description="market time")
    def market_time(self, clock: MarketClock) -> datetime | None:
        return _instant(clock.watermark_us)

    @admin.display(description="settled up to")
    def settled(self, clock: MarketClock) -> datetime | None:
        return _instant(clock.settled_us)

    @admin.action(description="Pause the market", permissions=["operate"])
    def pause(self, request: HttpRequest, queryset: QuerySet[MarketClock]) -> None:
        self._attempt(request, "Paused.", lambda: market.pause(actor=operator(request)))

    @admin.action(description="Let the market go on", permissions=["operate"])
    def go_on(self, request: HttpRequest, queryset: QuerySet[MarketClock]) -> None:
        self._attempt(request, "Running.", lambda: market.resume(actor=operator(request)))

    @admin.action(description="Set the speed", permissions=["operate"])
    def set_speed(self, request: HttpRequest, queryset: QuerySet[MarketClock]) -> None:
        speed = _read_speed(request.POST.get("speed", ""))
        if speed is None:
            self.message_user(request, f"Speed is {SPEED_MIN} to {SPEED_MAX}.", messages.ERROR)
            return
        self._attempt(
            request,
            f"The market runs {speed:g} times as fast as time.",
            lambda: market.set_speed(speed=speed, actor=operator(request)),
        )

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("quotes.change_marketclock")

    def _attempt(self, request: HttpRequest, done: str, change: Any) -> None:
        try:
            change()
        except OpenbellError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            self.message_user(request, done, messages.SUCCESS)


def _read_speed(text: str) -> float | None:
    try:
        return forms.FloatField(min_value=SPEED_MIN, max_value=SPEED_MAX).clean(text)
    except forms.ValidationError:
        return None


def _bars_table(instrument: Instrument, timeframe: Timeframe) -> str:
    """The newest bars, bounded; a model with a composite key has no admin page of its own."""
    bars = Bar.objects.filter(instrument_id=instrument.pk, timeframe=timeframe).order_by("-start")
    rows = [(datetime.fromtimestamp(bar.start, UTC), bar) for bar in bars[: BARS_SHOWN[timeframe]]]
    return render_to_string("admin/quotes/bars.html", {"rows": rows})


def _symbols(instruments: Iterable[Instrument]) -> str:
    return ", ".join(instrument.symbol for instrument in instruments)


def _instant(at_us: int) -> datetime | None:
    return to_instant(at_us) if at_us else None
