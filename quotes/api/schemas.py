"""The shapes of market data, for the documentation: a request for thousands of bars does not pay
for serializers. The items themselves are made in `quotes/streaming/codec.py`, as for the streams.
"""

from __future__ import annotations

from rest_framework import serializers

from quotes.ticks import CANCELED, CORRECTED, INCORRECT


class QuoteItem(serializers.Serializer):
    t = serializers.DateTimeField(help_text="market time")
    bp = serializers.FloatField(help_text="bid price, 0 where there is no bid")
    bs = serializers.IntegerField(help_text="bid size in shares")
    bx = serializers.CharField(help_text="bid exchange")
    ap = serializers.FloatField(help_text="ask price, 0 where there is no ask")
    ax = serializers.CharField(help_text="ask exchange")
    c = serializers.ListField(child=serializers.CharField(), help_text="conditions")
    z = serializers.CharField(help_text="tape")

    def get_fields(self) -> dict[str, serializers.Field]:
        # A name that Python keeps for itself.
        return {**super().get_fields(), "as": serializers.IntegerField(help_text="ask size")}


class TradeItem(serializers.Serializer):
    t = serializers.DateTimeField(help_text="market time")
    p = serializers.FloatField(help_text="price")
    s = serializers.IntegerField(help_text="size in shares")
    x = serializers.CharField(help_text="exchange")
    i = serializers.IntegerField(help_text="number of the trade")
    c = serializers.ListField(child=serializers.CharField(), help_text="conditions")
    z = serializers.CharField(help_text="tape")
    u = serializers.ChoiceField(
        [CANCELED, INCORRECT, CORRECTED],
        required=False,
        help_text="what became of it: it never was, it was wrong, or it stands for one that was",
    )


class BarItem(serializers.Serializer):
    t = serializers.DateTimeField(help_text="start of the interval")
    o = serializers.FloatField(help_text="open")
    h = serializers.FloatField(help_text="high")
    l = serializers.FloatField(help_text="low")  # noqa: E741  the wire's name
    c = serializers.FloatField(help_text="close")
    v = serializers.IntegerField(help_text="volume in shares")
    n = serializers.IntegerField(help_text="number of trades")
    vw = serializers.FloatField(allow_null=True, help_text="volume-weighted average price")


class SnapshotItem(serializers.Serializer):  # camel case is the wire's
    latestTrade = TradeItem(allow_null=True)
    latestQuote = QuoteItem(allow_null=True)
    minuteBar = BarItem(allow_null=True)
    dailyBar = BarItem(allow_null=True)
    prevDailyBar = BarItem(allow_null=True)


class SnapshotAnswer(SnapshotItem):
    symbol = serializers.CharField()


class LatestQuotesAnswer(serializers.Serializer):
    quotes = serializers.DictField(child=QuoteItem())


class LatestTradesAnswer(serializers.Serializer):
    trades = serializers.DictField(child=TradeItem())


class LatestBarsAnswer(serializers.Serializer):
    bars = serializers.DictField(child=BarItem())


class LatestQuoteAnswer(serializers.Serializer):
    symbol = serializers.CharField()
    quote = QuoteItem()


class LatestTradeAnswer(serializers.Serializer):
    symbol = serializers.CharField()
    trade = TradeItem()


class LatestBarAnswer(serializers.Serializer):
    symbol = serializers.CharField()
    bar = BarItem()


class Page(serializers.Serializer):
    next_page_token = serializers.CharField(allow_null=True, help_text="null on the last page")


class BarsPage(Page):
    bars = serializers.DictField(child=serializers.ListField(child=BarItem()))


class QuotesPage(Page):
    quotes = serializers.DictField(child=serializers.ListField(child=QuoteItem()))


class TradesPage(Page):
    trades = serializers.DictField(child=serializers.ListField(child=TradeItem()))


class SymbolBarsPage(Page):
    symbol = serializers.CharField()
    bars = BarItem(many=True)


class SymbolQuotesPage(Page):
    symbol = serializers.CharField()
    quotes = QuoteItem(many=True)


class SymbolTradesPage(Page):
    symbol = serializers.CharField()
    trades = TradeItem(many=True)
