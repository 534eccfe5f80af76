import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import {
  changeConversation,
  conversationsQuery,
  deleteConversation,
  exportConversation,
  type ExportFormat,
} from "../../api/conversations";
import { messageOf } from "../../api/message";
import type { Conversation } from "../../api/types";
import { useAttempt } from "../../api/use-attempt";
import { announce } from "../../ui/announcer";
import { Button } from "../../ui/button";
import { ConfirmDialog } from "../../ui/confirm-dialog";
import { fileName, saveFile } from "../../ui/save-file";
import { SearchField } from "../../ui/search-field";
import { useDebounced } from "../../ui/use-debounced";
import { useVisible } from "../../ui/use-visible";
import { ConversationRow, titleOf } from "./conversation-row";
import styles from "./conversations.module.css";
import { groupByDay } from "./group-by-day";

const SEARCH_PAUSE_MS = 250;
const EXTENSIONS: Record<ExportFormat, string> = { markdown: "md", json: "json" };

interface Props {
  currentId: string | null;
  /** The conversations in which an answer is running. */
  busy: ReadonlySet<string>;
  onOpen: (id: string | null) => void;
}

/** All conversations of the user, newest first, and those that hold the words searched for. */
export function Conversations({ currentId, busy, onOpen }: Props) {
  const [words, setWords] = useState("");
  const q = useDebounced(words.trim(), SEARCH_PAUSE_MS);
  const {
    data: items = [],
    error,
    isPending,
    hasNextPage,
    isFetching,
    fetchNextPage,
  } = useInfiniteQuery(conversationsQuery(q));
  const [doomed, setDoomed] = useState<Conversation | null>(null);
  const { attempt, problem } = useAttempt();
  const client = useQueryClient();
  const end = useVisible<HTMLLIElement>(() => {
    if (hasNextPage && !isFetching) void fetchNextPage();
  });

  const remove = async (item: Conversation) => {
    await deleteConversation(client, item.conversation_id);
    announce(`${titleOf(item)} deleted.`);
    if (item.conversation_id === currentId) onOpen(null);
  };
  const save = async (item: Conversation, format: ExportFormat) =>
    saveFile(await exportConversation(item.conversation_id, format), fileName(titleOf(item), EXTENSIONS[format]));

  return (
    <section className={styles.conversations} aria-labelledby="conversations-title">
      <h2 id="conversations-title" className="visually-hidden">
        Conversations
      </h2>
      <div className={styles.head}>
        <Button icon="plus" onClick={() => onOpen(null)} data-testid="new-conversation">
          New conversation
        </Button>
        {(items.length > 0 || words !== "") && (
          <SearchField
            label="Search your conversations"
            words={words}
            onChange={setWords}
            data-testid="conversation-search"
          />
        )}
      </div>
      <p role="alert" className={styles.problem}>
        {problem ?? (error ? messageOf(error) : null)}
      </p>
      {!isPending && !error && items.length === 0 && (
        <p className={styles.empty}>{q ? "Nothing found." : "What you ask is kept here."}</p>
      )}
      <ul className={styles.list}>
        {groupByDay(items, new Date()).map(({ label, items: group }) => (
          <li key={label}>
            <h3 className={styles.day}>{label}</h3>
            <ul>
              {group.map((item) => (
                <ConversationRow
                  key={item.conversation_id}
                  item={item}
                  href={`/c/${item.conversation_id}`}
                  current={item.conversation_id === currentId}
                  busy={busy.has(item.conversation_id)}
                  onOpen={() => onOpen(item.conversation_id)}
                  onRename={(title) => attempt(() => changeConversation(client, item.conversation_id, { title }))}
                  onExport={(format) => attempt(() => save(item, format))}
                  onDelete={() => setDoomed(item)}
                />
              ))}
            </ul>
          </li>
        ))}
        {hasNextPage && (
          <li ref={end} className={styles.more}>
            More…
          </li>
        )}
      </ul>
      {doomed && (
        <ConfirmDialog
          title="Delete this conversation?"
          confirmLabel="Delete"
          onConfirm={() => attempt(() => remove(doomed))}
          onClose={() => setDoomed(null)}
        >
          “{titleOf(doomed)}” with all its questions and answers will be gone. Your documents stay.
        </ConfirmDialog>
      )}
    </section>
  );
}
