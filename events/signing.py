"""Signatures over the event log's chain, kept outside the database.

Whoever can write to the database could write the whole chain anew, or cut off its end. So the relay
signs the head of the chain as it grows, with a key that no database holds, and appends the
signature to a file. Each vouches for every event before it. Ed25519: whoever audits needs only the
public key, which signs nothing.

A folder holds all of it; `AUDIT_HOME` names it. The relay makes the key when it first signs.

    signing-key.pem       the private key, for the relay's eyes only
    public-<name>.pem     the public keys that signatures name, also of keys since replaced
    signatures.jsonl      one signature a line: sequence, hash, time, name of the key, signature
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from prometheus_client import Counter, Gauge

from events.chain import Signed
from events.models import ChainHead

SIGN_EVENTS = 1_000
SIGN_SECONDS = 60.0
OWNER_ONLY = 0o600
LINE_BYTES_MAX = 512
NO_SEQUENCE = (ValueError, KeyError, TypeError, OverflowError)  # of a line without a sequence

SIGNED = Gauge("openbell_events_signed", "The last event that a signature vouches for.")
UNSIGNED = Gauge("openbell_events_unsigned", "Chained events after the last that was signed.")
FAILED = Counter("openbell_signatures_failed_total", "Signatures due and not written.")

logger = logging.getLogger(__name__)


class BadSignature(Exception):
    """A line of the file of signatures that vouches for nothing."""


class BadKey(Exception):
    """A file that should hold an Ed25519 key, and does not."""


class Signer:
    """Signs the head of the chain when it is due. A failure is told and tried again later."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key: Ed25519PrivateKey | None = None
        self._unsigned = SIGN_EVENTS  # whatever was chained before: look at the first turn
        self._tried_at = -SIGN_SECONDS
        self._signed = 0  # the last event that is signed, as far as this signer knows

    def sign_if_due(self, chained: int) -> None:
        """Sign `SIGN_EVENTS` after the last time, or `SIGN_SECONDS` where anything was chained."""
        self._unsigned += chained
        UNSIGNED.inc(chained)
        is_time = time.monotonic() - self._tried_at >= SIGN_SECONDS
        if self._unsigned >= SIGN_EVENTS or (self._unsigned and is_time):
            self.sign()

    def sign(self) -> None:
        """Sign the head as it is, unless it is signed. Whatever stands in the folder, the caller
        goes on."""
        self._unsigned, self._tried_at = 0, time.monotonic()
        head = ChainHead.objects.get(pk=ChainHead.ONLY)
        if head.sequence == 0:
            return
        try:
            self._key = self._key or _signing_key(self._folder)
            _append(self._folder / "signatures.jsonl", self._key, head)
            self._signed = head.sequence
        except (OSError, BadSignature, BadKey) as error:
            self._unsigned = 1  # or nothing would be tried again before there is more to sign
            self._signed = max(self._signed, _signed_until(self._folder / "signatures.jsonl"))
            FAILED.inc()
            logger.error("the event log is not signed: %s", error)
        SIGNED.set(self._signed)
        UNSIGNED.set(max(0, head.sequence - self._signed))


def read_signatures(folder: Path) -> Iterator[Signed]:
    """What the folder's signatures vouch for as of this call, in their order.

    Raises BadKey where a public key cannot be read; BadSignature on the way, where a line was not
    signed by one of the folder's keys.
    """
    file = folder / "signatures.jsonl"
    return _read(file, file.stat().st_size if file.exists() else 0, _public_keys(folder))


def _read(file: Path, size: int, keys: dict[str, Ed25519PublicKey]) -> Iterator[Signed]:
    if size == 0:
        return
    last, read = 0, 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            read += len(line)
            if read > size or not line.endswith(b"\n"):
                return  # written since, or not written to its end
            signed = _checked(line, keys)
            if signed is None or signed.sequence <= last:
                raise BadSignature(f"line {number} of {file} was not written by the relay")
            last = signed.sequence
            yield signed


def _checked(line: bytes, keys: dict[str, Ed25519PublicKey]) -> Signed | None:
    try:
        said = json.loads(line)
        signature = base64.b64decode(said["signature"])
        keys[said["key"]].verify(signature, _message(said["sequence"], said["hash"], said["at"]))
        return Signed(int(said["sequence"]), str(said["hash"]))
    except (ValueError, KeyError, TypeError, InvalidSignature):
        return None


def _message(sequence: int, hash: str, at: str) -> bytes:
    return f"openbell event log\n{sequence}\n{hash}\n{at}\n".encode()


def _append(file: Path, key: Ed25519PrivateKey, head: ChainHead) -> None:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    line = {
        "sequence": head.sequence,
        "hash": head.hash,
        "at": at,
        "key": _name(key.public_key()),
        "signature": base64.b64encode(key.sign(_message(head.sequence, head.hash, at))).decode(),
    }
    with file.open("a+b") as signatures:
        fcntl.flock(signatures, fcntl.LOCK_EX)  # a former owner may be about to write, too
        try:
            last, torn = _last_signed(signatures)
        except NO_SEQUENCE as error:
            raise BadSignature(f"the last line of {file} was not written by the relay") from error
        if torn:
            signatures.truncate(signatures.seek(0, os.SEEK_END) - torn)
        if last > head.sequence:
            FAILED.inc()
            logger.error("the event log ends at %d, and was signed up to %d", head.sequence, last)
        if last < head.sequence:
            signatures.write(json.dumps(line).encode() + b"\n")
            signatures.flush()
            os.fsync(signatures.fileno())


def _signed_until(file: Path) -> int:
    """The last event that signatures on file vouch for; 0 where that cannot be read."""
    try:
        with file.open("rb") as signatures:
            return _last_signed(signatures)[0]
    except (OSError, *NO_SEQUENCE):
        return 0


def _last_signed(signatures: IO[bytes]) -> tuple[int, int]:
    """The sequence of the last line, and how many bytes stand behind it: of one not written to its
    end. Raises one of `NO_SEQUENCE`.
    """
    size = signatures.seek(0, os.SEEK_END)
    signatures.seek(max(0, size - 2 * LINE_BYTES_MAX))
    whole, ends, torn = signatures.read().rpartition(b"\n")
    last = int(json.loads(whole.rpartition(b"\n")[2])["sequence"]) if ends else 0
    return last, len(torn)


# --- keys ---------------------------------------------------------------------------------------


def _signing_key(folder: Path) -> Ed25519PrivateKey:
    """The folder's key; made where there is none. The public one is put beside it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / "signing-key.pem"
    if not file.exists():
        _write_once(file, _private_pem(Ed25519PrivateKey.generate()))
    with _named_if_bad(file):
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"{file} holds a key of another kind")
    public = key.public_key()
    _write_once(folder / f"public-{_name(public)}.pem", _public_pem(public))
    return key


def _public_keys(folder: Path) -> dict[str, Ed25519PublicKey]:
    keys = {}
    for file in folder.glob("public-*.pem"):
        with _named_if_bad(file):
            key = serialization.load_pem_public_key(file.read_bytes())
        if not isinstance(key, Ed25519PublicKey):
            raise BadKey(f"{file} holds a key of another kind")
        keys[_name(key)] = key
    return keys


@contextmanager
def _named_if_bad(file: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKey(f"{file} holds no key that can be read") from error


def _name(key: Ed25519PublicKey) -> str:
    """A key is called by the beginning of its SHA-256."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _write_once(file: Path, content: bytes) -> None:
    """Write a file for its owner's eyes, all of it or none; one that is there stays as it is."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
    with open(descriptor, "wb") as written:
        written.write(content)
        written.flush()
        os.fsync(written.fileno())
    with suppress(FileExistsError):
        os.link(draft, file)
    draft.unlink()
