"use node";
// Node actions, as apps write them: Node's own modules, calls back into the deployment, failures of all kinds.
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { log } from "convex/server";
import { ConvexError, v } from "convex/values";
import { api, internal } from "./_generated/api";
import { action, internalAction } from "./_generated/server";

export const hashes = action({
  args: { text: v.string() },
  returns: v.object({ digest: v.string(), kept: v.string(), major: v.string() }),
  handler: async (_ctx, { text }) => {
    console.log("hashing", { text });
    const folder = mkdtempSync(join(tmpdir(), "conformance-"));
    const path = join(folder, randomBytes(4).toString("hex"));
    writeFileSync(path, text);
    await new Promise((resolve) => setTimeout(resolve, 5));
    const kept = readFileSync(path, "utf8");
    rmSync(folder, { recursive: true });
    const digest = createHash("sha256").update(text).digest("hex");
    return { digest, kept, major: process.versions.node.split(".")[0] };
  },
});

export const counts = action({
  args: { name: v.string() },
  handler: async (ctx, { name }): Promise<number[]> => {
    const first: number = await ctx.runMutation(api.messages.increment, { name });
    const second: number = await ctx.runAction(internal.actions.inner, { name });
    const third: number = await ctx.runAction(internal.tools.inner, { name });
    return [first, second, third, await ctx.runQuery(api.messages.count, { name })];
  },
});

export const audits = action({
  args: {},
  handler: async () => await log.audit({ action: "acted" }).catch((error: Error) => error.message),
});

export const inner = internalAction({
  args: { name: v.string() },
  handler: async (ctx, { name }): Promise<number> => ctx.runMutation(api.messages.increment, { name }),
});

export const schedules = action({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.scheduler.runAfter(0, internal.tools.inner, { name });
    const never = await ctx.scheduler.runAfter(60_000, internal.tools.inner, { name });
    await ctx.scheduler.cancel(never);
  },
});

export const stores = action({
  args: { text: v.string() },
  handler: async (ctx, { text }) => {
    const id = await ctx.storage.store(new Blob([text], { type: "text/plain" }));
    const served = await (await fetch((await ctx.storage.getUrl(id))!)).text();
    const read = await ctx.storage.get(id);
    await ctx.storage.delete(id);
    const gone = await ctx.storage.get(id);
    return { served: served === text, read: (await read!.text()) === text, type: read!.type, gone: gone === null };
  },
});

export const fails = action({
  args: { how: v.string() },
  handler: async (ctx, { how }) => {
    if (how === "convex") throw new ConvexError({ code: "NOPE", n: 5n });
    if (how === "error") throw new Error("a Node action that fails");
    if (how === "database") return (ctx as any).db.get("x");
    if (how === "exit") process.exit(1);
    if (how === "uncaught") setTimeout(() => { throw new Error("Yikes"); }, 1);
    if (how === "unhandled") void Promise.reject(new Error("Yikes"));
    await new Promise(() => {});
  },
});

export const hangs = action({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.runMutation(api.messages.increment, { name });
    await new Promise(() => {});
  },
});

/** What it finds of a point it has just had written: the newest commit counts. */
export const nearest = action({
  args: { at: v.array(v.float64()) },
  handler: async (ctx, { at }): Promise<any> => {
    const id = await ctx.runMutation(api.points.add, { at, kind: "noded" });
    const [own] = await ctx.vectorSearch("points", "by_at", {
      vector: at,
      limit: 1,
      filter: (q) => q.eq("kind", "noded"),
    });
    return { isOwn: own._id === id, score: own._score };
  },
});

export const counted = action({
  args: { name: v.string() },
  handler: async (ctx, { name }): Promise<number> => ctx.runMutation(api.messages.increment, { name }),
});

/** Who sent the request, as Node and what it calls are told. */
export const requester = action({
  args: {},
  handler: async (ctx): Promise<unknown[]> => {
    const { ip, userAgent } = await ctx.meta.getRequestMetadata();
    return [{ ip, userAgent }, await ctx.runMutation(api.audits.requester, {})];
  },
});
