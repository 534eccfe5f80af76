import { Connection } from "@lorestream/client";

import { accessToken, refresh } from "./session";

/** The server that this page came from, as the logged-in user: on a 401 the session is refreshed once. */
export const server = new Connection({
  url: "",
  getToken: (refused) => (refused === undefined ? accessToken() : refresh(refused)),
  patienceMs: Infinity,
});

export const authorisedFetch = server.fetch;
export const requestJson = server.json;

/** Send JSON; the JSON that is answered, if any. */
export const sendJson = <T = undefined>(path: string, method: string, body?: unknown): Promise<T> =>
  requestJson<T>(path, {
    method,
    ...(body !== undefined && { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
  });
