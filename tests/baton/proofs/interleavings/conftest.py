"""Cache the results of Argon2: every schedule computes the same few hashes."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib.baton import errors
from chalicelib.baton.factors import password_hash


class Remembered:
    """A pure function with a cache. Argon2 is slow on purpose, and every schedule computes the same hashes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Wrap a function."""
        self._function, self._known = function, dict[Any, Any]()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Return, or raise, the result of the first call."""
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
    """Cache the results of the two slow functions, which are pure.

    A module may import them by name, so the fixture patches every module of Baton that has one of them.
    """
    with pytest.MonkeyPatch.context() as patch:
        for function in (password_hash.hash_password, password_hash.verify_password):
            remembered = Remembered(function)
            for module in [module for name, module in sys.modules.items() if name.startswith("chalicelib.baton.")]:
                if vars(module).get(function.__name__) is function:
                    patch.setattr(module, function.__name__, remembered)
        yield
