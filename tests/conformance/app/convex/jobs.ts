// Functions that schedule others, as apps do.
import { v } from "convex/values";
import { internal } from "./_generated/api";
import { internalMutation, mutation, query } from "./_generated/server";

export const count = internalMutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    const counter = await ctx.db
      .query("counters")
      .withIndex("by_name", (q) => q.eq("name", name))
      .unique();
    if (counter === null) await ctx.db.insert("counters", { name, n: 1 });
    else await ctx.db.patch(counter._id, { n: counter.n + 1 });
    console.log("counted", name);
  },
});

export const fail = internalMutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.db.insert("counters", { name, n: 1000 });
    throw new Error("a job that fails");
  },
});

export const counted = mutation({
  args: { name: v.string(), times: v.number(), delayMs: v.number() },
  handler: async (ctx, { name, times, delayMs }) => {
    const ids = [];
    for (let n = 0; n < times; n++) {
      ids.push(await ctx.scheduler.runAfter(delayMs, internal.jobs.count, { name }));
    }
    return ids;
  },
});

export const failing = mutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => ctx.scheduler.runAfter(0, internal.jobs.fail, { name }),
});

export const chain = internalMutation({
  args: { name: v.string(), left: v.number() },
  handler: async (ctx, { name, left }) => {
    await ctx.runMutation(internal.jobs.count, { name });
    if (left > 1) await ctx.scheduler.runAt(Date.now(), internal.jobs.chain, { name, left: left - 1 });
  },
});

export const chained = mutation({
  args: { name: v.string(), length: v.number() },
  handler: async (ctx, { name, length }) => {
    await ctx.scheduler.runAfter(0, internal.jobs.chain, { name, left: length });
  },
});

export const regretted = mutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.scheduler.runAfter(0, internal.jobs.count, { name });
    throw new Error("so nothing was scheduled");
  },
});

export const cancel = mutation({
  args: { id: v.id("_scheduled_functions") },
  handler: async (ctx, { id }) => ctx.scheduler.cancel(id),
});

export const look = query({
  args: { id: v.id("_scheduled_functions") },
  handler: async (ctx, { id }) => ctx.db.system.get(id),
});

export const list = query({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    const jobs = await ctx.db.system.query("_scheduled_functions").collect();
    return jobs.filter((job) => job.args[0].name === name).map((job) => job.state.kind);
  },
});
