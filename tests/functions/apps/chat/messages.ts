import { actionGeneric, internalMutationGeneric, mutationGeneric, queryGeneric } from "convex/server";
import { ConvexError, v } from "convex/values";

export const one = queryGeneric({
  args: { id: v.string() },
  returns: v.any(),
  handler: async (ctx, args) => await ctx.db.get(args.id as any),
});

export const noop = queryGeneric(async () => null);

export const list = queryGeneric({
  args: { channel: v.string() },
  handler: async (ctx, args) =>
    await ctx.db
      .query("messages")
      .withIndex("by_channel", (q) => q.eq("channel", args.channel))
      .order("desc")
      .take(10),
});

export const many = queryGeneric({
  args: { count: v.number() },
  handler: async (ctx, args) => {
    const ids = Array.from({ length: args.count }, (_, index) => `id${index}`);
    return await Promise.all(ids.map((id) => ctx.db.get(id as any)));
  },
});

export const send = mutationGeneric({
  args: { channel: v.string(), body: v.string() },
  handler: async (ctx, args) => {
    const id = await ctx.db.insert("messages", args);
    await ctx.db.patch(id, { author: "someone" });
    return id;
  },
});

export const clear = internalMutationGeneric({ args: {}, handler: async () => null });

export const refuse = mutationGeneric({
  args: {},
  handler: async () => {
    throw new ConvexError({ code: 7, why: "full" });
  },
});

export const greet = actionGeneric({ args: {}, handler: async () => "hello" });

export const nested = queryGeneric({
  args: {},
  handler: async (ctx) => await ctx.runQuery("messages:noop" as any, {}),
});
