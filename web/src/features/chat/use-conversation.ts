import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useSyncExternalStore } from "react";
import { LorestreamError } from "@lorestream/client";

import { conversationQuery } from "../../api/conversations";
import type { Message } from "../../api/types";
import { choicesIn, type ChatSession } from "./chat-session";
import { activePath } from "./tree";
import { turnsOf } from "./turns";

const NONE: readonly Message[] = [];

/** The active branch of a conversation, what is running in it being followed; null is one that does not exist yet. */
export function useConversation(session: ChatSession, id: string | null) {
  const live = useSyncExternalStore(session.subscribe, session.getLive);
  const { data, error: failure, isLoading } = useQuery({ ...conversationQuery(id ?? ""), enabled: id !== null });
  // Without a connection what was read before stays; what is deleted goes.
  const error = data && !(failure instanceof LorestreamError && failure.status === 404) ? null : failure;
  const messages = id === null || error ? NONE : (data?.messages ?? NONE);

  useEffect(() => {
    if (id !== null) session.join(id, messages);
  }, [session, id, messages]);
  useEffect(() => {
    if (id !== null) return () => session.leave(id);
  }, [session, id]);

  return useMemo(() => {
    const choices = choicesIn(live, id ?? "");
    const exchanges = live.exchanges.filter(({ place }) => place.conversationId === id);
    return {
      turns: turnsOf(messages, choices, exchanges),
      /** Where the next question goes: after the last answer of the active branch. */
      leafId: activePath(messages, choices).at(-1)?.message_id ?? null,
      error,
      isLoading,
    };
  }, [live, id, messages, error, isLoading]);
}
