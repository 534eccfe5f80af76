import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";

import { followOtherTabs, refreshConversation } from "../api/conversations";
import { server } from "../api/http";
import { ChatSession } from "../features/chat/chat-session";
import { draftsOf } from "../features/chat/drafts";

/**
 * The answers that this page follows, as long as somebody is logged in, in step with the user's other tabs; and what
 * is being written. A question that the server has not taken when the login ends is written again afterwards.
 */
export function useChatSession(userId: string) {
  const client = useQueryClient();
  const drafts = draftsOf(userId);
  const [session] = useState(() => new ChatSession(server, (id) => refreshConversation(client, id)));
  useEffect(() => {
    const unfollow = followOtherTabs(client);
    return () => {
      unfollow();
      for (const { conversationId, question } of session.close()) drafts.keep(conversationId, question);
    };
  }, [client, session, drafts]);
  return { session, drafts };
}
