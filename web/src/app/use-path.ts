import { useSyncExternalStore } from "react";

const CHANGED = "lorestream:path";
/** The hash that opens the drawer on a phone: back closes it, and what lies under it stays. */
const DRAWER = "#library";

export type PageName = "chat" | "settings" | "administration";

/** Where the page stands, by its address. */
export interface Place {
  page: PageName;
  /** Which part of the settings or of the administration; empty for the first. */
  section: string;
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
  const page = (/^\/(settings|administration)\/?$/.exec(path)?.[1] ?? "chat") as PageName;
  return {
    page,
    section: page === "chat" ? "" : hash.slice(1),
    // Beside a conversation, the other pages leave it as it is.
    conversationId: page === "chat" ? conversationOf(path) : conversationOf(beside()),
    drawerOpen: page === "chat" && (path === "/library" || hash === DRAWER),
  };
}

export const conversationUrl = (id: string | null): string => (id === null ? "/" : `/c/${id}`);

export function goTo(conversationId: string | null, { drawer = false } = {}): void {
  push(conversationUrl(conversationId) + (drawer ? DRAWER : ""), null);
}

/** Open the settings or the administration; `goTo` their `conversationId` leads back. */
export function goToPage(page: Exclude<PageName, "chat">, section = ""): void {
  push(`/${page}${section && `#${section}`}`, { beside: beside() });
}

const conversationOf = (path: string): string | null => /^\/c\/([^/]+)\/?$/.exec(path)?.[1] ?? null;

/** The path of the conversation from which another page was opened. */
function beside(): string {
  if (conversationOf(location.pathname) !== null) return location.pathname;
  const state = history.state as { beside?: unknown } | null;
  return typeof state?.beside === "string" ? state.beside : "/";
}

function push(url: string, state: unknown): void {
  if (location.pathname + location.hash === url) return;
  history.pushState(state, "", url);
  dispatchEvent(new Event(CHANGED));
}
