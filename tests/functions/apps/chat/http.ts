import { httpActionGeneric, httpRouter } from "convex/server";

const http = httpRouter();
const hello = httpActionGeneric(async () => new Response("hi"));
http.route({ path: "/hi", method: "GET", handler: hello });
http.route({ pathPrefix: "/files/", method: "POST", handler: hello });
export default http;
