import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { changeConversation, conversationQuery } from "../../api/conversations";
import { messageOf } from "../../api/problem";
import { announce } from "../../ui/announcer";

/** The documents that a conversation is bound to; none means all. Before it exists, those that it will begin with. */
export interface Scope {
  docIds: readonly string[];
  add: (docId: string) => void;
  remove: (docId: string) => void;
  clear: () => void;
}

export function useScope(conversationId: string | null): Scope {
  const client = useQueryClient();
  const { data } = useQuery({ ...conversationQuery(conversationId ?? ""), enabled: conversationId !== null });
  const [next, setNext] = useState<readonly string[]>([]);
  const docIds = conversationId === null ? next : (data?.doc_ids ?? []);
  const change = (ids: readonly string[]) => {
    if (conversationId === null) setNext(ids);
    else {
      changeConversation(client, conversationId, { doc_ids: ids.length > 0 ? [...ids] : null }).catch(
        (error: unknown) => announce(messageOf(error)),
      );
    }
  };
  return {
    docIds,
    add: (docId) => change([...docIds.filter((id) => id !== docId), docId]),
    remove: (docId) => change(docIds.filter((id) => id !== docId)),
    clear: () => setNext([]),
  };
}
