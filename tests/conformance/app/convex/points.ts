import { v } from "convex/values";
import { api } from "./_generated/api";
import { action, mutation } from "./_generated/server";

export const add = mutation({
  args: { at: v.array(v.float64()), kind: v.string() },
  handler: async (ctx, args) => await ctx.db.insert("points", args),
});

/** What an action finds of a point it has just had written, and of those of two kinds. */
export const nearest = action({
  args: { at: v.array(v.float64()) },
  handler: async (ctx, { at }): Promise<any> => {
    const id = await ctx.runMutation(api.points.add, { at, kind: "own" });
    const [own] = await ctx.vectorSearch("points", "by_at", { vector: at, limit: 1 });
    const either = await ctx.vectorSearch("points", "by_at", {
      vector: at,
      filter: (q) => q.or(q.eq("kind", "near"), q.eq("kind", "far")),
    });
    return { isOwn: own._id === id && own._score > 0.999, scores: either.map(({ _score }) => _score) };
  },
});

export const mismatched = action({
  args: {},
  handler: async (ctx) => await ctx.vectorSearch("points", "by_at", { vector: [1, 2] }),
});
