"""What a person fills in before there is an account to trade with."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.forms import AuthenticationForm, UserCreationForm


class SignUpForm(UserCreationForm):
    """A user name and a password that Django's validators accept."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        describe(self, username="username", password1="new-password", password2="new-password")
        self.fields["username"].help_text = "Letters, digits and @ . + - _"


class LogInForm(AuthenticationForm):
    """Who you are; says only that the pair is wrong, never which half."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        describe(self, username="username", password="current-password")


def describe(form: Any, **autocomplete: str) -> None:
    """Tell browsers and screen readers what each field holds and what was wrong with it."""
    for name, purpose in autocomplete.items():
        attributes = form.fields[name].widget.attrs
        attributes["autocomplete"] = purpose
        attributes.pop("autofocus", None)  # the page decides where the reader starts
        if form.is_bound and name in form.errors:
            attributes["aria-invalid"] = "true"
            attributes["aria-describedby"] = f"{name}-error"
