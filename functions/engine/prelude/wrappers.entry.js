// The module that inline queries import `query` from (spec 02 14): the npm package's own registration, so that
// such a query finds the `ctx` that queries of the app find.
export { internalQueryGeneric as internalQuery, queryGeneric as query } from "convex/server";
