/**
 * Who is logged in. The access token lives in this module's memory alone; the refresh token is an HttpOnly cookie.
 *
 * Tabs share that cookie, and each use of it replaces it: so refreshes go one at a time through a Web Lock.
 */
import { Problem, readProblem, unreachable } from "./problem";
import type { AccessToken } from "./types";

export type Session = "unknown" | "anonymous" | "signed-in" | "unreachable";

const REFRESH_EARLY_MS = 60_000;
/** After a failed refresh: the server restarts, or the laptop wakes before its network does. */
const REFRESH_RETRY_MS = 5_000;

let session: Session = "unknown";
let access: { token: string; expires: number } | null = null;
let refreshing: Promise<string | null> | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;
/** Counts logins and logouts, so that a refresh that was under way cannot undo either. */
let epoch = 0;
const listeners = new Set<() => void>();
const tabs = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("lorestream.session");
if (tabs) tabs.onmessage = () => end();

export const getSession = (): Session => session;

export function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** A valid access token, refreshed when it is about to expire; null when nobody is logged in. */
export async function accessToken(): Promise<string | null> {
  if (access && Date.now() < access.expires - 5_000) return access.token;
  return session === "anonymous" ? null : refresh();
}

/** Exchange the cookie for a new access token; `stale` is the one that a request was just refused with. */
export function refresh(stale?: string): Promise<string | null> {
  if (stale && access && access.token !== stale) return Promise.resolve(access.token);
  refreshing ??= exclusively(exchangeCookie).finally(() => (refreshing = null));
  return refreshing;
}

export async function register(email: string, password: string): Promise<void> {
  await post("/auth/register", JSON.stringify({ email, password }), "application/json");
  await logIn(email, password);
}

export async function logIn(username: string, password: string): Promise<void> {
  const response = await post("/auth/token", new URLSearchParams({ username, password }));
  const token = (await response.json()) as AccessToken;
  epoch += 1;
  begin(token);
}

/** End the session here, on the server and in the other tabs. */
export async function logOut(): Promise<void> {
  const token = access?.token;
  await post("/auth/logout", null, undefined, token).catch((error: unknown) => {
    // A session that the server no longer knows is over as well; anything else is for the user to see.
    if (!(error instanceof Problem && error.status === 401)) throw error;
  });
  tabs?.postMessage("logged out");
  end();
}

async function exchangeCookie(): Promise<string | null> {
  const started = epoch;
  try {
    const token = (await (await post("/auth/refresh")).json()) as AccessToken;
    if (started === epoch) begin(token);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (started !== epoch) return access?.token ?? null;
    if (error.status === 401 || error.status === 403) end();
    else {
      if (session === "unknown") become("unreachable");
      schedule((error.retryAfter ?? 0) * 1000 || REFRESH_RETRY_MS);
      throw error;
    }
  }
  return access?.token ?? null;
}

async function post(path: string, body: BodyInit | null = null, type?: string, token?: string): Promise<Response> {
  const headers = new Headers();
  if (type) headers.set("Content-Type", type);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const response = await fetch(path, { method: "POST", body, headers }).catch(() => null);
  if (!response) throw unreachable();
  if (!response.ok) throw await readProblem(response);
  return response;
}

function begin(token: AccessToken): void {
  const lifetime = token.expires_in * 1000;
  access = { token: token.access_token, expires: Date.now() + lifetime };
  schedule(Math.max(lifetime - REFRESH_EARLY_MS, lifetime / 2));
  become("signed-in");
}

function end(): void {
  epoch += 1;
  access = null;
  clearTimeout(timer);
  become("anonymous");
}

function schedule(delay: number): void {
  clearTimeout(timer);
  timer = setTimeout(() => void refresh().catch(() => undefined), delay);
}

function become(next: Session): void {
  session = next;
  for (const listener of listeners) listener();
}

/** Web Locks exist only on https and localhost; elsewhere the server's grace for a used cookie has to do. */
function exclusively<T>(work: () => Promise<T>): Promise<T> {
  const locks = (navigator as { locks?: LockManager }).locks;
  return locks ? locks.request("lorestream.refresh", work) : work();
}
