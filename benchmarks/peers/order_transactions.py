"""Three usual ways to write one filled order: Django's ORM, hand-written SQL, a stored procedure.

Each order is a transaction of its own that locks its account and writes an order, a fill, a
position, two ledger entries and an outbox row, into tables as plain as they can be. That is less
than Openbell writes for a fill; it is what most systems of this kind do.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar
from uuid import uuid4

from django.db import connection, models, transaction

QUANTITY, PRICE = Decimal(10), Decimal("100.25")
VALUE = QUANTITY * PRICE
FEE = Decimal("0.01")
SYMBOLS = [f"SYM{number:02d}" for number in range(20)]

Place = Callable[[int], None]  # one order of an account


class Peer(models.Model):
    """A table of this benchmark only."""

    objects: ClassVar[models.Manager[Any]] = models.Manager()

    class Meta:
        app_label = "peers"
        abstract = True


class PeerAccount(Peer):
    cash = models.DecimalField(max_digits=20, decimal_places=4)

    class Meta(Peer.Meta):
        abstract = False


class PeerOrder(Peer):
    account = models.ForeignKey(PeerAccount, models.PROTECT)
    client_id = models.CharField(max_length=32)
    symbol = models.CharField(max_length=12)
    quantity = models.DecimalField(max_digits=18, decimal_places=4)
    price = models.DecimalField(max_digits=18, decimal_places=4)
    status = models.SmallIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(Peer.Meta):
        abstract = False
        constraints = [models.UniqueConstraint(fields=["account", "client_id"], name="peer_once")]


class PeerFill(Peer):
    order = models.ForeignKey(PeerOrder, models.PROTECT)
    account = models.ForeignKey(PeerAccount, models.PROTECT)
    symbol = models.CharField(max_length=12)
    quantity = models.DecimalField(max_digits=18, decimal_places=4)
    price = models.DecimalField(max_digits=18, decimal_places=4)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(Peer.Meta):
        abstract = False


class PeerPosition(Peer):
    account = models.ForeignKey(PeerAccount, models.PROTECT)
    symbol = models.CharField(max_length=12)
    quantity = models.DecimalField(max_digits=18, decimal_places=4)
    cost = models.DecimalField(max_digits=20, decimal_places=4)

    class Meta(Peer.Meta):
        abstract = False
        constraints = [models.UniqueConstraint(fields=["account", "symbol"], name="peer_held_once")]


class PeerEntry(Peer):
    account = models.ForeignKey(PeerAccount, models.PROTECT)
    amount = models.DecimalField(max_digits=20, decimal_places=4)
    reference = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(Peer.Meta):
        abstract = False


class PeerMessage(Peer):
    topic = models.CharField(max_length=32)
    payload = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(Peer.Meta):
        abstract = False


MODELS = (PeerAccount, PeerOrder, PeerFill, PeerPosition, PeerEntry, PeerMessage)

PROCEDURE = """
CREATE PROCEDURE peers_place(a BIGINT, c CHAR(32), s VARCHAR(12), q DECIMAL(18,4), p DECIMAL(18,4))
BEGIN
    DECLARE placed BIGINT; DECLARE held DECIMAL(20,4);
    START TRANSACTION;
    SELECT cash INTO held FROM peers_peeraccount WHERE id = a FOR UPDATE;
    INSERT INTO peers_peerorder (account_id, client_id, symbol, quantity, price, status, created_at)
        VALUES (a, c, s, q, p, 2, NOW(6));
    SET placed = LAST_INSERT_ID();
    INSERT INTO peers_peerfill (order_id, account_id, symbol, quantity, price, created_at)
        VALUES (placed, a, s, q, p, NOW(6));
    INSERT INTO peers_peerposition (account_id, symbol, quantity, cost) VALUES (a, s, q, q * p)
        ON DUPLICATE KEY UPDATE quantity = quantity + VALUES(quantity), cost = cost + VALUES(cost);
    UPDATE peers_peeraccount SET cash = cash - q * p WHERE id = a;
    INSERT INTO peers_peerentry (account_id, amount, reference, created_at)
        VALUES (a, -q * p, placed, NOW(6)), (a, -0.01, placed, NOW(6));
    INSERT INTO peers_peermessage (topic, payload, created_at)
        VALUES ('order', JSON_OBJECT('id', placed, 'account', a), NOW(6));
    COMMIT;
END
"""


def make_tables(accounts: int) -> None:
    """The peers' tables and procedure, and accounts numbered from 1."""
    with connection.schema_editor() as editor:
        for model in MODELS:
            editor.create_model(model)
    PeerAccount.objects.bulk_create([PeerAccount(cash=Decimal(10**9)) for _ in range(accounts)])
    with connection.cursor() as cursor:
        cursor.execute(PROCEDURE)


def through_orm(account_id: int) -> None:
    symbol = random.choice(SYMBOLS)
    with transaction.atomic():
        account = PeerAccount.objects.select_for_update().get(pk=account_id)
        order = PeerOrder.objects.create(
            account=account, client_id=uuid4().hex, symbol=symbol, quantity=QUANTITY, price=PRICE,
            status=2,
        )  # fmt: skip
        PeerFill.objects.create(
            order=order, account=account, symbol=symbol, quantity=QUANTITY, price=PRICE
        )
        position, made = PeerPosition.objects.get_or_create(
            account=account, symbol=symbol, defaults={"quantity": QUANTITY, "cost": VALUE}
        )
        if not made:
            position.quantity += QUANTITY
            position.cost += VALUE
            position.save(update_fields=["quantity", "cost"])
        account.cash -= VALUE
        account.save(update_fields=["cash"])
        PeerEntry.objects.create(account=account, amount=-VALUE, reference=order.pk)
        PeerEntry.objects.create(account=account, amount=-FEE, reference=order.pk)
        PeerMessage.objects.create(topic="order", payload=json.dumps({"id": order.pk}))


def through_sql(account_id: int) -> None:
    symbol = random.choice(SYMBOLS)
    cursor: Any
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT cash FROM peers_peeraccount WHERE id = %s FOR UPDATE", [account_id])
        cursor.fetchone()
        cursor.execute(
            "INSERT INTO peers_peerorder (account_id, client_id, symbol, quantity, price, status,"
            " created_at) VALUES (%s, %s, %s, %s, %s, 2, NOW(6))",
            [account_id, uuid4().hex, symbol, QUANTITY, PRICE],
        )
        placed = cursor.lastrowid
        cursor.execute(
            "INSERT INTO peers_peerfill (order_id, account_id, symbol, quantity, price, created_at)"
            " VALUES (%s, %s, %s, %s, %s, NOW(6))",
            [placed, account_id, symbol, QUANTITY, PRICE],
        )
        cursor.execute(
            "INSERT INTO peers_peerposition (account_id, symbol, quantity, cost) VALUES"
            " (%s, %s, %s, %s) ON DUPLICATE KEY UPDATE quantity = quantity + VALUES(quantity),"
            " cost = cost + VALUES(cost)",
            [account_id, symbol, QUANTITY, VALUE],
        )
        cursor.execute(
            "UPDATE peers_peeraccount SET cash = cash - %s WHERE id = %s", [VALUE, account_id]
        )
        cursor.execute(
            "INSERT INTO peers_peerentry (account_id, amount, reference, created_at) VALUES"
            " (%s, %s, %s, NOW(6)), (%s, %s, %s, NOW(6))",
            [account_id, -VALUE, placed, account_id, -FEE, placed],
        )
        cursor.execute(
            "INSERT INTO peers_peermessage (topic, payload, created_at)"
            " VALUES ('order', %s, NOW(6))",
            [json.dumps({"id": placed})],
        )


def through_procedure(account_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CALL peers_place(%s, %s, %s, %s, %s)",
            [account_id, uuid4().hex, random.choice(SYMBOLS), QUANTITY, PRICE],
        )


PEERS: dict[str, Place] = {
    "ORM, an order a transaction": through_orm,
    "SQL, an order a transaction": through_sql,
    "Procedure, one call an order": through_procedure,
}
