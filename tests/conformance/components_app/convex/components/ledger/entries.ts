import { ConvexError, v } from "convex/values";
import { components, internal } from "./_generated/api";
import { action, env, internalMutation, mutation, query } from "./_generated/server";

export const add = mutation({
  args: { account: v.string(), amount: v.number(), fails: v.optional(v.boolean()) },
  returns: v.string(),
  handler: async (ctx, { account, amount, fails }) => {
    const id = await ctx.db.insert("messages", { account, amount });
    await ctx.runMutation(components.audit.trail.note, { text: `${account} ${amount}` });
    if (fails) throw new ConvexError({ code: "REFUSED", account });
    return id;
  },
});

export const balance = query({
  args: { account: v.string() },
  returns: v.object({ amount: v.number(), currency: v.string(), note: v.union(v.string(), v.null()) }),
  handler: async (ctx, { account }) => {
    const rows = await ctx.db
      .query("messages")
      .withIndex("by_account", (q) => q.eq("account", account))
      .collect();
    const amount = rows.reduce((sum, row) => sum + row.amount, 0);
    return { amount, currency: env.CURRENCY, note: env.NOTE ?? null };
  },
});

export const trail = query({
  args: {},
  returns: v.array(v.string()),
  handler: (ctx) => ctx.runQuery(components.audit.trail.list, {}),
});

export const site = query({ args: {}, returns: v.string(), handler: async () => process.env.CONVEX_SITE_URL! });

export const secret = query({
  args: {},
  returns: v.union(v.string(), v.null()),
  handler: async () => process.env.LEDGER_NOTE ?? null,
});

export const who = query({
  args: {},
  returns: v.any(),
  handler: async (ctx) => (await ctx.auth.getUserIdentity())?.subject ?? null,
});

export const issues = mutation({
  args: {},
  returns: v.string(),
  handler: (ctx) => ctx.auth.signJwt({ claims: { sub: "entry" }, expiresInSeconds: 60 }),
});

export const pages = query({
  args: {},
  returns: v.any(),
  handler: (ctx) => ctx.db.query("messages").paginate({ numItems: 1, cursor: null }),
});

export const addLater = mutation({
  args: { account: v.string(), amount: v.number() },
  returns: v.string(),
  handler: (ctx, args) => ctx.scheduler.runAfter(0, internal.entries.addHidden, args),
});

export const job = query({
  args: { id: v.string() },
  returns: v.any(),
  handler: async (ctx, { id }) => (await ctx.db.system.get(id as any))?.state.kind ?? null,
});

export const addHidden = internalMutation({
  args: { account: v.string(), amount: v.number() },
  returns: v.null(),
  handler: async (ctx, args) => {
    await ctx.db.insert("messages", args);
    return null;
  },
});

/** Calls back what it was given, which is anywhere. */
export const callBack = mutation({
  args: { handle: v.string(), args: v.any() },
  returns: v.any(),
  handler: (ctx, { handle, args }) => ctx.runMutation(handle as any, args),
});

export const acts = action({
  args: { account: v.string() },
  returns: v.any(),
  handler: async (ctx, { account }) => {
    await ctx.runMutation(internal.entries.addHidden, { account, amount: 5 });
    const stored = await ctx.storage.store(new Blob(["of the component"]));
    const url = await ctx.storage.getUrl(stored);
    const text = await (await fetch(url!)).text();
    const user = (await ctx.auth.getUserIdentity())?.subject ?? null;
    return { stored, url, text, user, currency: env.CURRENCY };
  },
});

export const file = query({
  args: { id: v.string() },
  returns: v.union(v.string(), v.null()),
  handler: (ctx, { id }) => ctx.storage.getUrl(id as any),
});
