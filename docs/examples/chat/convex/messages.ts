import { paginationOptsValidator } from "convex/server";
import { ConvexError, v } from "convex/values";
import { mutation, query, type MutationCtx, type QueryCtx } from "./_generated/server";
import { findOrCreateUser } from "./users";

const BODY_LENGTH_MAX = 2_000;

/** One page of a channel, newest first, each message with its author's present name. */
export const list = query({
  args: { channel: v.string(), paginationOpts: paginationOptsValidator },
  handler: async (ctx, { channel, paginationOpts }) => {
    const found = await ctx.db
      .query("messages")
      .withIndex("by_channel", (q) => q.eq("channel", channel))
      .order("desc")
      .paginate(paginationOpts);
    const page = await Promise.all(
      found.page.map(async ({ _id, _creationTime, author, body }) => {
        const user = await ctx.db.get(author);
        return { _id, _creationTime, author, body, name: user?.name ?? "Someone" };
      }),
    );
    return { ...found, page };
  },
});

export const count = query({
  args: { channel: v.string() },
  returns: v.number(),
  handler: async (ctx, { channel }) => (await findCounter(ctx, channel))?.messages ?? 0,
});

/** The message and the counter change together or not at all. */
export const send = mutation({
  args: { channel: v.string(), token: v.string(), body: v.string() },
  returns: v.id("messages"),
  handler: async (ctx, { channel, token, body }) => {
    const text = body.trim();
    if (text === "") throw new ConvexError("A message needs a text.");
    if (text.length > BODY_LENGTH_MAX) {
      throw new ConvexError(`A message has at most ${BODY_LENGTH_MAX} characters.`);
    }
    const author = await findOrCreateUser(ctx, token);
    await incrementCounter(ctx, channel);
    return await ctx.db.insert("messages", { channel, author, body: text });
  },
});

async function findCounter(ctx: QueryCtx, channel: string) {
  return await ctx.db
    .query("counters")
    .withIndex("by_channel", (q) => q.eq("channel", channel))
    .unique();
}

async function incrementCounter(ctx: MutationCtx, channel: string) {
  const counter = await findCounter(ctx, channel);
  if (counter === null) await ctx.db.insert("counters", { channel, messages: 1 });
  else await ctx.db.patch(counter._id, { messages: counter.messages + 1 });
}
