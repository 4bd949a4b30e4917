// Functions that try to take the executor down, or to see what is not theirs.
import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

let calls = 0;
(globalThis as any).leak ??= 0;

export const loop = query({ args: {}, handler: async () => { for (;;); } });

export const swallowedLoop = query({
  args: {},
  handler: async () => {
    for (;;) {
      try {
        for (;;);
      } catch {}
    }
  },
});

export const recursion = query({
  args: {},
  handler: async () => {
    const deeper = (n: number): number => deeper(n + 1) + 1;
    return deeper(0);
  },
});

export const allocation = query({
  args: {},
  handler: async () => {
    const held: Uint8Array[] = [];
    for (let i = 0; i < 1024; i++) held.push(new Uint8Array(1 << 20).fill(1));
    return held.length;
  },
});

export const swallowedAllocation = query({
  args: {},
  handler: async () => {
    const held: unknown[] = [];
    for (;;) {
      try {
        held.push(new Uint8Array(1 << 20));
      } catch {}
    }
  },
});

export const regex = query({
  args: {},
  handler: async () => /^(a+)+$/.test("a".repeat(40) + "b"),
});

export const nestedJson = query({
  args: {},
  handler: async () => JSON.parse("[".repeat(1_000_000)),
});

export const neverSettles = query({ args: {}, handler: async () => await new Promise(() => {}) });

export const unhandled = query({
  args: {},
  handler: async () => {
    void Promise.reject(new Error("nobody handles this"));
    await Promise.resolve();
    return "returned";
  },
});

export const remember = query({
  args: {},
  handler: async () => {
    calls += 1;
    (globalThis as any).leak += 1;
    (Array.prototype as any).leak = ((Array.prototype as any).leak ?? 0) + 1;
    return [calls, (globalThis as any).leak, (Array.prototype as any).leak];
  },
});

export const dangling = mutation({
  args: { channel: v.string() },
  handler: async (ctx, { channel }) => {
    void ctx.db.insert("messages", { channel, body: "not awaited" });
  },
});
