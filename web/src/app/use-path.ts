import { useSyncExternalStore } from "react";

const CHANGED = "lorestream:path";
/** The hash that opens the drawer on a phone: back closes it, and what lies under it stays. */
const DRAWER = "#library";

/** Where the page stands, by its address. */
export interface Place {
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
  const conversationId = /^\/c\/([^/]+)\/?$/.exec(path)?.[1] ?? null;
  return { conversationId, drawerOpen: path === "/library" || hash === DRAWER };
}

export const conversationUrl = (id: string | null): string => (id === null ? "/" : `/c/${id}`);

export function goTo(conversationId: string | null, { drawer = false } = {}): void {
  const url = conversationUrl(conversationId) + (drawer ? DRAWER : "");
  if (location.pathname + location.hash === url) return;
  history.pushState(null, "", url);
  dispatchEvent(new Event(CHANGED));
}
