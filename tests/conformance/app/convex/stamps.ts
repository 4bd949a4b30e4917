import { v } from "convex/values";
import { api } from "./_generated/api";
import { mutation, query } from "./_generated/server";

const stamp = { name: v.string(), at: v.commitTs(), deep: v.array(v.object({ at: v.int64() })) };

/** Stamps twice, once in a nested call, and says what it saw before its ts was known. */
export const write = mutation({
  args: { name: v.string() },
  handler: async (ctx, { name }): Promise<any> => {
    const now = ctx.db.vars.commitTs;
    const id = await ctx.db.insert("stamps", { name, at: now, deep: [{ at: now as unknown as bigint }] });
    await ctx.runMutation(api.stamps.nested, { name, at: now });
    const staged = await ctx.db.get(id);
    const newest = await ctx.db
      .query("stamps")
      .withIndex("by_at", (q) => q.gte("at", now))
      .collect();
    return {
      at: now,
      snapshotTs: await ctx.meta.getSnapshotTs(),
      readsBackAsPlaceholder: staged?.at === now,
      newest: newest.length,
      nested: await ctx.runQuery(api.stamps.list, { name }),
    };
  },
});

export const nested = mutation({
  args: { name: v.string(), at: v.commitTs() },
  returns: v.commitTs(),
  handler: async (ctx, { name, at }) => {
    await ctx.db.insert("stamps", { ...({ name, at, deep: [] } as any) });
    return at;
  },
});

export const list = query({
  args: { name: v.string() },
  returns: v.array(v.object(stamp)),
  handler: async (ctx, args) => {
    const found = await ctx.db.query("stamps").withIndex("by_at").collect();
    return found.filter(({ name }) => name === args.name).map(({ name, at, deep }) => ({ name, at, deep }));
  },
});
