import { paginationOptsValidator } from "convex/server";
import { ConvexError, v } from "convex/values";
import { api, internal } from "./_generated/api";
import { internalQuery, mutation, query } from "./_generated/server";

export const send = mutation({
  args: { channel: v.string(), body: v.string(), n: v.optional(v.int64()) },
  returns: v.id("messages"),
  handler: async (ctx, args) => {
    console.log("sending", args.body);
    return await ctx.db.insert("messages", args);
  },
});

export const list = query({
  args: { channel: v.string() },
  handler: async (ctx, { channel }) =>
    await ctx.db
      .query("messages")
      .withIndex("by_channel", (q) => q.eq("channel", channel))
      .collect(),
});

export const page = query({
  args: { channel: v.string(), paginationOpts: paginationOptsValidator },
  handler: async (ctx, { channel, paginationOpts }) =>
    await ctx.db
      .query("messages")
      .withIndex("by_channel", (q) => q.eq("channel", channel))
      .order("desc")
      .paginate(paginationOpts),
});

/** A page of at most four rows, however many are asked for: what is beyond is for further pages. */
export const pageOfFour = query({
  args: { channel: v.string(), paginationOpts: paginationOptsValidator },
  handler: async (ctx, { channel, paginationOpts }) =>
    await ctx.db
      .query("messages")
      .withIndex("by_channel", (q) => q.eq("channel", channel))
      .paginate({ ...paginationOpts, maximumRowsRead: 4 }),
});

/** Turns around with every count of its channel: cursors from before are those of another query then. */
export const pageThatTurns = query({
  args: { channel: v.string(), paginationOpts: paginationOptsValidator },
  handler: async (ctx, { channel, paginationOpts }) => {
    const counter = await ctx.db
      .query("counters")
      .withIndex("by_name", (q) => q.eq("name", channel))
      .unique();
    return await ctx.db
      .query("messages")
      .withIndex("by_channel", (q) => q.eq("channel", channel))
      .order((counter?.n ?? 0) % 2 === 0 ? "asc" : "desc")
      .paginate(paginationOpts);
  },
});

/** Draws anew whenever it runs. */
export const drawn = query({
  args: { channel: v.string() },
  handler: async (ctx, { channel }) => {
    const messages = ctx.db.query("messages").withIndex("by_channel", (q) => q.eq("channel", channel));
    return { uuid: crypto.randomUUID(), count: (await messages.collect()).length };
  },
});

export const remove = mutation({
  args: { id: v.id("messages") },
  handler: async (ctx, { id }) => await ctx.db.delete(id),
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

export const fail = query({
  args: { how: v.string() },
  handler: async (_ctx, { how }) => {
    if (how === "convex") throw new ConvexError({ code: "NOPE", n: 5n });
    throw new Error("plain failure");
  },
});

export const wrongReturn = query({
  args: {},
  returns: v.string(),
  handler: async (): Promise<any> => 5,
});

export const hidden = internalQuery({ args: {}, handler: async () => "hidden" });

export const whoami = query({
  args: {},
  handler: async (ctx) => (await ctx.auth.getUserIdentity())?.name ?? null,
});

export const nested = mutation({
  args: { fail: v.boolean() },
  handler: async (ctx, args): Promise<string> => {
    await ctx.runMutation(api.messages.send, { channel: "nested", body: "outer" });
    try {
      await ctx.runMutation(api.messages.sendThenMaybeFail, args);
      return "both";
    } catch (error) {
      return error instanceof ConvexError ? `caught ${error.data}` : `caught ${error}`;
    }
  },
});

export const sendThenMaybeFail = mutation({
  args: { fail: v.boolean() },
  handler: async (ctx, { fail }) => {
    await ctx.db.insert("messages", { channel: "nested", body: "inner" });
    if (fail) throw new ConvexError("inner failed");
    return await ctx.runQuery(internal.messages.hidden, {});
  },
});
