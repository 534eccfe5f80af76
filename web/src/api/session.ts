/**
 * Who is logged in. The access token lives in the memory of the open tabs alone; the refresh token is an HttpOnly
 * cookie.
 *
 * Tabs share that cookie, and each use of it replaces it: so refreshes go one at a time through a Web Lock, and what
 * one tab got serves them all. Without these (plain http beyond localhost) the server's grace for the cookie that was
 * used last has to do.
 */
import { LorestreamError, readError, unreachable } from "@lorestream/client";

import type { AccessToken } from "./types";

export type Session =
  | { readonly state: "unknown" | "unreachable" }
  /** `notice` says why a login has ended that the user did not end here. */
  | { readonly state: "anonymous"; readonly notice: string | null }
  | { readonly state: "signed-in"; readonly userId: string };

interface Access {
  token: string;
  /** On this page's clock, as `Date.now`. */
  expires: number;
}

type TabMessage = { kind: "renewed"; access: Access } | { kind: "ended"; notice: string };

const REFRESH_EARLY_MS = 60_000;
/** All tabs know the same expiry: one of them is the first, and serves the others. */
const REFRESH_SPREAD_MS = 20_000;
/** After a failed refresh: the server restarts, or the laptop wakes before its network does. */
const REFRESH_RETRY_MS = 5_000;
const LEEWAY_MS = 5_000;
const NOTICE = {
  ended: "Your login has ended: it has expired, or it was ended from elsewhere. Please log in again.",
  elsewhere: "You have logged out in another tab.",
};

let session: Session = { state: "unknown" };
let access: Access | null = null;
let refreshing: Promise<string | null> | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;
/** Counts logins and logouts, so that a refresh that was under way cannot undo either. */
let epoch = 0;
const listeners = new Set<() => void>();
const tabs = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("lorestream.session");
if (tabs) {
  tabs.onmessage = ({ data }: MessageEvent<TabMessage>) => {
    if (data.kind === "ended") end(session.state === "signed-in" ? data.notice : null);
    else hold(data.access);
  };
}

export const getSession = (): Session => session;

export function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** A valid access token, refreshed when it is about to expire; null when nobody is logged in. */
export async function accessToken(): Promise<string | null> {
  if (isFresh(LEEWAY_MS)) return access?.token ?? null;
  return session.state === "anonymous" ? null : refresh();
}

/** Exchange the cookie for a new access token; `stale` is the one that a request was just refused with. */
export function refresh(stale?: string): Promise<string | null> {
  if (stale && access && access.token !== stale) return Promise.resolve(access.token);
  const known = access?.token;
  refreshing ??= exclusively(async () => {
    // While this tab waited for its turn, another one may have been served.
    if (access && access.token !== known && access.token !== stale) return access.token;
    return exchangeCookie();
  }).finally(() => (refreshing = null));
  return refreshing;
}

/** The page is looked at again, or the network is back, perhaps after a night: do not wait for a timer that slept. */
export function wake(): void {
  if (session.state === "unreachable" || (session.state === "signed-in" && !isFresh(REFRESH_EARLY_MS))) {
    refresh().catch(() => undefined);
  }
}

export async function register(email: string, password: string, invitation: string | null): Promise<void> {
  const body = JSON.stringify({ email, password, ...(invitation && { invitation }) });
  await post("/auth/register", body, "application/json");
  await logIn(email, password);
}

export async function logIn(username: string, password: string): Promise<void> {
  const response = await post("/auth/token", new URLSearchParams({ username, password }));
  epoch += 1;
  renew((await response.json()) as AccessToken);
}

/** End the session here, on the server and in the other tabs. */
export async function logOut(): Promise<void> {
  const token = access?.token;
  await post("/auth/logout", null, undefined, token).catch((error: unknown) => {
    // A session that the server no longer knows is over as well; anything else is for the user to see.
    if (!(error instanceof LorestreamError && error.status === 401)) throw error;
  });
  leave(null);
}

/** The login is over by what the user just did on the server; `notice` is what there is to say about it. */
export function leave(notice: string | null): void {
  tell({ kind: "ended", notice: notice ?? NOTICE.elsewhere });
  end(notice);
}

async function exchangeCookie(): Promise<string | null> {
  const started = epoch;
  try {
    const token = (await (await post("/auth/refresh")).json()) as AccessToken;
    if (started === epoch) renew(token);
  } catch (error) {
    if (!(error instanceof LorestreamError)) throw error;
    if (started !== epoch) return access?.token ?? null;
    if (error.status === 401 || error.status === 403) end(session.state === "signed-in" ? NOTICE.ended : null);
    else {
      if (session.state === "unknown") become({ state: "unreachable" });
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
  if (!response.ok) throw await readError(response);
  return response;
}

function renew(token: AccessToken): void {
  const renewed = { token: token.access_token, expires: Date.now() + token.expires_in * 1000 };
  hold(renewed);
  tell({ kind: "renewed", access: renewed });
}

function hold(renewed: Access): void {
  access = renewed;
  const left = renewed.expires - Date.now();
  const early = REFRESH_EARLY_MS + Math.random() * REFRESH_SPREAD_MS;
  schedule(Math.max(left - early, left / 2));
  const userId = subjectOf(renewed.token);
  // The same user goes on with what the page shows; another one begins anew.
  if (session.state !== "signed-in" || session.userId !== userId) become({ state: "signed-in", userId });
}

function end(notice: string | null): void {
  epoch += 1;
  access = null;
  clearTimeout(timer);
  // The first word about it stays.
  if (session.state !== "anonymous") become({ state: "anonymous", notice });
}

function schedule(delay: number): void {
  clearTimeout(timer);
  timer = setTimeout(() => void refresh().catch(() => undefined), delay);
}

function become(next: Session): void {
  session = next;
  for (const listener of listeners) listener();
}

const isFresh = (margin: number): boolean => access !== null && Date.now() < access.expires - margin;

const tell = (message: TabMessage): void => tabs?.postMessage(message);

/** For whom a token is (its claim `sub`), so that the page notices when another tab has logged in as somebody else. */
function subjectOf(token: string): string {
  try {
    const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const { sub } = JSON.parse(atob(payload)) as { sub?: unknown };
    return typeof sub === "string" ? sub : "";
  } catch {
    return "";
  }
}

/** Web Locks exist only on https and localhost. */
function exclusively<T>(work: () => Promise<T>): Promise<T> {
  const locks = (navigator as { locks?: LockManager }).locks;
  return locks ? locks.request("lorestream.refresh", work) : work();
}
