import { useQuery, useQueryClient } from "@tanstack/react-query";

import { addToCollection, collectionsQuery, takeOut } from "../../api/collections";
import type { Document } from "../../api/types";
import { announce } from "../../ui/announcer";
import { Button } from "../../ui/button";
import { plural } from "../../ui/format";
import { Menu, MenuItem } from "../../ui/menu";
import styles from "./library-page.module.css";

interface Props {
  selected: readonly Document[];
  collectionId: string;
  attempt: (work: () => Promise<unknown>) => void;
  onAsk: (documents: readonly Document[]) => void;
  onDelete: () => void;
  onClear: () => void;
}

/** What can be done with the selected documents. */
export function SelectionBar({ selected, collectionId, attempt, onAsk, onDelete, onClear }: Props) {
  const client = useQueryClient();
  const { data: collections = [] } = useQuery(collectionsQuery);
  const docIds = selected.map(({ doc_id: id }) => id);
  const current = collections.find(({ collection_id: id }) => id === collectionId);
  const add = async (id: string, name: string) => {
    await addToCollection(client, id, docIds);
    announce(`${plural(docIds.length, "document")} put into ${name}.`);
    onClear();
  };
  const out = async (id: string) => {
    await takeOut(client, id, docIds);
    onClear();
  };
  return (
    <div className={styles.selection} role="toolbar" aria-label="Selected documents" data-testid="selection">
      <span role="status">{selected.length} selected</span>
      <Menu label="Put into a collection" face="Put into…" data-testid="put-into">
        {collections.length === 0 && <p className={styles.note}>You have no collections yet.</p>}
        {collections.map(({ collection_id: id, name }) => (
          <MenuItem key={id} icon="folder" onClick={() => attempt(() => add(id, name))}>
            {name}
          </MenuItem>
        ))}
      </Menu>
      {current && (
        <Button onClick={() => attempt(() => out(current.collection_id))}>Take out of “{current.name}”</Button>
      )}
      <Button icon="target" onClick={() => onAsk(selected)} data-testid="ask-selected">
        Ask only these
      </Button>
      <Button icon="trash" onClick={onDelete}>
        Delete
      </Button>
      <Button onClick={onClear}>Clear</Button>
    </div>
  );
}
