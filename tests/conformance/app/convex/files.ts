import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

const file = { id: v.id("_storage") };

export const uploadUrl = mutation({ args: {}, handler: (ctx) => ctx.storage.generateUploadUrl() });

export const url = query({
  args: { id: v.union(v.id("_storage"), v.string()) },
  handler: (ctx, { id }) => ctx.storage.getUrl(id),
});

export const metadata = query({ args: file, handler: (ctx, { id }) => ctx.storage.getMetadata(id) });

export const row = query({ args: file, handler: (ctx, { id }) => ctx.db.system.get(id) });

export const newest = query({
  args: {},
  handler: (ctx) => ctx.db.system.query("_storage").order("desc").first(),
});

export const remove = mutation({ args: file, handler: (ctx, { id }) => ctx.storage.delete(id) });

/** Since 1.48 a mutation may store and read files itself; the types do not say so yet. */
export const copy = mutation({
  args: { id: v.id("_storage"), suffix: v.string() },
  handler: async (ctx, { id, suffix }) => {
    const storage = ctx.storage as any;
    const blob: Blob | null = await storage.get(id);
    if (blob === null) return null;
    const text = (await blob.text()) + suffix;
    return await storage.store(new Blob([text], { type: blob.type }));
  },
});

export const removeAndFail = mutation({
  args: file,
  handler: async (ctx, { id }) => {
    await ctx.storage.delete(id);
    throw new Error("changed my mind");
  },
});

export const lookInVain = query({
  args: {},
  handler: async (ctx) => {
    const said: string[] = [];
    for (const name of ["generateUploadUrl", "delete", "store", "get"]) {
      said.push(typeof (ctx.storage as any)[name]);
    }
    return said;
  },
});
