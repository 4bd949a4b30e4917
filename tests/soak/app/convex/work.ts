// What the soak's clients call: the number of documents stays bounded, everything else goes on for ever.
import { paginationOptsValidator } from "convex/server";
import { v } from "convex/values";
import { mutation, query } from "./_generated/server";
import { version } from "./version";

const LEFT = 40; // jobs that a lane keeps
const TAKEN_MAX = 10;

export const enqueue = mutation({
  args: { lane: v.string(), token: v.string(), text: v.string() },
  handler: async (ctx, args) => await ctx.db.insert("jobs", args),
});

/** Deletes the oldest jobs of a lane, but for some; returns their tokens. */
export const take = mutation({
  args: { lane: v.string() },
  handler: async (ctx, { lane }) => {
    const oldest = await ctx.db
      .query("jobs")
      .withIndex("by_lane", (q) => q.eq("lane", lane))
      .take(LEFT + TAKEN_MAX);
    const taken = oldest.slice(0, Math.max(0, oldest.length - LEFT));
    for (const job of taken) await ctx.db.delete(job._id);
    return taken.map((job) => job.token);
  },
});

export const increment = mutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    const counter = await ctx.db
      .query("counters")
      .withIndex("by_name", (q) => q.eq("name", name))
      .unique();
    if (counter === null) {
      await ctx.db.insert("counters", { name, n: 1 });
      return 1;
    }
    await ctx.db.patch(counter._id, { n: counter.n + 1 });
    return counter.n + 1;
  },
});

/** One of a fixed number of documents; its size and its place in an index change. */
export const rewrite = mutation({
  args: { name: v.string(), text: v.string() },
  handler: async (ctx, { name, text }) => {
    const rank = Math.random();
    const profile = await ctx.db
      .query("profiles")
      .withIndex("by_name", (q) => q.eq("name", name))
      .unique();
    if (profile === null) await ctx.db.insert("profiles", { name, rank, text });
    else await ctx.db.patch(profile._id, { rank, text });
  },
});

/** Writes and then fails: nothing of it may stay. */
export const failAfterWriting = mutation({
  args: { lane: v.string(), token: v.string() },
  handler: async (ctx, { lane, token }) => {
    await ctx.db.insert("jobs", { lane, token, text: "never" });
    throw new Error("on purpose");
  },
});

/** Uses all the memory there is. */
export const exhaust = query({
  args: {},
  handler: async () => {
    const held: Uint8Array[] = [];
    for (;;) held.push(new Uint8Array(1 << 20).fill(1));
  },
});

export const newest = query({
  args: { lane: v.string() },
  handler: async (ctx, { lane }) =>
    await ctx.db
      .query("jobs")
      .withIndex("by_lane", (q) => q.eq("lane", lane))
      .order("desc")
      .take(10),
});

export const page = query({
  args: { lane: v.string(), paginationOpts: paginationOptsValidator },
  handler: async (ctx, { lane, paginationOpts }) =>
    await ctx.db
      .query("jobs")
      .withIndex("by_lane", (q) => q.eq("lane", lane))
      .paginate(paginationOpts),
});

export const top = query({
  args: {},
  handler: async (ctx) => {
    const best = await ctx.db.query("profiles").withIndex("by_rank").order("desc").take(5);
    return best.map((profile) => profile.name);
  },
});

export const count = query({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    const counter = await ctx.db
      .query("counters")
      .withIndex("by_name", (q) => q.eq("name", name))
      .unique();
    return counter?.n ?? 0;
  },
});

export const lengthOf = query({
  args: { lane: v.string() },
  handler: async (ctx, { lane }) => {
    const jobs = await ctx.db
      .query("jobs")
      .withIndex("by_lane", (q) => q.eq("lane", lane))
      .collect();
    return jobs.map((job) => job.token);
  },
});

/** Changes with each push, each environment change, and with the clock. */
export const round = query({
  args: {},
  handler: async () => `${version} ${process.env.SOAK_ROUND ?? "-"} ${Date.now()}`,
});
