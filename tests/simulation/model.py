"""The dumber twin of the app: plain dictionaries, one call after another. What it says is what is right."""

from __future__ import annotations

from typing import Any

COUNTERS = ("ann", "bob", "cid", "dot")
LISTS = ("inbox", "outbox")
WORDS = ("elk", "elks", "ox", "oxen")
START_COUNT = 5.0
MAY_REFUSE_PATH = "app.js:transfer"
RELEASE_PATH = "_system/release"


class Refused(Exception):
    """A transfer of more than there is; the text says what there is."""

    def __init__(self, giver: str, held: float) -> None:
        super().__init__(f"{giver} holds {held}")


class Model:
    """The state after some prefix of the log."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(COUNTERS, START_COUNT)
        self.lists: dict[str, list[str]] = {name: [] for name in LISTS}
        self.words: dict[str, str] = {}  # by the operation that wrote it last
        self.release = ""

    def call(self, path: str, args: dict[str, Any]) -> Any:
        """Run a function of the app; a mutation changes the state."""
        counts = self.counts
        match path.removeprefix("app.js:"):
            case "add":
                counts[args["name"]] += args["by"]
                return counts[args["name"]]
            case "transfer":
                if counts[args["giver"]] < args["amount"]:
                    raise Refused(args["giver"], counts[args["giver"]])
                counts[args["giver"]] -= args["amount"]
                counts[args["taker"]] += args["amount"]
                return [counts[args["giver"]], counts[args["taker"]]]
            case "demote":
                name = self._leader()
                counts[name] -= args["by"]
                return [name, counts[name]]
            case "append" | "drop" as function:
                before = len(self.lists[args["list"]])
                self.lists[args["list"]].append(args["operation"])
                return before if function == "append" else None
            case "tag" | "retag" as function:
                found = self._tagged(args["word"])
                if function == "retag" and found:
                    del self.words[found[0]]
                self.words[args["operation"]] = args["word" if function == "tag" else "to"]
                return found
            case "tagged":
                return self._tagged(args["word"])
            case "count":
                return counts[args["name"]]
            case "counts":
                return list(counts.values())
            case "operations":
                return sorted(self.lists[args["list"]])
            case "leader":
                return [self._leader(), counts[self._leader()]]
            case "release":
                return self.release
            case "_system/release":
                self.release = args["operation"]
                return None
            case unknown:
                raise LookupError(unknown)

    def _leader(self) -> str:
        """The highest count; of equals, the one made last."""
        return max(COUNTERS, key=lambda name: (self.counts[name], COUNTERS.index(name)))

    def _tagged(self, word: str) -> list[str]:
        return sorted(operation for operation, own in self.words.items() if own.startswith(word))
