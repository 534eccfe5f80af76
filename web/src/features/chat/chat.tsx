import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import { LorestreamError } from "@lorestream/client";

import { createConversation } from "../../api/conversations";
import { messageOf } from "../../api/message";
import type { Source } from "../../api/types";
import type { ChatSession } from "./chat-session";
import styles from "./chat.module.css";
import { Composer, type Refusal } from "./composer";
import type { Drafts } from "./drafts";
import { TurnView, type TurnActions } from "./turn-view";
import { useConversation } from "./use-conversation";
import { useEscape } from "./use-escape";
import { useRunning } from "./use-running";
import type { Scope } from "./use-scope";
import { useStickToEnd } from "./use-stick-to-end";
import { Welcome } from "./welcome";

interface Props {
  session: ChatSession;
  /** Null for a conversation that begins with its first question. */
  conversationId: string | null;
  drafts: Drafts;
  scope: Scope;
  onCreated: (conversationId: string) => void;
  onOpenSource: (source: Source) => void;
  onChooseFiles: () => void;
  /** Escape stops the running answer, unless something else on the page takes it first. */
  escapeStops: boolean;
}

export function Chat(props: Props) {
  const { session, conversationId, scope, onOpenSource, onChooseFiles, escapeStops } = props;
  const { turns, leafId, error, isLoading } = useConversation(session, conversationId);
  const { draft, setDraft, ask, problem, creating } = useAsking(props, leafId);
  const question = useRef<HTMLTextAreaElement>(null);
  const running = useRunning(turns.at(-1)?.exchange ?? undefined);
  const { scrollRef, contentRef, atEnd, toEnd } = useStickToEnd();
  useEscape(escapeStops && running ? () => running.stop() : null);
  useEffect(toEnd, [conversationId, toEnd]);

  const id = conversationId ?? "";
  const actions: TurnActions = {
    edit: (turn, text) => session.ask(id, turn.parentId, text),
    askAgain: ({ question, answer, exchange }) => {
      if (question && answer) session.regenerate(id, question, answer);
      else if (exchange) session.repeat(exchange);
      toEnd();
    },
    dismiss: ({ exchange }) => exchange && session.dismiss(exchange),
    go: (message) => session.choose(id, message),
    openSource: onOpenSource,
  };
  const suggest = (text: string) => {
    setDraft(text);
    question.current?.focus();
  };

  return (
    <div className={styles.chat}>
      <div className={styles.scroll} ref={scrollRef}>
        <div className={styles.content} ref={contentRef}>
          {error && (
            <p role="alert" className={styles.notice}>
              {messageOf(error)}
            </p>
          )}
          {turns.length === 0 && !isLoading && !error && <Welcome onSuggest={suggest} onChooseFiles={onChooseFiles} />}
          {turns.map((turn, index) => (
            <TurnView
              key={turn.key}
              turn={turn}
              conversationId={id}
              last={index === turns.length - 1}
              busy={running !== null}
              actions={actions}
            />
          ))}
        </div>
      </div>
      <Composer
        ref={question}
        draft={draft}
        onDraftChange={setDraft}
        scope={scope}
        running={running}
        problem={problem}
        disabled={creating || error !== null || isLoading}
        onAsk={(text) => {
          ask(text);
          toEnd();
        }}
        onJumpToEnd={atEnd ? null : toEnd}
      />
    </div>
  );
}

/** What is being written, kept for each conversation, and asking it: a new conversation is made first. */
function useAsking({ session, conversationId, drafts, scope, onCreated }: Props, leafId: string | null) {
  const client = useQueryClient();
  const draft = useSyncExternalStore(drafts.subscribe, () => drafts.get(conversationId));
  const [problem, setProblem] = useState<Refusal | null>(null);
  const [creating, setCreating] = useState(false);
  const setDraft = (text: string) => drafts.set(conversationId, text);

  const begin = async (text: string) => {
    setCreating(true);
    try {
      const { docIds, collectionId } = scope;
      const asked = { doc_ids: docIds.length > 0 ? [...docIds] : null, collection_id: collectionId };
      const id = await createConversation(client, asked);
      session.ask(id, null, text);
      scope.clear();
      onCreated(id);
    } catch (error) {
      drafts.keep(null, text);
      setProblem({ message: messageOf(error), retryAt: error instanceof LorestreamError ? error.retryAt : null });
    } finally {
      setCreating(false);
    }
  };
  const ask = (text: string) => {
    setDraft("");
    setProblem(null);
    if (conversationId === null) void begin(text);
    else session.ask(conversationId, leafId, text);
  };
  return { draft, setDraft, ask, problem, creating };
}
