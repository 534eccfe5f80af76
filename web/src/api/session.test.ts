import { beforeEach, expect, it, vi } from "vitest";

type Handler = (path: string, init: RequestInit) => Response | Promise<Response>;

const token = (name: string): Response => Response.json({ access_token: name, token_type: "bearer", expires_in: 600 });
const denied = (): Response =>
  Response.json({ code: "unauthenticated", message: "Please log in.", status: 401, retryable: false }, { status: 401 });

/** An access token of this user; only its payload is read here. */
const tokenOf = (userId: string, name = "s"): string => `h.${btoa(JSON.stringify({ sub: userId }))}.${name}`;

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

/** Tabs of one browser: what one says, the others hear. */
function browser() {
  const channels = new Set<{ onmessage: ((event: { data: unknown }) => void) | null }>();
  class Channel {
    onmessage: ((event: { data: unknown }) => void) | null = null;
    constructor() {
      channels.add(this);
    }
    postMessage(data: unknown) {
      for (const other of channels) if (other !== this) other.onmessage?.({ data });
    }
  }
  let last: Promise<unknown> = Promise.resolve();
  const locks = {
    request: (_name: string, work: () => Promise<unknown>) => (last = last.catch(() => undefined).then(work)),
  };
  vi.stubGlobal("BroadcastChannel", Channel);
  vi.stubGlobal("navigator", { locks });
}

const bearer = (init: RequestInit): string | null => new Headers(init.headers).get("Authorization");

beforeEach(() => {
  vi.stubGlobal("BroadcastChannel", undefined);
  vi.stubGlobal("navigator", {});
});

it("comes back logged in through the cookie, with one refresh however many ask", async () => {
  const { accessToken, getSession, asked } = await open(() => token("t1"));
  expect(getSession().state).toBe("unknown");
  expect(await Promise.all([accessToken(), accessToken(), accessToken()])).toEqual(["t1", "t1", "t1"]);
  expect(getSession().state).toBe("signed-in");
  expect(asked).toEqual(["/auth/refresh"]);
});

it("is anonymous without a cookie, and says so once", async () => {
  const { accessToken, getSession, asked } = await open(denied);
  expect(await accessToken()).toBeNull();
  expect(await accessToken()).toBeNull();
  expect(getSession()).toEqual({ state: "anonymous", notice: null });
  expect(asked).toHaveLength(1);
});

it("does not take an unreachable server for a logout", async () => {
  const { refresh, getSession } = await open(() => Promise.reject(new TypeError("network")));
  await expect(refresh()).rejects.toMatchObject({ code: "unreachable" });
  expect(getSession().state).toBe("unreachable");
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
  let tokens = 0;
  const { authorisedFetch, asked } = await open((path) =>
    path === "/auth/refresh" ? token(`t${(tokens += 1)}`) : denied(),
  );
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
  expect(getSession()).toEqual({ state: "anonymous", notice: null });
});

it("says why a login has ended that the user did not end here", async () => {
  let alive = true;
  const { refresh, accessToken, getSession } = await open(() => (alive ? token("t1") : denied()));
  await accessToken();
  alive = false;
  expect(await refresh("t1")).toBeNull();
  expect(getSession()).toMatchObject({ state: "anonymous", notice: expect.stringContaining("has ended") as string });
});

it("serves all tabs with one refresh, also those that waited for their turn", async () => {
  browser();
  let refreshes = 0;
  const server: Handler = () => token(`t${(refreshes += 1)}`);
  const one = await open(server);
  const two = await open(server);
  expect(await Promise.all([one.refresh(), two.refresh()])).toEqual(["t1", "t1"]);
  expect(await Promise.all([two.refresh("t1"), one.refresh("t1")])).toEqual(["t2", "t2"]);
  expect(refreshes).toBe(2);
});

it("ends the login of all tabs with that of one, and tells them so", async () => {
  browser();
  const server: Handler = (path) => (path === "/auth/refresh" ? token("t1") : new Response(null, { status: 204 }));
  const one = await open(server);
  const two = await open(server);
  await Promise.all([one.accessToken(), two.accessToken()]);
  await one.logOut();
  expect(one.getSession()).toEqual({ state: "anonymous", notice: null });
  expect(two.getSession()).toEqual({ state: "anonymous", notice: "You have logged out in another tab." });
  expect(await two.accessToken()).toBeNull();
});

it("notices that another tab has logged in as somebody else", async () => {
  browser();
  const one = await open(() => token(tokenOf("ada")));
  await one.accessToken();
  const two = await open(() => token(tokenOf("ben")));
  expect(one.getSession()).toEqual({ state: "signed-in", userId: "ada" });
  await two.logIn("ben@b.example", "secret");
  expect(one.getSession()).toEqual({ state: "signed-in", userId: "ben" });
});

it("keeps the same session over refreshes, so that nothing on the page begins anew", async () => {
  let count = 0;
  const { accessToken, refresh, getSession } = await open(() => token(tokenOf("ada", `s${(count += 1)}`)));
  await accessToken();
  const before = getSession();
  await refresh();
  expect(getSession()).toBe(before);
});

it("looks at once when the page wakes with a token that has expired meanwhile", async () => {
  vi.useFakeTimers();
  try {
    const { accessToken, wake, asked } = await open(() => token("t"));
    await accessToken();
    wake();
    expect(asked).toHaveLength(1);
    vi.setSystemTime(Date.now() + 3_600_000);
    wake();
    await vi.waitFor(() => expect(asked).toHaveLength(2));
  } finally {
    vi.useRealTimers();
  }
});

it("refreshes by itself before the token expires", async () => {
  vi.useFakeTimers();
  try {
    const { accessToken, asked } = await open(() => token("t"));
    await accessToken();
    await vi.advanceTimersByTimeAsync(519_000);
    expect(asked).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(21_000);
    expect(asked).toHaveLength(2);
  } finally {
    vi.useRealTimers();
  }
});
