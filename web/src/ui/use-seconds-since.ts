import { useSyncExternalStore } from "react";

const never = () => () => undefined;

function often(listener: () => void): () => void {
  const timer = setInterval(listener, 1_000);
  return () => clearInterval(timer);
}

/** Whole seconds since `at` (as `Date.now`), counting up; 0 for null. */
export function useSecondsSince(at: number | null): number {
  return useSyncExternalStore(at === null ? never : often, () =>
    at === null ? 0 : Math.max(0, Math.floor((Date.now() - at) / 1000)),
  );
}
