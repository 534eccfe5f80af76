import { useMemo, useSyncExternalStore } from "react";

const CHANGED = "lorestream:path";
/** The hash that opens the drawer on a phone: back closes it, and what lies under it stays. */
const DRAWER = "#library";
/** The pages beside the conversations, by their paths. None of them is a path of the API, as /search is. */
const PATHS = {
  library: "/library",
  search: "/find",
  settings: "/settings",
  administration: "/administration",
} as const;

export type OtherPage = keyof typeof PATHS;
export type PageName = "chat" | OtherPage;

/** Where the page stands, by its address. */
export interface Place {
  page: PageName;
  /** Which part of the settings or of the administration; empty for the first. */
  section: string;
  /** What the library shows, or what is searched for. */
  query: URLSearchParams;
  /** Null for a conversation that begins with its first question. */
  conversationId: string | null;
  drawerOpen: boolean;
}

function subscribe(listener: () => void): () => void {
  addEventListener("popstate", listener);
  addEventListener(CHANGED, listener);
  return () => {
    removeEventListener("popstate", listener);
    removeEventListener(CHANGED, listener);
  };
}

export function usePlace(): Place {
  const path = useSyncExternalStore(subscribe, () => location.pathname);
  const hash = useSyncExternalStore(subscribe, () => location.hash);
  const search = useSyncExternalStore(subscribe, () => location.search);
  return useMemo(() => {
    const page = pageOf(path);
    return {
      page,
      section: page === "settings" || page === "administration" ? hash.slice(1) : "",
      query: new URLSearchParams(search),
      // Beside a conversation, the other pages leave it as it is.
      conversationId: conversationOf(page === "chat" ? path : beside()),
      drawerOpen: hash === DRAWER,
    };
  }, [path, hash, search]);
}

function pageOf(path: string): PageName {
  const bare = path.replace(/(.)\/$/, "$1");
  return (Object.keys(PATHS) as OtherPage[]).find((name) => PATHS[name] === bare) ?? "chat";
}

export const conversationUrl = (id: string | null): string => (id === null ? "/" : `/c/${id}`);

export function goTo(conversationId: string | null): void {
  push(conversationUrl(conversationId), null);
}

/** Open or close the drawer of a phone, over whatever page is open. */
export function setDrawer(open: boolean): void {
  push(location.pathname + location.search + (open ? DRAWER : ""), history.state);
}

/** Open another page; `goTo` its `conversationId` leads back. */
export function goToPage(page: OtherPage, { section = "", query = {} }: Going = {}): void {
  push(urlOf(page, query) + (section && `#${section}`), { beside: beside() });
}

/** Say in the address what the open page shows, without a step to go back to. */
export function setQuery(page: OtherPage, query: Query): void {
  history.replaceState(history.state, "", urlOf(page, query));
  dispatchEvent(new Event(CHANGED));
}

type Query = Readonly<Record<string, string>>;

interface Going {
  section?: string;
  query?: Query;
}

/** Without what is empty. */
function urlOf(page: OtherPage, query: Query): string {
  const words = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "")).toString();
  return PATHS[page] + (words && `?${words}`);
}

const conversationOf = (path: string): string | null => /^\/c\/([^/]+)\/?$/.exec(path)?.[1] ?? null;

/** The path of the conversation from which another page was opened. */
function beside(): string {
  if (conversationOf(location.pathname) !== null) return location.pathname;
  const state = history.state as { beside?: unknown } | null;
  return typeof state?.beside === "string" ? state.beside : "/";
}

function push(url: string, state: unknown): void {
  if (location.pathname + location.search + location.hash === url) return;
  history.pushState(state, "", url);
  dispatchEvent(new Event(CHANGED));
}
