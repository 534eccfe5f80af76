import { useSyncExternalStore } from "react";

let message = "";
const listeners = new Set<() => void>();

/** Let a screen reader say this once, after what it is saying now. */
export function announce(text: string): void {
  // The same words twice would be no change of the region, and so stay unsaid.
  message = text === message ? `${text}\u00a0` : text;
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The page's one live region. */
export function Announcer() {
  const text = useSyncExternalStore(subscribe, () => message);
  return (
    <p className="visually-hidden" role="status" aria-live="polite">
      {text}
    </p>
  );
}
