"""Write ``clients/vectors/*.json``: ``python -m tools.client_vectors``."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tools.client_vectors import addresses, attempts, clocks, problems, records, signatures

FOLDER: Final = Path(__file__).parents[2] / "clients" / "vectors"

FILES: Final[Mapping[str, Callable[[], list[dict[str, Any]]]]] = {
    "attempts": attempts.vectors,
    "backoff": clocks.backoff,
    "base_url": addresses.base_urls,
    "clock": clocks.clock,
    "der": signatures.der,
    "digest": signatures.digests,
    "path": addresses.paths,
    "problems": problems.vectors,
    "record": records.vectors,
    "signature_base": signatures.bases,
    "signatures": signatures.signatures,
    "thumbprint": signatures.thumbprints,
}


def texts() -> dict[str, str]:
    """Return the text of each file by the file's name. Each vector is one line."""
    return {
        f"{name}.json": "[\n" + ",\n".join(json.dumps(one, ensure_ascii=True) for one in make()) + "\n]\n"
        for name, make in FILES.items()
    }


def main() -> None:
    """Write the files, and print the number of vectors of each."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text, "utf-8")
        print(f"{name}: {len(json.loads(text))}")


if __name__ == "__main__":
    main()
