"""Who may do what on the floor: members of staff, superusers, groups. Each change is recorded.

Names, addresses and passwords are never recorded, only that they were changed. To disable a user
is not for here (`access.users`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Concat

from access.users import lock_user
from events import log
from events.transactions import retried

FLAGS = ("is_staff", "is_superuser")
ROWS = ("groups", "user_permissions")
NOT_HERE = frozenset({"is_active", "password"})


@retried
@transaction.atomic
def add_user(user: Any, *, actor: str) -> None:
    """Store a new user."""
    user.save(force_insert=True)

    log.record("access.user.created", actor=actor, subject=f"user:{user.pk}")


@retried
@transaction.atomic
def change_user(*, user_id: int, changes: Mapping[str, Any], actor: str) -> Any:
    """Change those fields of a user that are named, and no other column. Raises NotFound."""
    user = lock_user(user_id)

    assert not NOT_HERE & changes.keys(), changes
    if not changes:
        return user

    before = _privileges(user)
    for name in ROWS:
        if name in changes:
            getattr(user, name).set(changes[name])
    columns = {name: value for name, value in changes.items() if name not in ROWS}
    for name, value in columns.items():
        setattr(user, name, value)
    if columns:
        user.save(update_fields=list(columns))
    after = _privileges(user)

    differing = [name for name in after if after[name] != before[name]]
    log.record(
        "access.user.changed",
        actor=actor,
        subject=f"user:{user_id}",
        payload={
            "fields": sorted(changes),
            "before": {name: before[name] for name in differing},
            "after": {name: after[name] for name in differing},
        },
    )
    return user


@contextmanager
def setting_password(*, user_id: int, actor: str) -> Iterator[None]:
    """Hold the user while somebody may set their password, and record it where they have.

    One transaction with what is done meanwhile. Raises NotFound.
    """
    with transaction.atomic():
        before = lock_user(user_id).password
        yield
        if get_user_model().objects.get(pk=user_id).password != before:
            log.record("access.user.password_set", actor=actor, subject=f"user:{user_id}")


@retried
@transaction.atomic
def save_group(group: Group, *, permissions: Iterable[Permission], actor: str) -> None:
    """Store a group and what its members may do."""
    held = _group(group)
    before = [] if held is None else _codes(held.permissions.all())

    group.save()
    group.permissions.set(permissions)

    _record_group("added" if held is None else "changed", group, actor, before)


@retried
@transaction.atomic
def delete_group(group: Group, *, actor: str) -> None:
    """Take from its members what the group let them do."""
    held = _group(group)
    if held is None:
        return
    members = sorted(held.user_set.values_list("pk", flat=True))
    before = _codes(held.permissions.all())
    log.record(
        "access.group.deleted",
        actor=actor,
        subject=f"group:{held.pk}",
        payload={"before": before, "members": members},
    )
    held.delete()


def _group(group: Group) -> Group | None:
    return Group.objects.select_for_update().filter(pk=group.pk).first()


def _record_group(what: str, group: Group, actor: str, before: list[str]) -> None:
    log.record(
        f"access.group.{what}",
        actor=actor,
        subject=f"group:{group.pk}",
        payload={"before": before, "after": _codes(group.permissions.all())},
    )


def _privileges(user: Any) -> dict[str, Any]:
    return {
        **{name: getattr(user, name) for name in FLAGS},
        "groups": sorted(user.groups.values_list("pk", flat=True)),
        "user_permissions": _codes(user.user_permissions.all()),
    }


def _codes(permissions: QuerySet[Permission]) -> list[str]:
    """Permissions as Django names them: "trading.change_order"."""
    code = Concat(F("content_type__app_label"), Value("."), F("codename"))
    return sorted(permissions.order_by().values_list(code, flat=True))
