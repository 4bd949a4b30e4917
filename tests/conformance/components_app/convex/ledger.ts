// Calls of the component `ledger`, which is installed twice.
import { ConvexError, v } from "convex/values";
import { createFunctionHandle } from "convex/server";
import { api, components } from "./_generated/api";
import { action, mutation, query } from "./_generated/server";

const where = v.union(v.literal("ledger"), v.literal("second"));

export const add = mutation({
  args: { where, account: v.string(), amount: v.number(), fails: v.optional(v.boolean()) },
  handler: (ctx, { where, ...args }) => ctx.runMutation(components[where].entries.add, args),
});

export const addAndCatch = mutation({
  args: { account: v.string(), amount: v.number() },
  handler: async (ctx, args) => {
    await ctx.db.insert("messages", { channel: args.account, body: "before" });
    try {
      await ctx.runMutation(components.ledger.entries.add, { ...args, fails: true });
    } catch (error) {
      return (error as ConvexError<any>).data;
    }
  },
});

export const balance = query({
  args: { where, account: v.string() },
  handler: (ctx, { where, account }) => ctx.runQuery(components[where].entries.balance, { account }),
});

export const trail = query({
  args: { where },
  handler: (ctx, { where }) => ctx.runQuery(components[where].entries.trail, {}),
});

export const facts = query({
  args: { where },
  handler: async (ctx, { where }) => ({
    site: await ctx.runQuery(components[where].entries.site, {}),
    secret: await ctx.runQuery(components[where].entries.secret, {}),
    who: await ctx.runQuery(components[where].entries.who, {}),
  }),
});

export const issues = mutation({
  args: { where },
  handler: (ctx, { where }): Promise<string> => ctx.runMutation(components[where].entries.issues, {}),
});

export const pages = query({ args: {}, handler: (ctx) => ctx.runQuery(components.ledger.entries.pages, {}) });

/** What a component does not export, or has not got. */
export const reaches = mutation({
  args: { path: v.array(v.string()) },
  handler: (ctx, { path }) => ctx.runMutation(path.reduce((found: any, name) => found[name], components), {}),
});

export const addLater = mutation({
  args: { account: v.string(), amount: v.number() },
  handler: (ctx, args) => ctx.runMutation(components.ledger.entries.addLater, args),
});

export const job = query({
  args: { id: v.string() },
  handler: async (ctx, { id }) => ({
    component: await ctx.runQuery(components.ledger.entries.job, { id }),
    second: await ctx.runQuery(components.second.entries.job, { id }),
    app: await ctx.db.system.get(id as any),
  }),
});

export const calledBack = mutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    const handle = await createFunctionHandle(api.messages.increment);
    return ctx.runMutation(components.ledger.entries.callBack, { handle, args: { name } });
  },
});

export const acts = action({
  args: { account: v.string() },
  handler: (ctx, args) => ctx.runAction(components.ledger.entries.acts, args),
});

export const file = query({
  args: { id: v.string() },
  handler: async (ctx, { id }) => ({
    component: await ctx.runQuery(components.ledger.entries.file, { id }),
    second: await ctx.runQuery(components.second.entries.file, { id }),
    app: await ctx.storage.getUrl(id as any),
  }),
});
