import { useInfiniteQuery, useQuery } from "@tanstack/react-query";

import { collectionsQuery } from "../../api/collections";
import { documentQuery, documentsQuery } from "../../api/documents";
import { IconButton } from "../../ui/button";
import { Menu, MenuItem } from "../../ui/menu";
import styles from "./scope-chips.module.css";
import type { Scope } from "./use-scope";

/** The documents or the collection that questions are asked of, each with a way to leave it out again. */
export function ScopeChips({ scope }: { scope: Scope }) {
  const { docIds, collectionId } = scope;
  const { data: collections } = useQuery(collectionsQuery);
  if (docIds.length === 0 && collectionId === null && !collections?.length) return null;
  const chosen = collections?.find(({ collection_id: id }) => id === collectionId);
  return (
    <ul className={styles.chips} aria-label="What is asked" data-testid="scope">
      {collectionId !== null && (
        <Chip
          label={chosen?.name ?? (collections ? "a deleted collection" : "…")}
          onRemove={() => scope.setCollection(null)}
        />
      )}
      {docIds.map((docId) => (
        <DocumentChip key={docId} docId={docId} onRemove={() => scope.removeDocument(docId)} />
      ))}
      {docIds.length === 0 && collectionId === null && (
        <li className={styles.menu}>
          <Menu label="Ask only in a collection" face="All documents" data-testid="scope-menu">
            {collections?.map(({ collection_id: id, name }) => (
              <MenuItem key={id} icon="folder" onClick={() => scope.setCollection(id)}>
                {name}
              </MenuItem>
            ))}
          </Menu>
        </li>
      )}
    </ul>
  );
}

function DocumentChip({ docId, onRemove }: { docId: string; onRemove: () => void }) {
  const { data: documents } = useInfiniteQuery(documentsQuery());
  const listed = documents?.find((document) => document.doc_id === docId);
  const { data: fetched, error } = useQuery({ ...documentQuery(docId), enabled: documents !== undefined && !listed });
  return <Chip label={(listed ?? fetched)?.title ?? (error ? "a deleted document" : "…")} onRemove={onRemove} />;
}

const Chip = ({ label, onRemove }: { label: string; onRemove: () => void }) => (
  <li className={styles.chip} data-testid="scope-chip">
    <span>
      Only in <strong>{label}</strong>
    </span>
    <IconButton icon="close" label={`No longer only in “${label}”`} onClick={onRemove} />
  </li>
);
