import { httpRouter } from "convex/server";
import { internal } from "./_generated/api";
import { httpAction } from "./_generated/server";

const http = httpRouter();
http.route({
  path: "/deposit",
  method: "POST",
  handler: httpAction(async (ctx, request) => {
    await ctx.runMutation(internal.entries.addHidden, { account: "http", amount: Number(await request.text()) });
    const user = (await ctx.auth.getUserIdentity())?.subject ?? null;
    return Response.json({ path: new URL(request.url).pathname, user });
  }),
});

export default http;
