"""Forms about people: signing in, tokens, members."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.accounts.scopes import Role, Scope
from apps.accounts.services import TOKEN_DAYS, TOKEN_DAYS_MOST


class SignInForm(forms.Form):
    username = forms.CharField(
        label=_("Name"),
        max_length=150,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autofocus": True}),
    )
    password = forms.CharField(
        label=_("Password"),
        max_length=1024,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )


class LinkForm(forms.Form):
    """A password for next time, if one is wanted."""

    password = forms.CharField(
        label=_("New password"),
        max_length=1024,
        required=False,
        strip=False,
        help_text=_("At least 12 characters; a few words in a row are good."),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    again = forms.CharField(
        label=_("The same once more"),
        max_length=1024,
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean(self) -> dict[str, Any]:
        said = super().clean() or {}
        if said.get("password", "") != said.get("again", ""):
            self.add_error("again", _("The two passwords differ."))
        return said


class TokenForm(forms.Form):
    name = forms.CharField(
        label=_("Name"),
        max_length=80,
        help_text=_("What it is for: laptop, nightly training."),
    )
    scopes = forms.MultipleChoiceField(
        label=_("What it may do"), widget=forms.CheckboxSelectMultiple
    )
    days = forms.TypedChoiceField(
        label=_("Works for"),
        coerce=int,
        initial=TOKEN_DAYS,
        choices=[
            (7, _("a week")),
            (30, _("30 days")),
            (TOKEN_DAYS, _("90 days")),
            (TOKEN_DAYS_MOST, _("a year")),
        ],
    )

    def __init__(self, *args: Any, held: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        mine = [(scope.value, scope.label) for scope in Scope if scope.value in set(held)]
        self.fields["scopes"].choices = mine  # type: ignore[attr-defined]
        # A key that makes keys is harder to take back: that is chosen, not given.
        self.fields["scopes"].initial = [word for word, _ in mine if word != Scope.TOKENS_WRITE]


class InviteForm(forms.Form):
    username = forms.CharField(
        label=_("Name"),
        max_length=150,
        help_text=_("The name they sign in with; a new person gets a one-time link."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices, initial=Role.MEMBER)
