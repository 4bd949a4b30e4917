import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

export const note = mutation({
  args: { text: v.string() },
  returns: v.null(),
  handler: async (ctx, { text }) => {
    await ctx.db.insert("lines", { text });
    return null;
  },
});

export const list = query({
  args: {},
  returns: v.array(v.string()),
  handler: async (ctx) => (await ctx.db.query("lines").collect()).map((line) => line.text),
});
