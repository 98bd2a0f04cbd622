"""The write that binds the cookies of a browser to its key."""

from typing import Final

NO_BROWSER_KEY: Final = "attribute_not_exists(#lineages.#actor.#browser_key)"
"""A browser is bound to one key. A second key would let a thief of the cookies in."""
BIND_BROWSER: Final = "SET #lineages.#actor.#browser_key = :browser_key"
