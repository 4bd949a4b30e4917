// Components from npm, used as their authors show it.
import { DirectAggregate } from "@convex-dev/aggregate";
import { MINUTE, RateLimiter } from "@convex-dev/rate-limiter";
import { vOnCompleteArgs, Workpool } from "@convex-dev/workpool";
import { v } from "convex/values";
import { components, internal } from "./_generated/api";
import { internalAction, internalMutation, mutation, query } from "./_generated/server";

const limiter = new RateLimiter(components.rateLimiter, {
  tries: { kind: "fixed window", rate: 3, period: MINUTE },
  bucket: { kind: "token bucket", rate: 10, period: MINUTE, capacity: 2 },
});

const scores = new DirectAggregate<{ Key: number; Id: string; Namespace: string }>(components.aggregate);
const pool = new Workpool(components.workpool, { maxParallelism: 2 });

export const tryOften = mutation({
  args: { key: v.string(), name: v.union(v.literal("tries"), v.literal("bucket")), times: v.number() },
  handler: async (ctx, { key, name, times }) => {
    const oks: boolean[] = [];
    for (let n = 0; n < times; n++) oks.push((await limiter.limit(ctx, name, { key })).ok);
    return oks;
  },
});

export const mayTry = query({
  args: { key: v.string() },
  handler: async (ctx, { key }) => (await limiter.check(ctx, "tries", { key })).ok,
});

export const score = mutation({
  args: { namespace: v.string(), scores: v.array(v.number()) },
  handler: async (ctx, { namespace, scores: given }) => {
    for (const [n, key] of given.entries()) {
      await scores.insert(ctx, { namespace, key, id: `${n}`, sumValue: key });
    }
  },
});

export const ranking = query({
  args: { namespace: v.string() },
  handler: async (ctx, { namespace }) => ({
    count: await scores.count(ctx, { namespace }),
    sum: await scores.sum(ctx, { namespace }),
    max: (await scores.max(ctx, { namespace }))?.key ?? null,
    third: (await scores.at(ctx, 2, { namespace })).key,
  }),
});

export const work = mutation({
  args: { name: v.string(), times: v.number() },
  handler: async (ctx, { name, times }) => {
    for (let n = 0; n < times; n++) {
      await pool.enqueueMutation(ctx, internal.pools.counted, { name });
      await pool.enqueueAction(
        ctx,
        internal.pools.acted,
        { n },
        { onComplete: internal.pools.completed, context: { name } },
      );
    }
  },
});

export const counted = internalMutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.db.insert("messages", { channel: name, body: "mutation" });
  },
});

export const acted = internalAction({ args: { n: v.number() }, handler: async (_ctx, { n }) => n * n });

export const completed = internalMutation({
  args: vOnCompleteArgs(v.object({ name: v.string() })),
  handler: async (ctx, { context, result }) => {
    const body = result.kind === "success" ? `action ${result.returnValue}` : result.kind;
    await ctx.db.insert("messages", { channel: context.name, body });
  },
});
