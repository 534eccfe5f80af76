import { useState, type KeyboardEvent, type MouseEvent } from "react";

import type { ExportFormat } from "../../api/conversations";
import type { Conversation } from "../../api/types";
import { Menu, MenuItem } from "../../ui/menu";
import styles from "./conversation-row.module.css";

export const titleOf = ({ title }: Conversation): string => (title === "" ? "New conversation" : title);

const MAX_TITLE_CHARS = 200;

interface Props {
  item: Conversation;
  href: string;
  current: boolean;
  /** An answer is running in it. */
  busy: boolean;
  onOpen: () => void;
  onRename: (title: string) => void;
  onExport: (format: ExportFormat) => void;
  onDelete: () => void;
}

export function ConversationRow({ item, href, current, busy, onOpen, onRename, onExport, onDelete }: Props) {
  const [renaming, setRenaming] = useState(false);
  const title = titleOf(item);
  const follow = (event: MouseEvent) => {
    // With a modifier it is the browser's: a new tab, a new window.
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    onOpen();
  };
  if (renaming) {
    const end = (changed: string) => {
      setRenaming(false);
      if (changed !== "" && changed !== title) onRename(changed);
    };
    return (
      <li className={styles.row} data-testid="conversation-item" data-current={current}>
        <TitleInput title={title} onEnd={end} />
      </li>
    );
  }
  return (
    <li className={styles.row} data-testid="conversation-item" data-current={current} data-busy={busy}>
      <a href={href} className={styles.link} title={title} aria-current={current ? "page" : undefined} onClick={follow}>
        <span className={styles.title}>{title}</span>
        {busy && <span className={styles.busy} role="img" aria-label="An answer is on its way" />}
        {item.snippet && <span className={styles.snippet}>{item.snippet}</span>}
      </a>
      <span className={styles.actions}>
        <Menu label={`More for “${title}”`} data-testid="conversation-menu">
          <MenuItem icon="pencil" onClick={() => setRenaming(true)} data-testid="rename">
            Rename
          </MenuItem>
          <MenuItem icon="save" onClick={() => onExport("markdown")} data-testid="export-markdown">
            Export as Markdown
          </MenuItem>
          <MenuItem icon="save" onClick={() => onExport("json")} data-testid="export-json">
            Export as JSON
          </MenuItem>
          <MenuItem icon="trash" onClick={onDelete} data-testid="delete-conversation">
            Delete
          </MenuItem>
        </Menu>
      </span>
    </li>
  );
}

/** Enter and leaving the field keep the title, Escape does not. */
function TitleInput({ title, onEnd }: { title: string; onEnd: (title: string) => void }) {
  const [draft, setDraft] = useState(title);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.nativeEvent.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return;
    event.preventDefault();
    onEnd(event.key === "Enter" ? draft.trim() : title);
  };
  return (
    <input
      className={styles.input}
      value={draft}
      maxLength={MAX_TITLE_CHARS}
      autoFocus
      aria-label="Title of the conversation"
      onFocus={(event) => event.currentTarget.select()}
      onChange={(event) => setDraft(event.currentTarget.value)}
      onKeyDown={onKeyDown}
      onBlur={() => onEnd(draft.trim())}
      data-testid="rename-input"
    />
  );
}
