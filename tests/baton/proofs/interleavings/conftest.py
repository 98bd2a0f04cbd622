"""Argon2 is asked the same few things in every schedule, and computes each once."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib.baton import errors
from chalicelib.baton.factors import password_hash
from chalicelib.baton.factors import password_hash as password_hash_module


class Remembered:
    """A pure function that is not computed twice. Argon2 is meant to be slow, and asked the same few things."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Stand before it."""
        self._function, self._known = function, dict[Any, Any]()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Answer, or refuse, as it did the first time."""
        key = (arguments, tuple(named.items()))
        if key not in self._known:
            try:
                self._known[key] = self._function(*arguments, **named)
            except errors.Refusal as refusal:
                self._known[key] = refusal
        answer = self._known[key]
        if isinstance(answer, errors.Refusal):
            raise type(answer)(answer.reason)
        return answer


@pytest.fixture(autouse=True, scope="package")
def passwords_are_hashed_once() -> Iterator[None]:
    """Remember what the two slow functions answered; they are functions of values."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(password_hash, "hash_password", Remembered(password_hash.hash_password))
        patch.setattr(password_hash_module, "verify_password", Remembered(password_hash_module.verify_password))
        yield
