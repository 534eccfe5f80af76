import type { Document } from "../../api/types";
import { IconButton } from "../../ui/button";
import { formatBytes, plural } from "../../ui/format";
import { Icon } from "../../ui/icon";
import { ProgressBar } from "../../ui/progress-bar";
import styles from "./row.module.css";
import { isBusy } from "./use-progress";

interface Props {
  document: Document;
  onOpen: (document: Document) => void;
  onAskOnly: (document: Document) => void;
  onRetry: (document: Document) => void;
  onDelete: (document: Document) => void;
}

export function DocumentRow({ document, onOpen, onAskOnly, onRetry, onDelete }: Props) {
  const { title, status } = document;
  return (
    <li className={styles.row} data-testid="document-row" data-status={status} data-doc-id={document.doc_id}>
      <Icon name={status === "failed" ? "warning" : "file"} />
      <div className={styles.body}>
        {status === "ready" ? (
          <button type="button" className={styles.title} title={document.filename} onClick={() => onOpen(document)}>
            {title}
          </button>
        ) : (
          <span className={styles.title} title={document.filename}>
            {title}
          </span>
        )}
        <span className={status === "failed" ? styles.failed : styles.detail}>{describe(document)}</span>
        {isBusy(document) && <ProgressBar value={document.progress} label={`Reading ${title}`} />}
      </div>
      <div className={styles.actions}>
        {status === "ready" && (
          <IconButton icon="target" label={`Ask only “${title}”`} onClick={() => onAskOnly(document)} />
        )}
        {(status === "failed" || status === "cancelled") && (
          <IconButton icon="retry" label={`Try “${title}” again`} onClick={() => onRetry(document)} />
        )}
        <IconButton icon="trash" label={`Delete “${title}”`} onClick={() => onDelete(document)} />
      </div>
    </li>
  );
}

function describe(document: Document): string {
  switch (document.status) {
    case "queued":
      return "Waiting to be read";
    case "processing":
      return `Reading… ${Math.round(document.progress * 100)} %`;
    case "failed":
      return document.error?.message ?? "This file could not be read.";
    case "cancelled":
      return "Cancelled";
    case "ready":
      return [document.pages ? plural(document.pages, "page") : null, formatBytes(document.bytes)]
        .filter(Boolean)
        .join(" · ");
  }
}
