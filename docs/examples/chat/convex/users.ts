import { v } from "convex/values";
import { mutation, query, type MutationCtx, type QueryCtx } from "./_generated/server";

const NAME_LENGTH_MAX = 40;

export const name = query({
  args: { token: v.string() },
  returns: v.union(v.string(), v.null()),
  handler: async (ctx, { token }) => (await findUser(ctx, token))?.name ?? null,
});

/** Every message of this user shows the new name at once: messages refer to the user, not to a name. */
export const setName = mutation({
  args: { token: v.string(), name: v.string() },
  returns: v.null(),
  handler: async (ctx, { token, name }) => {
    const chosen = name.trim().slice(0, NAME_LENGTH_MAX) || "Someone";
    const user = await findUser(ctx, token);
    if (user === null) await ctx.db.insert("users", { token, name: chosen });
    else await ctx.db.patch(user._id, { name: chosen });
    return null;
  },
});

export async function findUser(ctx: QueryCtx, token: string) {
  return await ctx.db
    .query("users")
    .withIndex("by_token", (q) => q.eq("token", token))
    .unique();
}

export async function findOrCreateUser(ctx: MutationCtx, token: string) {
  const user = await findUser(ctx, token);
  return user?._id ?? (await ctx.db.insert("users", { token, name: "Someone" }));
}
