import { paginationOptsValidator } from "convex/server";
import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

const note = { body: v.string(), shelf: v.string() };
const asked = { text: v.string(), shelf: v.string() };

export const add = mutation({
  args: note,
  handler: async (ctx, args) => await ctx.db.insert("notes", args),
});

/** More than an executor reads at once to bring its index forward. */
export const fill = mutation({
  args: { count: v.number(), shelf: v.string() },
  handler: async (ctx, { count, shelf }) => {
    for (let number = 0; number < count; number++) await ctx.db.insert("notes", { body: `filled ${number}`, shelf });
  },
});

export const remove = mutation({
  args: { id: v.id("notes") },
  handler: async (ctx, { id }) => await ctx.db.delete(id),
});

export const find = query({
  args: asked,
  returns: v.array(v.string()),
  handler: async (ctx, { text, shelf }) => {
    const found = await ctx.db
      .query("notes")
      .withSearchIndex("by_body", (q) => q.search("body", text).eq("shelf", shelf))
      .take(10);
    return found.map(({ body }) => body);
  },
});

export const page = query({
  args: { ...asked, paginationOpts: paginationOptsValidator },
  handler: async (ctx, { text, shelf, paginationOpts }) =>
    await ctx.db
      .query("notes")
      .withSearchIndex("by_body", (q) => q.search("body", text).eq("shelf", shelf))
      .filter((q) => q.neq(q.field("body"), "never"))
      .paginate(paginationOpts),
});

/** What a mutation finds of a note before and after it is written, by itself. */
export const findOwn = mutation({
  args: note,
  returns: v.array(v.number()),
  handler: async (ctx, { body, shelf }) => {
    const count = async () =>
      (
        await ctx.db
          .query("notes")
          .withSearchIndex("by_body", (q) => q.search("body", body).eq("shelf", shelf))
          .collect()
      ).length;
    const before = await count();
    const id = await ctx.db.insert("notes", { body, shelf });
    const between = await count();
    await ctx.db.delete(id);
    return [before, between, await count()];
  },
});

export const findWrongly = query({
  args: {},
  handler: async (ctx) =>
    await ctx.db
      .query("notes")
      .withSearchIndex("by_body", (q) => (q as any).search("body", "x").eq("body", "y"))
      .collect(),
});
