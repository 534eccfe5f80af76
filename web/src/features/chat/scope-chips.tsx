import { useInfiniteQuery, useQuery } from "@tanstack/react-query";

import { documentQuery, documentsQuery } from "../../api/documents";
import { IconButton } from "../../ui/button";
import styles from "./scope-chips.module.css";
import type { Scope } from "./use-scope";

/** The documents that questions are asked of, each with a way to leave it out again. */
export function ScopeChips({ scope }: { scope: Scope }) {
  if (scope.docIds.length === 0) return null;
  return (
    <ul className={styles.chips} aria-label="Only in these documents" data-testid="scope">
      {scope.docIds.map((docId) => (
        <Chip key={docId} docId={docId} onRemove={() => scope.remove(docId)} />
      ))}
    </ul>
  );
}

function Chip({ docId, onRemove }: { docId: string; onRemove: () => void }) {
  const { data: documents } = useInfiniteQuery(documentsQuery);
  const listed = documents?.find((document) => document.doc_id === docId);
  const { data: fetched, error } = useQuery({ ...documentQuery(docId), enabled: documents !== undefined && !listed });
  const title = (listed ?? fetched)?.title ?? (error ? "a deleted document" : "…");
  return (
    <li className={styles.chip}>
      <span>
        Only in <strong>{title}</strong>
      </span>
      <IconButton icon="close" label={`No longer only in “${title}”`} onClick={onRemove} />
    </li>
  );
}
