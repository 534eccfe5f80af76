import { beginning, stored, type AnswerState } from "@lorestream/client";
import { useMemo, useSyncExternalStore } from "react";

import type { Turn } from "./turns";

const never = () => () => undefined;

/** The answer of a turn: as it is followed while it runs, as the server has it once it has ended. */
export function useAnswer({ exchange, question, answer }: Turn): AnswerState {
  const live = useSyncExternalStore(exchange?.answer.subscribe ?? never, () => exchange?.answer.getState() ?? null);
  const kept = useMemo(
    () => ({ ...beginning(question?.content ?? ""), ...(answer && stored(answer)) }),
    [question, answer],
  );
  if (live === null) return kept;
  if (answer === null) return live;
  if (answer.status !== "running" && live.phase !== "running") return { ...kept, reasoning: live.reasoning };
  // An answer joined on its way is told from its start: what is there already stays until the telling has got there.
  return live.text.length < kept.text.length ? { ...live, text: kept.text, sources: kept.sources } : live;
}
