import { useState, type KeyboardEvent, type SubmitEvent } from "react";

import type { Message } from "../../api/types";
import { Button, IconButton } from "../../ui/button";
import { BranchNav } from "./branch-nav";
import { fitsQuestion } from "./question-length";
import styles from "./question-view.module.css";
import type { Branches } from "./turns";

interface Props {
  text: string;
  branches: Branches | null;
  /** Null while the question cannot be asked differently. */
  onEdit: ((text: string) => void) | null;
  onGo: (message: Message) => void;
}

export function QuestionView({ text, branches, onEdit, onGo }: Props) {
  const [editing, setEditing] = useState(false);
  if (editing && onEdit) {
    const save = (changed: string) => {
      setEditing(false);
      onEdit(changed);
    };
    return <QuestionEditor text={text} onSave={save} onCancel={() => setEditing(false)} />;
  }
  return (
    <div className={styles.question}>
      <h2>{text}</h2>
      <div className={styles.actions}>
        <BranchNav of={branches} onGo={onGo} />
        {onEdit && (
          <IconButton
            icon="pencil"
            label="Edit the question"
            onClick={() => setEditing(true)}
            data-testid="edit-question"
          />
        )}
      </div>
    </div>
  );
}

interface EditorProps {
  text: string;
  onSave: (text: string) => void;
  onCancel: () => void;
}

/** The question as it is changed; sent, it begins a branch of its own. */
function QuestionEditor({ text, onSave, onCancel }: EditorProps) {
  const [draft, setDraft] = useState(text);
  const ready = fitsQuestion(draft);
  const send = () => ready && onSave(draft.trim());
  const onSubmit = (event: SubmitEvent) => {
    event.preventDefault();
    send();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.nativeEvent.isComposing) return;
    if (event.key === "Escape") onCancel();
    else if (event.key !== "Enter" || event.shiftKey) return;
    else send();
    event.preventDefault();
  };
  return (
    <form className={styles.editor} onSubmit={onSubmit}>
      <textarea
        aria-label="Your question, changed"
        value={draft}
        rows={1}
        autoFocus
        aria-invalid={!ready}
        onChange={(event) => setDraft(event.currentTarget.value)}
        onKeyDown={onKeyDown}
        data-testid="edit-text"
      />
      <p>The earlier version stays beside it.</p>
      <div className={styles.buttons}>
        <Button onClick={onCancel}>Cancel</Button>
        <Button type="submit" kind="primary" disabled={!ready} data-testid="edit-save">
          Ask
        </Button>
      </div>
    </form>
  );
}
