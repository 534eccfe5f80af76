import { beforeEach, expect, it, vi } from "vitest";

type Handler = (path: string, init: RequestInit) => Response | Promise<Response>;

const token = (name: string): Response => Response.json({ access_token: name, token_type: "bearer", expires_in: 600 });
const denied = (): Response =>
  Response.json({ code: "unauthenticated", message: "Please log in.", status: 401, retryable: false }, { status: 401 });

/** Fresh modules over this server, with the paths that it was asked for. */
async function open(handler: Handler) {
  const asked: string[] = [];
  vi.stubGlobal("fetch", (path: string, init: RequestInit) => {
    asked.push(path);
    return Promise.resolve(handler(path, init));
  });
  vi.resetModules();
  const session = await import("./session");
  const { authorisedFetch } = await import("./http");
  return { ...session, authorisedFetch, asked };
}

const bearer = (init: RequestInit): string | null => new Headers(init.headers).get("Authorization");

beforeEach(() => {
  vi.stubGlobal("BroadcastChannel", undefined);
  vi.stubGlobal("navigator", {});
});

it("comes back logged in through the cookie, with one refresh however many ask", async () => {
  const { accessToken, getSession, asked } = await open(() => token("t1"));
  expect(getSession()).toBe("unknown");
  expect(await Promise.all([accessToken(), accessToken(), accessToken()])).toEqual(["t1", "t1", "t1"]);
  expect(getSession()).toBe("signed-in");
  expect(asked).toEqual(["/auth/refresh"]);
});

it("is anonymous without a cookie, and says so once", async () => {
  const { accessToken, getSession, asked } = await open(denied);
  expect(await accessToken()).toBeNull();
  expect(await accessToken()).toBeNull();
  expect(getSession()).toBe("anonymous");
  expect(asked).toHaveLength(1);
});

it("does not take an unreachable server for a logout", async () => {
  const { refresh, getSession } = await open(() => Promise.reject(new TypeError("network")));
  await expect(refresh()).rejects.toMatchObject({ code: "unreachable" });
  expect(getSession()).toBe("unreachable");
});

it("refreshes once on a 401 and repeats the request", async () => {
  let refreshes = 0;
  const { authorisedFetch, asked } = await open((path, init) => {
    if (path === "/auth/refresh") return token(`t${(refreshes += 1)}`);
    return bearer(init) === "Bearer t2" ? Response.json("yes") : denied();
  });
  const answers = await Promise.all([authorisedFetch("/documents/"), authorisedFetch("/models")]);
  expect(answers.map((response) => response.status)).toEqual([200, 200]);
  expect(refreshes).toBe(2);
  expect(asked.filter((path) => path === "/documents/")).toHaveLength(2);
});

it("gives up after one refresh, and leaves the 401 to the caller", async () => {
  const { authorisedFetch, asked } = await open((path) => (path === "/auth/refresh" ? token("t") : denied()));
  expect((await authorisedFetch("/documents/")).status).toBe(401);
  expect(asked).toEqual(["/auth/refresh", "/documents/", "/auth/refresh", "/documents/"]);
});

it("forgets the token at logout, also one that a refresh brings afterwards", async () => {
  let release: (response: Response) => void = () => undefined;
  const { logIn, logOut, refresh, accessToken, getSession } = await open((path) => {
    if (path === "/auth/refresh") return new Promise((resolve) => (release = resolve));
    return path === "/auth/token" ? token("t1") : new Response(null, { status: 204 });
  });
  await logIn("a@b.example", "secret");
  const late = refresh();
  await logOut();
  release(token("t2"));
  expect(await late).toBeNull();
  expect(await accessToken()).toBeNull();
  expect(getSession()).toBe("anonymous");
});
