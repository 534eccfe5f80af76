import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { useState, useSyncExternalStore } from "react";

import { deleteDocument, documentsQuery, forgetDocument, rememberDocument, retryDocument } from "../../api/documents";
import { messageOf } from "../../api/problem";
import type { Document } from "../../api/types";
import { useAttempt } from "../../api/use-attempt";
import { announce } from "../../ui/announcer";
import { Button } from "../../ui/button";
import { ConfirmDialog } from "../../ui/confirm-dialog";
import { plural } from "../../ui/format";
import { DocumentRow } from "./document-row";
import styles from "./library.module.css";
import { UploadRow } from "./upload-row";
import type { UploadQueue } from "./upload-queue";
import { useProgress } from "./use-progress";

interface Props {
  uploads: UploadQueue;
  onChooseFiles: () => void;
  onOpen: (document: Document) => void;
  onAskOnly: (document: Document) => void;
  onShowLimits: () => void;
}

/** All documents of the user, with those on their way on top. */
export function Library({ uploads, onChooseFiles, onOpen, onAskOnly, onShowLimits }: Props) {
  const client = useQueryClient();
  const {
    data: documents = [],
    error,
    isPending,
    hasNextPage,
    isFetchingNextPage,
    fetchNextPage,
  } = useInfiniteQuery(documentsQuery);
  const sending = useSyncExternalStore(uploads.subscribe, uploads.getState);
  const [doomed, setDoomed] = useState<Document | null>(null);
  const { attempt, problem } = useAttempt();
  useProgress(documents);

  const remove = async (document: Document) => {
    await deleteDocument(document.doc_id);
    forgetDocument(client, document.doc_id);
    announce(`${document.title} deleted.`);
  };
  const retry = async (document: Document) => rememberDocument(client, await retryDocument(document.doc_id));

  const empty = !isPending && !error && documents.length + sending.length === 0;
  return (
    <section className={styles.library} aria-labelledby="library-title">
      <div className={styles.head}>
        <h2 id="library-title">Library</h2>
        {documents.length > 0 && (
          <span className={styles.count}>
            {hasNextPage ? `${documents.length}+ documents` : plural(documents.length, "document")}
          </span>
        )}
      </div>
      <div className={styles.add}>
        <Button icon="plus" onClick={onChooseFiles} data-testid="add-documents">
          Add documents
        </Button>
      </div>
      <p role="alert" className={styles.problem}>
        {problem ?? (error ? messageOf(error) : null)}
      </p>
      {empty && <p className={styles.empty}>Nothing here yet. Drop PDFs, Word files, web pages or notes anywhere.</p>}
      <ul className={styles.list}>
        {sending.map((upload) => (
          <UploadRow
            key={upload.key}
            upload={upload}
            onRetry={uploads.retry}
            onRemove={uploads.remove}
            onShowLimits={onShowLimits}
          />
        ))}
        {documents.map((document) => (
          <DocumentRow
            key={document.doc_id}
            document={document}
            onOpen={onOpen}
            onAskOnly={onAskOnly}
            onRetry={(item) => attempt(() => retry(item))}
            onDelete={setDoomed}
          />
        ))}
      </ul>
      {hasNextPage && (
        <Button disabled={isFetchingNextPage} onClick={() => void fetchNextPage()}>
          Show more
        </Button>
      )}
      {doomed && (
        <ConfirmDialog
          title="Delete this document?"
          confirmLabel="Delete"
          onConfirm={() => attempt(() => remove(doomed))}
          onClose={() => setDoomed(null)}
        >
          “{doomed.title}” and everything indexed from it will be gone. Answers that cite it stay, their passages do
          not.
        </ConfirmDialog>
      )}
    </section>
  );
}
