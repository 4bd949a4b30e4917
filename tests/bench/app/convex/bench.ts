// The shapes of the benchmark. Every system in it does the same work; see docs/performance.md.
import { v } from "convex/values";
import { mutation, MutationCtx, query } from "./_generated/server";

/** Read a counter, write one more, return it. */
export const increment = mutation({
  args: { name: v.string() },
  returns: v.number(),
  handler: async (ctx, { name }) => {
    const counter = await ctx.db
      .query("counters")
      .withIndex("by_name", (q) => q.eq("name", name))
      .unique();
    const count = (counter?.count ?? 0) + 1;
    if (counter === null) await ctx.db.insert("counters", { name, count });
    else await ctx.db.patch(counter._id, { count });
    return count;
  },
});

export const insert = mutation({
  args: { channel: v.string(), body: v.string(), tag: v.number() },
  handler: async (ctx, message) => {
    await ctx.db.insert("messages", message);
  },
});

export const newest = query({
  args: { channel: v.string() },
  handler: async (ctx, { channel }) =>
    await ctx.db
      .query("messages")
      .withIndex("by_channel", (q) => q.eq("channel", channel))
      .order("desc")
      .take(10),
});

/** As little as a query can do: what a call costs by itself. */
export const trivial = query({ args: {}, handler: async () => 1 });

export const openAccounts = mutation({
  args: { first: v.number(), count: v.number() },
  handler: async (ctx, { first, count }) => {
    for (let number = first; number < first + count; number++) {
      await ctx.db.insert("accounts", { number, balance: 1000 });
    }
  },
});

export const transfer = mutation({
  args: { source: v.number(), target: v.number(), amount: v.number() },
  handler: async (ctx, { source, target, amount }) => {
    const [from, to] = [await account(ctx, source), await account(ctx, target)];
    await ctx.db.patch(from._id, { balance: from.balance - amount });
    await ctx.db.patch(to._id, { balance: to.balance + amount });
  },
});

async function account(ctx: MutationCtx, number: number) {
  const found = await ctx.db
    .query("accounts")
    .withIndex("by_number", (q) => q.eq("number", number))
    .unique();
  if (found === null) throw new Error(`no account ${number}`);
  return found;
}
