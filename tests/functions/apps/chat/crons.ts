import { cronJobs, makeFunctionReference } from "convex/server";

const crons = cronJobs();
crons.interval("sweep", { minutes: 5 }, makeFunctionReference<"mutation">("messages:clear"), {});
export default crons;
