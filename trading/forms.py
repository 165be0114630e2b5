"""What a person fills in before there is an account to trade with."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.forms import AuthenticationForm, UserCreationForm


class SignUpForm(UserCreationForm):
    """A user name and a password that Django's validators accept."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].help_text = "Letters, digits and @ . + - _"
        complete(self, username="username", password1="new-password", password2="new-password")


class LogInForm(AuthenticationForm):
    """Who you are; says only that the pair is wrong, never which half."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        complete(self, username="username", password="current-password")


def complete(form: Any, **purposes: str) -> None:
    """Tell browsers and password managers what each field holds."""
    for name, purpose in purposes.items():
        attributes = form.fields[name].widget.attrs
        attributes["autocomplete"] = purpose
        attributes.pop("autofocus", None)  # the page decides where the reader starts
