"""The write that binds the cookies of a browser to the key of the browser."""

from typing import Final

NO_BROWSER_KEY: Final = "attribute_not_exists(#lineages.#actor.#browser_key)"
"""A login is bound to at most one browser key. With a second key allowed, a thief of the cookies could bind a key."""
BIND_BROWSER: Final = "SET #lineages.#actor.#browser_key = :browser_key"
