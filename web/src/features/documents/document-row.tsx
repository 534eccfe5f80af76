import { memo } from "react";

import { isBusy } from "../../api/documents";
import type { Document } from "../../api/types";
import { IconButton } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { ProgressBar } from "../../ui/progress-bar";
import { describeDocument } from "./describe";
import styles from "./row.module.css";

/** What can be done with a document; the same functions for as long as its list is shown. */
export interface DocumentActions {
  open: (document: Document) => void;
  askOnly: (document: Document) => void;
  retry: (document: Document) => void;
  cancel: (document: Document) => void;
  remove: (document: Document) => void;
}

interface Props {
  document: Document;
  actions: DocumentActions;
  /** Null where nothing can be selected. */
  selected?: boolean | null;
  onSelect?: (document: Document, selected: boolean) => void;
}

/** One document of a list; of thousands only those are drawn anew that have changed. */
export const DocumentRow = memo(function DocumentRow({ document, actions, selected = null, onSelect }: Props) {
  const { title, filename, status, reindex } = document;
  const again = status === "failed" || status === "cancelled";
  return (
    <li
      className={styles.row}
      data-testid="document-row"
      data-status={status}
      data-reindex={reindex}
      data-doc-id={document.doc_id}
      data-selected={selected}
    >
      {selected === null ? (
        <Icon name={status === "failed" ? "warning" : "file"} />
      ) : (
        <input
          type="checkbox"
          checked={selected}
          aria-label={`Select “${title}”`}
          onChange={(event) => onSelect?.(document, event.currentTarget.checked)}
          data-testid="select-document"
        />
      )}
      <div className={styles.body}>
        {status === "ready" ? (
          <button type="button" className={styles.title} title={filename} onClick={() => actions.open(document)}>
            {title}
          </button>
        ) : (
          <span className={styles.title} title={filename}>
            {title}
          </span>
        )}
        <span className={status === "failed" ? styles.failed : styles.detail}>{describeDocument(document)}</span>
        {isBusy(document) && <ProgressBar value={document.progress} label={`Reading ${title}`} />}
      </div>
      <div className={styles.actions}>
        {status === "ready" && (
          <IconButton icon="target" label={`Ask only “${title}”`} onClick={() => actions.askOnly(document)} />
        )}
        {again && <IconButton icon="retry" label={`Try “${title}” again`} onClick={() => actions.retry(document)} />}
        {isBusy(document) && (
          <IconButton icon="stop" label={`Cancel reading “${title}”`} onClick={() => actions.cancel(document)} />
        )}
        <IconButton icon="trash" label={`Delete “${title}”`} onClick={() => actions.remove(document)} />
      </div>
    </li>
  );
});
