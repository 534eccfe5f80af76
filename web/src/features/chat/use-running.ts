import { useSyncExternalStore } from "react";

import type { Exchange } from "./exchange";

const never = () => () => undefined;

/** The exchange while its answer is running; one question is asked at a time, so only the last one can be. */
export function useRunning(exchange: Exchange | undefined): Exchange | null {
  const running = useSyncExternalStore(
    exchange?.answer.subscribe ?? never,
    () => exchange?.answer.getState().phase === "running",
  );
  return running && exchange ? exchange : null;
}
