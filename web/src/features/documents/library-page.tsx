import { useEffect, useRef, useState } from "react";

import { FORMATS } from "../../api/formats";
import type { DocumentFilter } from "../../api/documents";
import type { Collection, Document } from "../../api/types";
import { formatCount, plural } from "../../ui/format";
import { SearchField } from "../../ui/search-field";
import { useDebounced } from "../../ui/use-debounced";
import { useVisible } from "../../ui/use-visible";
import { AddMenu } from "./add-menu";
import { CollectionsBar } from "./collections-bar";
import { DeleteDialog } from "./delete-dialog";
import { DocumentRow, type DocumentActions } from "./document-row";
import type { Chooser } from "./file-inputs";
import { IntakeList } from "./intake-list";
import styles from "./library-page.module.css";
import { SelectionBar } from "./selection-bar";
import { useDocuments } from "./use-documents";
import type { Intake } from "./use-intake";

const STATUSES: readonly (readonly [DocumentFilter["status"], string])[] = [
  ["", "All"],
  ["ready", "Ready"],
  ["processing", "Being read"],
  ["queued", "Waiting"],
  ["failed", "Failed"],
  ["cancelled", "Cancelled"],
];
const TYPING_PAUSE_MS = 250;

interface Props extends Pick<DocumentActions, "open"> {
  intake: Intake;
  choose: Chooser;
  /** From the page's address; empty for all documents. */
  collectionId: string;
  onGoCollection: (collectionId: string) => void;
  onAsk: (documents: readonly Document[]) => void;
  onAskCollection: (collection: Collection) => void;
  onSearchCollection: (collection: Collection) => void;
  onShowLimits: () => void;
}

/** All documents of the user: found, filtered, put into collections; with those on their way on top. */
export function LibraryPage(props: Props) {
  const { intake, choose, collectionId, onGoCollection, open, onAsk, onAskCollection, onShowLimits } = props;
  const [words, setWords] = useState("");
  const [status, setStatus] = useState<DocumentFilter["status"]>("");
  const q = useDebounced(words.trim(), TYPING_PAUSE_MS);
  const filter: DocumentFilter = { q, status, collectionId, batchId: "" };
  const list = useDocuments(intake.watch, filter, { open, askOnly: (document) => onAsk([document]) });
  const { documents, problem, isPending, hasNextPage, isFetching, fetchNextPage, doomed, setDoomed } = list;
  const { selected, isSelected, select, selectAll, clear } = useSelection(documents);
  const end = useVisible<HTMLParagraphElement>(() => {
    if (hasNextPage && !isFetching) void fetchNextPage();
  });
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    heading.current?.focus({ preventScroll: true });
    document.title = "Library · Lorestream";
    return () => void (document.title = "Lorestream");
  }, []);

  const filtered = q !== "" || status !== "" || collectionId !== "";
  return (
    <div className={styles.page} data-testid="library-page">
      <div className={styles.content}>
        <header className={styles.head}>
          <h1 ref={heading} tabIndex={-1}>
            Library
          </h1>
          <AddMenu choose={choose} />
        </header>
        <CollectionsBar
          current={collectionId}
          onGo={onGoCollection}
          onAsk={onAskCollection}
          onSearch={props.onSearchCollection}
        />
        <IntakeList intake={intake} onShowLimits={onShowLimits} />
        <div className={styles.tools}>
          <SearchField label="Search by name" words={words} onChange={setWords} data-testid="library-search" />
          <label className={styles.status}>
            <span className="visually-hidden">Only with the status</span>
            <select
              value={status}
              onChange={(event) => setStatus(event.currentTarget.value as DocumentFilter["status"])}
              data-testid="library-status"
            >
              {STATUSES.map(([value, label]) => (
                <option key={value} value={value}>
                  {label}
                </option>
              ))}
            </select>
          </label>
          <label className={styles.all}>
            <input
              type="checkbox"
              checked={documents.length > 0 && selected.length === documents.length}
              disabled={documents.length === 0}
              onChange={(event) => (event.currentTarget.checked ? selectAll() : clear())}
              data-testid="select-all"
            />
            {hasNextPage ? `All ${formatCount(documents.length)} shown` : plural(documents.length, "document")}
          </label>
        </div>
        <p role="alert" className={styles.problem}>
          {problem}
        </p>
        {!isPending && !problem && documents.length === 0 && (
          <p className={styles.empty}>
            {filtered ? "No document fits." : `Nothing here yet. Drop files or folders anywhere: ${FORMATS}.`}
          </p>
        )}
        <ul className={styles.list} aria-label="Documents">
          {documents.map((document) => (
            <DocumentRow
              key={document.doc_id}
              document={document}
              actions={list.actions}
              selected={isSelected(document)}
              onSelect={select}
            />
          ))}
        </ul>
        {hasNextPage && (
          <p ref={end} className={styles.note}>
            More…
          </p>
        )}
      </div>
      {selected.length > 0 && (
        <SelectionBar
          selected={selected}
          collectionId={collectionId}
          attempt={list.attempt}
          onAsk={onAsk}
          onDelete={() => setDoomed(selected)}
          onClear={clear}
        />
      )}
      <DeleteDialog documents={doomed} onConfirm={list.removeDoomed} onClose={() => setDoomed([])} />
    </div>
  );
}

/** Which of the shown documents are selected; one that is no longer shown is not. */
function useSelection(documents: readonly Document[]) {
  const [ids, setIds] = useState<ReadonlySet<string>>(new Set());
  const [select] = useState(() => ({ doc_id: id }: Document, on: boolean) => {
    setIds((now) => (on ? new Set(now).add(id) : new Set([...now].filter((other) => other !== id))));
  });
  return {
    selected: documents.filter((document) => ids.has(document.doc_id)),
    isSelected: ({ doc_id: id }: Document) => ids.has(id),
    select,
    selectAll: () => setIds(new Set(documents.map((document) => document.doc_id))),
    clear: () => setIds(new Set()),
  };
}
