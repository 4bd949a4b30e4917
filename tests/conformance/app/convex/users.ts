import { mutation, query } from "./_generated/server";
import { v } from "convex/values";

export const me = query({ args: {}, handler: async (ctx) => await ctx.auth.getUserIdentity() });

export const issue = mutation({
  args: { name: v.string(), seconds: v.number() },
  handler: async (ctx, { name, seconds }) =>
    await ctx.auth.signJwt({ claims: { sub: name, roles: ["reader"] }, expiresInSeconds: seconds }),
});

export const sign = mutation({
  args: { channel: v.string() },
  handler: async (ctx, { channel }) => {
    const identity = await ctx.auth.getUserIdentity();
    if (identity === null) throw new Error("nobody signs nothing");
    await ctx.db.insert("messages", { channel, body: `signed by ${identity.name}` });
    return identity.tokenIdentifier;
  },
});
