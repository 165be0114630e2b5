"""Who may do what on the floor: members of staff, superusers, groups. Each change is recorded.

Names, addresses and passwords are never recorded, only that they were changed. To disable a user
is not for here (`access.users`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Concat

from access.users import lock_user
from events import log
from events.errors import NotFound
from events.transactions import retried

FLAGS = ("is_staff", "is_superuser")
ROWS = ("groups", "user_permissions")
NOT_HERE = frozenset({"is_active", "password"})


class Ticks(NamedTuple):
    """Which rows were given and which were taken, by their keys; all others stay as they are."""

    added: Set[int]
    removed: Set[int]


@retried
@transaction.atomic
def add_user(user: Any, *, actor: str) -> None:
    """Store a new user."""
    user.save(force_insert=True)

    log.record("access.user.created", actor=actor, subject=f"user:{user.pk}")


@retried
@transaction.atomic
def change_user(*, user_id: int, changes: Mapping[str, Any], actor: str) -> Any:
    """Change those fields of a user that are named, and no other column; `ROWS` by `Ticks`.

    Nothing is recorded where they are so already. Raises NotFound.
    """
    user = lock_user(user_id)

    assert not NOT_HERE & changes.keys(), changes
    before = _privileges(user)
    changed = [name for name, value in changes.items() if _apply(user, name, value)]
    if not changed:
        return user

    user.save(update_fields=[name for name in changed if name not in ROWS])
    after = _privileges(user)

    differing = [name for name in after if after[name] != before[name]]
    log.record(
        "access.user.changed",
        actor=actor,
        subject=f"user:{user_id}",
        payload={
            "fields": sorted(changed),
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
def add_group(group: Group, *, permissions: Iterable[Permission], actor: str) -> None:
    """Store a new group and what its members may do."""
    group.save(force_insert=True)
    group.permissions.set(permissions)

    _record_group("added", group, actor, [])


@retried
@transaction.atomic
def change_group(*, group_id: int, changes: Mapping[str, Any], actor: str) -> None:
    """Change a group's `name`, and its `permissions` by `Ticks`, where they are named.

    Nothing is recorded where they are so already. Raises NotFound.
    """
    group = _group(group_id)
    if group is None:
        raise NotFound("group not found")

    before = _codes(group.permissions.all())
    changed = [name for name, value in changes.items() if _apply(group, name, value)]
    if not changed:
        return

    group.save()

    _record_group("changed", group, actor, before)


@retried
@transaction.atomic
def delete_group(group: Group, *, actor: str) -> None:
    """Take from its members what the group let them do."""
    held = _group(group.pk)
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


def _apply(row: Any, name: str, value: Any) -> bool:
    """Change one field of a row that is locked; whether it was otherwise. Columns wait for save."""
    if not isinstance(value, Ticks):
        differs = bool(getattr(row, name) != value)
        setattr(row, name, value)
        return differs
    given = getattr(row, name)
    before = set(given.values_list("pk", flat=True))
    after = (before - value.removed) | value.added
    given.set(after)
    return after != before


def _group(group_id: int) -> Group | None:
    return Group.objects.select_for_update().filter(pk=group_id).first()


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
