import { useSyncExternalStore } from "react";

const CHANGED = "lorestream:path";

function subscribe(listener: () => void): () => void {
  addEventListener("popstate", listener);
  addEventListener(CHANGED, listener);
  return () => {
    removeEventListener("popstate", listener);
    removeEventListener(CHANGED, listener);
  };
}

export const usePath = (): string => useSyncExternalStore(subscribe, () => location.pathname);

export function goTo(path: string): void {
  if (location.pathname === path) return;
  history.pushState(null, "", path);
  dispatchEvent(new Event(CHANGED));
}
