"""Who may do what on the floor is given by superusers, and everything given is in the log."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from access.admin import PlatformUserAdmin
from access.models import ApiKey
from events.models import Event
from tests.admin_pages import OpenPage
from tests.people import Trader, a_trader, an_operator

pytestmark = pytest.mark.django_db

User = get_user_model()


@pytest.fixture
def superuser() -> Trader:
    return an_operator()


@pytest.fixture
def clerk() -> Trader:
    """A member of staff who may change users, and give nobody privileges."""
    clerk = a_trader(is_staff=True)
    codes = ["add_user", "change_user", "view_user", "change_group", "add_group", "view_group"]
    clerk.user.user_permissions.set(Permission.objects.filter(codename__in=codes))
    return clerk


def page_of(user: Any, page: str = "change") -> str:
    if page == "password":
        return reverse("admin:auth_user_password_change", args=[user.pk])
    return reverse(f"admin:auth_user_{page}", args=[user.pk])


def save(browser: Client, user: Any, **changes: Any) -> Any:
    """Send the user's page with these changes; None unticks a box."""
    flags = {name: "on" for name in ("is_staff", "is_superuser") if getattr(user, name)}
    form = {"username": user.username, "email": user.email, **flags, **changes}
    return browser.post(
        page_of(user), {name: value for name, value in form.items() if value is not None}
    )


def given_to(user: Any) -> set[str]:
    return set(user.user_permissions.values_list("codename", flat=True))


def newest() -> Event:
    event = Event.objects.order_by("pk").last()
    assert event is not None
    return event


def test_what_a_superuser_gives_is_recorded_without_names(superuser: Trader) -> None:
    user, group = a_trader().user, Group.objects.create(name="desk")
    may = Permission.objects.get(codename="change_order")

    answer = save(
        superuser.browser(),
        user,
        email="ada@example.org",
        is_staff="on",
        groups=[group.pk],
        user_permissions=[may.pk],
    )

    assert answer.status_code == 302
    event = newest()
    assert (event.kind, event.subject) == ("access.user.changed", f"user:{user.pk}")
    assert event.actor == f"operator:{superuser.user.pk}"
    assert event.payload == {
        "fields": ["email", "groups", "is_staff", "user_permissions"],
        "before": {"is_staff": False, "groups": [], "user_permissions": []},
        "after": {
            "is_staff": True,
            "groups": [group.pk],
            "user_permissions": ["trading.change_order"],
        },
    }
    user.refresh_from_db()
    assert (user.is_staff, user.email) == (True, "ada@example.org")
    assert user.has_perm("trading.change_order")


def test_a_page_saved_as_it_was_changes_and_records_nothing(superuser: Trader) -> None:
    user, before = a_trader().user, Event.objects.count()

    save(superuser.browser(), user)

    assert Event.objects.count() == before


def test_what_was_not_on_the_form_is_not_written_back(
    superuser: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = a_trader().user
    save_form = PlatformUserAdmin.save_form

    def after_somebody_disabled_them(self: Any, request: Any, form: Any, change: bool) -> Any:
        User.objects.filter(pk=user.pk).update(is_active=False)
        return save_form(self, request, form, change)

    monkeypatch.setattr(PlatformUserAdmin, "save_form", after_somebody_disabled_them)

    assert save(superuser.browser(), user, email="ada@example.org").status_code == 302

    user.refresh_from_db()
    assert (user.is_active, user.email) == (False, "ada@example.org")


def test_a_page_left_open_undoes_nothing_that_was_done_meanwhile(superuser: Trader) -> None:
    user, browser = a_trader(email="old@example.org").user, superuser.browser()
    kept, taken, given, mine = Permission.objects.filter(content_type__app_label="trading")[:4]
    user.user_permissions.set([kept, taken])
    left_open = OpenPage(browser, page_of(user))

    OpenPage(browser, page_of(user)).send(
        username="ada", is_staff="on", user_permissions=[kept.pk, given.pk]
    )
    answer = left_open.send(email="ada@example.org", user_permissions=[kept.pk, taken.pk, mine.pk])

    assert answer.status_code == 302
    user.refresh_from_db()
    assert (user.username, user.email, user.is_staff) == ("ada", "ada@example.org", True)
    assert given_to(user) == {kept.codename, given.codename, mine.codename}
    assert newest().payload["fields"] == ["email", "user_permissions"]
    assert newest().payload["before"].keys() == {"user_permissions"}


def test_a_groups_page_left_open_undoes_nothing(superuser: Trader) -> None:
    browser, group = superuser.browser(), Group.objects.create(name="desk")
    kept, taken, mine = Permission.objects.filter(content_type__app_label="trading")[:3]
    group.permissions.set([kept, taken])
    url = reverse("admin:auth_group_change", args=[group.pk])
    left_open = OpenPage(browser, url)

    OpenPage(browser, url).send(name="floor", permissions=[kept.pk])
    left_open.send(permissions=[kept.pk, taken.pk, mine.pk])

    group.refresh_from_db()
    assert group.name == "floor"
    assert set(group.permissions.all()) == {kept, mine}
    assert Event.objects.filter(kind="access.group.changed").count() == 2
    left_open.send(permissions=[kept.pk, taken.pk, mine.pk])
    assert Event.objects.filter(kind="access.group.changed").count() == 2


def test_a_password_that_is_set_is_recorded(superuser: Trader) -> None:
    user, browser = a_trader().user, superuser.browser()
    word = {"password1": "open sesame 7", "password2": "open sesame 7", "usable_password": "true"}

    wrong = browser.post(page_of(user, "password"), {**word, "password2": "open barley"})
    assert wrong.status_code == 200
    assert not Event.objects.filter(kind="access.user.password_set").exists()

    answer = browser.post(page_of(user, "password"), {**word, "set-password": "1"})

    assert answer.status_code == 302
    event = newest()
    assert (event.kind, event.subject) == ("access.user.password_set", f"user:{user.pk}")
    assert (event.actor, event.payload) == (f"operator:{superuser.user.pk}", {})
    user.refresh_from_db()
    assert user.check_password("open sesame 7")


def test_a_user_made_by_hand_is_recorded(superuser: Trader) -> None:
    word = {"password1": "open sesame 7", "password2": "open sesame 7", "usable_password": "true"}

    superuser.browser().post(reverse("admin:auth_user_add"), {"username": "ada", **word})

    ada = User.objects.get(username="ada")
    assert (newest().kind, newest().subject) == ("access.user.created", f"user:{ada.pk}")
    assert ada.check_password("open sesame 7")


def test_nobody_promotes_themselves(clerk: Trader, superuser: Trader) -> None:
    browser, user, before = clerk.browser(), a_trader().user, Event.objects.count()
    group = Group.objects.create(name="desk")
    everything = [permission.pk for permission in Permission.objects.all()]
    gifts = {"is_superuser": "on", "is_staff": "on", "user_permissions": everything}

    save(browser, user, groups=[group.pk], **gifts)
    for who in (clerk.user, superuser.user):
        assert save(browser, who, email="ada@example.org").status_code == 403
        assert browser.post(page_of(who, "password"), {}).status_code == 403
        assert save(browser, who, **gifts).status_code == 403
    add, change = (
        reverse("admin:auth_group_add"),
        reverse("admin:auth_group_change", args=[group.pk]),
    )
    for url in (add, change):
        form = {"name": "all", "permissions": everything}
        assert browser.post(url, form).status_code == 403

    user.refresh_from_db()
    assert (user.is_staff, user.is_superuser) == (False, False)
    assert (user.groups.count(), user.user_permissions.count()) == (0, 0)
    assert (group.permissions.count(), Event.objects.count()) == (0, before)
    assert save(browser, user, email="ada@example.org").status_code == 302
    assert newest().payload["fields"] == ["email"]


def test_nobody_makes_a_key_with_which_to_act_as_a_member_of_staff(
    clerk: Trader, superuser: Trader
) -> None:
    clerk.user.user_permissions.set(Permission.objects.filter(codename="add_apikey"))
    url, trader = reverse("admin:access_apikey_add"), a_trader()

    for owner in (superuser, trader):
        form = {"account": owner.account.pk, "name": "robot"}
        page = clerk.browser().post(url, form, follow=True).content.decode()
        refused = "eys of members of staff are made by superusers only" in page
        assert refused == (owner is superuser)

    assert [key.user for key in ApiKey.objects.filter(name="robot")] == [trader.user]


def test_members_of_staff_are_shut_out_by_superusers_only(clerk: Trader, superuser: Trader) -> None:
    trader = a_trader()
    page = clerk.browser().post(
        reverse("admin:auth_user_changelist"),
        {"action": "disable", "_selected_action": [superuser.user.pk, trader.user.pk]},
        follow=True,
    )

    assert "members of staff are changed by superusers only" in page.content.decode()
    assert User.objects.get(pk=superuser.user.pk).is_active
    assert not User.objects.get(pk=trader.user.pk).is_active


def test_what_a_group_may_do_is_recorded(superuser: Trader) -> None:
    browser, user = superuser.browser(), a_trader().user
    may = Permission.objects.get(codename="change_order")

    browser.post(reverse("admin:auth_group_add"), {"name": "desk", "permissions": [may.pk]})
    group = Group.objects.get()
    user.groups.add(group)
    page = OpenPage(browser, reverse("admin:auth_group_change", args=[group.pk]))
    page.send(permissions=None)
    group.permissions.add(may)
    browser.post(
        reverse("admin:auth_group_changelist"),
        {"action": "delete_selected", "_selected_action": [group.pk], "post": "yes"},
    )

    assert not Group.objects.exists()
    events = Event.objects.filter(subject=f"group:{group.pk}").order_by("pk")
    assert [(event.kind, event.payload) for event in events] == [
        ("access.group.added", {"before": [], "after": ["trading.change_order"]}),
        ("access.group.changed", {"before": ["trading.change_order"], "after": []}),
        (
            "access.group.deleted",
            {"before": ["trading.change_order"], "members": [user.pk]},
        ),
    ]
