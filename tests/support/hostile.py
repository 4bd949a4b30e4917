"""Hostile functions in a row against one isolate: what each ends in, and what is left of them (spec 03 7).

Only kinds that end quickly: loops that the watchdog must end have tests of their own in
`tests/functions/test_sandbox.py`. Between any two of them the *witness* looks at everything they spoil.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

from functions.isolate import Returned, Settled, Terminated, Thrown

from .javascript import RecordingHost, Run

SOURCE = """
let calls = 0;
const kept = new Map();
const text = (args) => JSON.parse(args)[0].text;

// What a function may spoil for the next one; equal for every call that starts from the image.
export const witness = query((args) => [
  ++calls, kept.size, globalThis.leak ?? null, {}.leak ?? null, [].leak ?? null, typeof Array.prototype.map,
  Object.keys(globalThis).length, JSON.stringify({ a: [1] }), [3, 1, 2].sort(), /b+/.exec("abb")[0],
  new Date(0).toISOString(), new URL("http://a.test/b").pathname, String(Symbol.iterator in []), text(args),
]);

export const prototypes = mutation(() => {
  calls += 7; kept.set("leak", kept); globalThis.leak = 1;
  for (const each of [Object, Array, Function, String, Promise, Map, RegExp, Date, Error, URL]) {
    each.prototype.leak = each;
  }
  Array.prototype.map = Array.prototype.push = () => { throw new Error("spoilt"); };
  Object.defineProperty(Object.prototype, "message", { get() { return "forged"; }, set() {} });
  Symbol.prototype[Symbol.toPrimitive] = () => 7;
  Date.prototype.toISOString = () => "never";
  Math.random = () => 4;
  delete globalThis.URL;
});
export const builtins = query(() => {
  JSON.parse = JSON.stringify = () => "forged";
  globalThis.Convex = globalThis.process = globalThis.console = undefined;
  Promise.prototype.then = function () { return this; };
  Promise.resolve = Promise.reject = () => 7;
});
export const freezing = query(() => {
  for (const name of Object.getOwnPropertyNames(globalThis)) {
    try { Object.freeze(globalThis[name]); Object.freeze(globalThis[name].prototype); } catch {}
  }
  Object.freeze(globalThis);
});
export const protoArguments = query((args) => {
  const [given] = JSON.parse(args);
  Object.assign({}, given);
  ({}).__proto__.leak = given;
  for (const [key, value] of Object.entries(given)) globalThis[key] = value;
  return Object.keys(given);
});
export const giantString = query(() => { kept.set("x", "x".repeat(1 << 20)); return kept.get("x"); });
export const giantMessage = query(() => { throw new Error("\\u{1f600}".repeat(1 << 18)); });
export const giantPrint = query(() => { console.log("y".repeat(1 << 17), new Array(50).fill({ a: {} })); });
export const promiseFlood = query(() => {
  for (let i = 0; i < 2000; i++) Promise.resolve(i).then((n) => kept.set(n, new Promise(() => {})));
});
export const rejectionFlood = query(() => {
  for (let i = 0; i < 1000; i++) Promise.reject(new Error("no " + i));
});
export const danglingWrites = mutation(() => {
  const write = JSON.stringify({ table: "t", value: {} });
  for (let i = 0; i < 200; i++) Convex.asyncSyscall("1.0/insert", write);
  return "not awaited";
});
export const late = action(async () => {
  const spoil = () => { globalThis.leak = 1; };
  await Promise.all([1, 2, 3].map((n) => Convex.asyncSyscall("1.0/late", String(n)).then(spoil)));
});
export const never = query(() => new Promise((resolve) => kept.set(resolve, resolve)));
export const recursion = query(() => { const deeper = () => deeper() + 1; return deeper(); });
export const getterRecursion = query(() => { const o = { get a() { return this.a; } }; return o.a; });
export const deepJson = query(() => JSON.parse("[".repeat(1e5)));
export const proxies = query(() => {
  const trap = new Proxy(() => {}, { get: () => trap, apply: () => trap, getPrototypeOf() { throw trap; } });
  throw trap;
});
export const thenable = query(() => ({ toJSON() { throw { get message() { throw 1; } }; } }));
export const symbols = query(() => { throw Symbol("no error"); });
export const forbidden = query(async () => {
  setTimeout(() => { globalThis.leak = 1; }, 0);
  await fetch("http://a.test");
});
export const regexes = query(() => {
  for (let i = 0; i < 300; i++) kept.set(i, new RegExp(`(a{${i}})*(?<n${i}>b)`).exec("aab"));
});
export const streams = query(() => { for (let i = 0; i < 50; i++) kept.set(i, new ReadableStream().tee()); });
export const cycles = query(() => {
  const all = [];
  for (let i = 0; i < 20000; i++) all.push({ all, i });
  kept.set(all, all);
});
export const allocation = query(() => { const held = []; for (;;) held.push(new Uint8Array(1 << 24)); });
export const swallowedAllocation = query(() => {
  try { new ArrayBuffer(1 << 30); } catch {}
  return "survived";
});
"""
KINDS = {
    "mutation": ("prototypes", "danglingWrites"),
    "action": ("late",),
    "query": (
        *("builtins", "freezing", "protoArguments", "giantString", "giantMessage", "giantPrint"),
        *("promiseFlood", "rejectionFlood", "never", "recursion", "getterRecursion", "deepJson", "proxies"),
        *("thenable", "symbols", "forbidden", "regexes", "streams", "cycles"),
        *("allocation", "swallowedAllocation"),
    ),
}
KIND_OF = {name: kind for kind, names in KINDS.items() for name in names}
ARGUMENTS = (
    b'[{"text":"a","__proto__":{"leak":1},"constructor":{"prototype":{"leak":2}},"leak":3,"then":4}]',
    b'[{"text":"\\ud83d\\ude00","toString":null,"valueOf":null,"toJSON":7,"__defineGetter__":[]}]',
    b'[{"text":"' + b"z" * 100_000 + b'"}]',
)


class HostileRow:
    """Calls hostile functions one after the other; `step` raises where one leaves something behind."""

    def __init__(self, seed: int, only: str | None = None) -> None:
        self._names = list(KIND_OF) if only is None else [only]
        self._rng = random.Random(seed)
        self._run = Run(SOURCE)
        self.endings: Counter[str] = Counter()
        self._expected = self._witness()

    def step(self) -> None:
        name = self._rng.choice(self._names)
        settled = self._call(name)
        self.endings[f"{name}: {ending_of(settled)}"] += 1
        if self._run.host.waiting:
            self._abandon()
        found = self._witness()
        if found != self._expected:
            raise AssertionError(f"{name} left something behind: {found!r}")

    def _call(self, name: str) -> Settled | None:
        self._run.host = RecordingHost(answers={"1.0/insert": None, "1.0/late": None})
        args = self._rng.choice(ARGUMENTS)
        return self._run.call(name, KIND_OF[name], args, user_seconds_max=10.0)

    def _abandon(self) -> None:
        """Some answers come before the next call begins, the others when it has begun and ended."""
        waiting = self._run.host.waiting
        for call_id, _, _ in waiting[: len(waiting) // 2]:
            self._run.deliver(call_id, b"null")
        self._witness()
        for call_id, _, _ in waiting:
            assert self._run.deliver(call_id, b'"late"') is None

    def _witness(self) -> Settled | None:
        self._run.host = RecordingHost()
        return self._run.call("witness", args=b'[{"text":"seen"}]')


def ending_of(settled: Settled | None) -> str:
    match settled:
        case Returned():
            return "returned"
        case Thrown(name=name, is_error=is_error):
            return f"threw {name}" if is_error else "threw no error"
        case Terminated(code=code):
            return f"ended ({code})"
        case None:
            return "abandoned"


def private_bytes() -> int:
    """Memory that is this process's alone and resident: what it would give back if it ended."""
    fields = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return sum(int(words[1]) * 1024 for words in fields if words[0].startswith("Private_"))


def handles() -> tuple[int, int]:
    """Open files and threads of this process."""
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
