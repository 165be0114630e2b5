"""The append-only record of everything that changed, and the leases of who changes it."""

from __future__ import annotations

from django.db import models

from events.fields import ExactTextField


class Event(models.Model):
    """One change, written in the transaction that made it.

    `account_sequence` is gap-free per account, from the counter on the account's own row, under
    its lock. `sequence`, `digest` and `hash` are null until the relay fills them (`events.chain`
    says what they cover); apart from that one filling-in no row is ever updated or deleted. The
    payload holds ids, amounts and states, never names, addresses or secrets.
    """

    kind = models.CharField(max_length=64)  # namespaced, past tense: "trading.order.filled"
    subject = models.CharField(max_length=80, blank=True)  # "order:<uuid>", "key:<id>"
    actor = models.CharField(
        max_length=80
    )  # "user:1", "key:<id>", "operator:2", "engine", "system"
    account_id = models.BigIntegerField(null=True)
    account_sequence = models.BigIntegerField(null=True)
    request_id = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField(null=True)  # market time, where the change has one
    recorded_at = models.DateTimeField()  # wall time
    payload = models.JSONField(default=dict)
    sequence = models.BigIntegerField(null=True, unique=True)
    digest = models.CharField(max_length=64, null=True)
    hash = models.CharField(max_length=64, null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account_id", "account_sequence"], name="event_account_sequence"
            ),
        ]
        indexes = [
            models.Index(fields=["subject", "id"], name="event_subject"),
            models.Index(fields=["kind", "id"], name="event_kind"),
            models.Index(fields=["request_id", "id"], name="event_request"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"


class ChainHead(models.Model):
    """The last link of the hash chain: one row, whose lock orders whoever adds to the chain."""

    ONLY = 1

    sequence = models.BigIntegerField()
    hash = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"{self.sequence} {self.hash}"


class Salt(models.Model):
    """What the payloads of an account's events are digested with; without it they say nothing."""

    account_id = models.BigIntegerField(primary_key=True)
    salt = models.CharField(max_length=64)  # hexadecimal

    def __str__(self) -> str:
        return f"salt of account {self.account_id}"


class IdempotencyKey(models.Model):
    """A write that was asked for under a key, and what it was answered; kept for a day.

    The row is part of the transaction of the first change that the request made, so that one is
    there exactly when the other is (`events.idempotency`). The columns below the digest are that
    change's event, as far as it has one; the answer follows when it is known. Where there was
    nothing to change the row has no subject, and its answer from the first.
    """

    principal = models.CharField(max_length=80)  # who asked, as the actor of an event
    key = ExactTextField(max_length=255)
    request_digest = models.CharField(max_length=64)  # SHA-256 of all that was asked
    kind = models.CharField(max_length=64, blank=True)
    subject = models.CharField(max_length=80)
    account_id = models.BigIntegerField(null=True)
    account_sequence = models.BigIntegerField(null=True)
    request_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(db_index=True)  # wall time
    status = models.PositiveSmallIntegerField(null=True)
    answer = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["principal", "key"], name="idempotency_key_once"),
        ]

    def __str__(self) -> str:
        return f"{self.principal} {self.key}"


class Cursor(models.Model):
    """How far a consumer of the log has come: it has handled every event up to `sequence`."""

    name = models.CharField(max_length=64, unique=True)
    sequence = models.BigIntegerField(default=0)
    moved_at = models.DateTimeField()  # wall time

    def __str__(self) -> str:
        return f"{self.name} at {self.sequence}"


class Lease(models.Model):
    """Who owns a shard of feed, execution or relay, until when, and in which epoch."""

    name = models.CharField(max_length=64, unique=True)  # "feed:0", "execution:0", "relay"
    owner = models.CharField(max_length=128, blank=True)
    connection_id = models.BigIntegerField(null=True)
    epoch = models.BigIntegerField(default=0)
    expires_at = models.DateTimeField(null=True)  # database time

    def __str__(self) -> str:
        return f"{self.name} epoch {self.epoch}"
