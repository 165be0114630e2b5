"""The form with which an operator announces a corporate action."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms

from events.errors import OpenbellError
from quotes.corporate_actions import announce_dividend, announce_split
from quotes.models import CorporateAction


class AnnouncementForm(forms.ModelForm):
    """The terms of a dividend or a split; `actor` is set by the admin page that shows it."""

    actor = ""

    class Meta:
        model = CorporateAction
        fields = (
            *("instrument", "kind", "ex_on"),
            *("per_share", "payable_on"),
            *("new_shares", "old_shares"),
        )
        help_texts = {
            "ex_on": "a trading day; a split is booked when it begins",
            "per_share": "of a dividend, in USD",
            "payable_on": "of a dividend; the ex-date if left out",
            "new_shares": "of a split: 4 in 4:1",
            "old_shares": "of a split: 1 in 4:1",
        }

    def clean(self) -> dict[str, Any]:
        """Announce it; the page's transaction keeps it, or undoes it where anything is refused."""
        cleaned = super().clean() or {}
        if not self.errors:
            try:
                self.instance = self._announce(cleaned)
            except OpenbellError as error:
                raise forms.ValidationError(error.message) from error
        return cleaned

    def _announce(self, terms: dict[str, Any]) -> CorporateAction:
        common = {
            "symbol": terms["instrument"].symbol,
            "ex_on": terms["ex_on"],
            "actor": self.actor,
        }
        if terms["kind"] == CorporateAction.Kind.SPLIT:
            return announce_split(
                new_shares=terms["new_shares"] or 0, old_shares=terms["old_shares"] or 0, **common
            )
        return announce_dividend(
            per_share=terms["per_share"] or Decimal(0),
            payable_on=terms["payable_on"] or terms["ex_on"],
            **common,
        )

    def _post_clean(self) -> None:
        """The use case has checked and stored it."""
