"""The write that binds the cookies of a browser to its key."""

from typing import Final

NO_BROWSER_KEY: Final = "attribute_not_exists(#lineages.#actor.#browser_key)"
"""A login is bound to one browser key. If it took a second key, a thief of the cookies could bind a key too."""
BIND_BROWSER: Final = "SET #lineages.#actor.#browser_key = :browser_key"
