"""Mail between replicas: only the receiver opens it, only a holder of the key file can write it."""

import pytest

from callgate.credentials.replica_key import ReplicaKey


def test_only_the_receiver_opens_a_message() -> None:
    sender, receiver, other = (ReplicaKey.generate(b"shared") for _ in range(3))
    sealed = sender.seal_for(receiver.public, b"answer")
    assert receiver.open(sealed) == b"answer"
    assert other.open(sealed) is None
    assert sender.open(sealed) is None
    assert b"answer" not in sealed


def test_without_the_shared_secret_nothing_can_be_forged_or_read() -> None:
    receiver = ReplicaKey.generate(b"shared")
    assert receiver.open(ReplicaKey.generate(b"guess").seal_for(receiver.public, b"x")) is None


def test_a_damaged_message_opens_as_none() -> None:
    key = ReplicaKey.generate()
    sealed = key.seal_for(key.public, b"x")
    for damaged in (b"", sealed[:31], sealed[:40], sealed[:-1], bytes(32) + sealed[32:], sealed + b"x"):
        assert key.open(damaged) is None


def test_sealing_for_what_is_no_key_is_an_error() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        ReplicaKey.generate().seal_for(b"short", b"x")
