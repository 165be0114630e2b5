"""Money, prices and quantities: their scales, bounds, rounding and the one database field for them.

In Python an amount is a `Decimal`, on the tick path a plain integer of the same scale; in the
database it is always a scaled BIGINT, because SQLite computes decimals as floats and MySQL does
not need to. SQL adds and compares scaled columns, it never multiplies or divides them.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from functools import cache
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models

PRICE_PLACES = 4
QUANTITY_PLACES = 9
CASH_PLACES = 4
PER_SHARE_PLACES = 6

PRICE_UNIT = 10**PRICE_PLACES  # a tick's integer price of 1.00 USD
QUANTITY_UNIT = 10**QUANTITY_PLACES

# Beyond these a request is refused, and the database's check constraints refuse it too.
QUANTITY_MAX = Decimal(10**9)
PRICE_MAX = Decimal(10**7)
ORDER_VALUE_MAX = Decimal(10**11)
BALANCE_MAX = Decimal(10**13)

# Wide enough for quantity × price without losing a digit before the one rounding.
EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


@cache
def _unit(places: int) -> Decimal:
    return Decimal(1).scaleb(-places)


def to_units(amount: Decimal, places: int) -> int:
    """The amount as a scaled integer; ValueError where it has more decimals than `places`."""
    scaled = EXACT.scaleb(amount, places)
    units = int(scaled)
    if units != scaled:
        raise ValueError(f"{amount} has more than {places} decimals")
    return units


def from_units(units: int, places: int) -> Decimal:
    """The Decimal that a scaled integer stands for, with exactly `places` decimals."""
    return EXACT.multiply(units, _unit(places))


def rounded(amount: Decimal, places: int = CASH_PLACES) -> Decimal:
    """Rounded half-even: the only rounding, done once, where an amount is posted."""
    return amount.quantize(_unit(places), context=EXACT)


def plain(amount: Decimal) -> str:
    """Plain notation without exponent or trailing zeros, as the trading API writes decimals."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def plain_units(units: int, places: int) -> str:
    """A scaled integer in plain notation: `plain(from_units(…))`, for the readers of many rows."""
    text = str(units)
    if units < 0 or len(text) <= places:
        return plain(from_units(units, places))
    end = len(text) - places
    rest = text[end:].rstrip("0")
    return f"{text[:end]}.{rest}" if rest else text[:end]


class ScaledField(models.BigIntegerField):
    """A Decimal stored as a BIGINT scaled by 10**places; refuses what it would have to round."""

    def __init__(self, *args: Any, places: int, **kwargs: Any) -> None:
        self.places = places
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, kwargs = super().deconstruct()
        kwargs["places"] = self.places
        return name, path, args, kwargs

    def from_db_value(self, value: int | None, *_: Any) -> Decimal | None:
        return None if value is None else from_units(value, self.places)

    def from_stored(self) -> Callable[[int], Decimal]:
        """What makes an amount of a stored integer; for the readers of many rows."""
        multiply, unit = EXACT.multiply, _unit(self.places)
        return lambda units: multiply(units, unit)

    def writer(self) -> Callable[[Decimal | None, Any], str]:
        """What makes of a value how SQL writes it; for the writers of many rows. That raises
        ValueError where the value has more decimals than the field."""
        scaleb, places = EXACT.scaleb, self.places

        def write(value: Decimal | None, _: Any) -> str:
            if not value:
                return "NULL" if value is None else "0"
            text = str(scaleb(value, places))  # all digits, where it has just as many decimals
            is_whole = text.isdigit() or (text[0] == "-" and text[1:].isdigit())
            return text if is_whole else str(to_units(value, places))

        return write

    def to_python(self, value: Any) -> Decimal | None:
        if value is None or isinstance(value, Decimal):
            return value
        try:
            return Decimal(str(value))
        except InvalidOperation as error:
            raise ValidationError(f"“{value}” is not a number") from error

    def get_prep_value(self, value: Any) -> Any:
        if value is None or hasattr(value, "resolve_expression"):
            return value
        amount = value if isinstance(value, Decimal) else Decimal(str(value))
        return to_units(amount, self.places)

    def formfield(self, **kwargs: Any) -> forms.Field | None:
        return models.Field.formfield(
            self, form_class=forms.DecimalField, decimal_places=self.places, **kwargs
        )


def price_field(**kwargs: Any) -> ScaledField:
    """A price in USD per share."""
    return ScaledField(places=PRICE_PLACES, **kwargs)


def quantity_field(**kwargs: Any) -> ScaledField:
    """A number of shares."""
    return ScaledField(places=QUANTITY_PLACES, **kwargs)


def per_share_field(**kwargs: Any) -> ScaledField:
    """USD per share as dividends are declared: in fractions of a cent."""
    return ScaledField(places=PER_SHARE_PLACES, **kwargs)


def cash_field(**kwargs: Any) -> ScaledField:
    """An amount of USD."""
    return ScaledField(places=CASH_PLACES, **kwargs)
