import { useSyncExternalStore } from "react";

const never = () => () => undefined;

function often(listener: () => void): () => void {
  const timer = setInterval(listener, 500);
  return () => clearInterval(timer);
}

/** Whole seconds until `at` (as `Date.now`), counting down; 0 when it is over, or was never. */
export function useSecondsUntil(at: number | null): number {
  return useSyncExternalStore(at === null ? never : often, () =>
    at === null ? 0 : Math.max(0, Math.ceil((at - Date.now()) / 1000)),
  );
}
