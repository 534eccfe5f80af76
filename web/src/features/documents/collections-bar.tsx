import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { collectionsQuery, createCollection, deleteCollection, renameCollection } from "../../api/collections";
import { messageOf } from "../../api/message";
import type { Collection } from "../../api/types";
import { useAttempt } from "../../api/use-attempt";
import { announce } from "../../ui/announcer";
import { ConfirmDialog } from "../../ui/confirm-dialog";
import { formatCount } from "../../ui/format";
import { Icon } from "../../ui/icon";
import { Menu, MenuItem } from "../../ui/menu";
import styles from "./collections-bar.module.css";
import { NameDialog } from "./name-dialog";

interface Props {
  /** Empty for all documents. */
  current: string;
  onGo: (collectionId: string) => void;
  onAsk: (collection: Collection) => void;
  onSearch: (collection: Collection) => void;
}

type Doing = { what: "create" } | { what: "rename" | "delete"; collection: Collection };

/** The user's collections beside each other: choose one, make one, and what can be done with the chosen one. */
export function CollectionsBar({ current, onGo, onAsk, onSearch }: Props) {
  const client = useQueryClient();
  const { data: collections = [], error } = useQuery(collectionsQuery);
  const [doing, setDoing] = useState<Doing | null>(null);
  const { attempt, problem } = useAttempt();
  const chosen = collections.find(({ collection_id: id }) => id === current) ?? null;
  const close = () => setDoing(null);
  const create = async (name: string) => onGo((await createCollection(client, name)).collection_id);
  const remove = async ({ collection_id: id, name }: Collection) => {
    await deleteCollection(client, id);
    onGo("");
    announce(`The collection ${name} is deleted; its documents are still there.`);
  };
  return (
    <nav className={styles.bar} aria-label="Collections">
      <ul className={styles.list}>
        <Tab name="All documents" current={current === ""} onGo={() => onGo("")} />
        {collections.map((collection) => (
          <Tab
            key={collection.collection_id}
            name={collection.name}
            count={collection.documents}
            current={collection === chosen}
            onGo={() => onGo(collection.collection_id)}
          />
        ))}
        <li>
          <button
            type="button"
            className={styles.new}
            onClick={() => setDoing({ what: "create" })}
            data-testid="new-collection"
          >
            <Icon name="plus" size={14} /> New collection
          </button>
        </li>
      </ul>
      {chosen && (
        <Menu label={`What to do with ${chosen.name}`} data-testid="collection-menu">
          <MenuItem icon="target" onClick={() => onAsk(chosen)} data-testid="ask-collection">
            Ask only in it
          </MenuItem>
          <MenuItem icon="search" onClick={() => onSearch(chosen)}>
            Search in it
          </MenuItem>
          <MenuItem icon="pencil" onClick={() => setDoing({ what: "rename", collection: chosen })}>
            Rename
          </MenuItem>
          <MenuItem icon="trash" onClick={() => setDoing({ what: "delete", collection: chosen })}>
            Delete
          </MenuItem>
        </Menu>
      )}
      <p role="alert" className={styles.problem}>
        {problem ?? (error ? messageOf(error) : null)}
      </p>
      {doing?.what === "create" && (
        <NameDialog title="New collection" name="" confirmLabel="Create" onSave={create} onClose={close} />
      )}
      {doing?.what === "rename" && (
        <NameDialog
          title="Rename the collection"
          name={doing.collection.name}
          confirmLabel="Save"
          onSave={(name) => renameCollection(client, doing.collection.collection_id, name)}
          onClose={close}
        />
      )}
      {doing?.what === "delete" && (
        <ConfirmDialog
          title="Delete this collection?"
          confirmLabel="Delete"
          onConfirm={() => attempt(() => remove(doing.collection))}
          onClose={close}
        >
          “{doing.collection.name}” will be gone. Its documents stay in your library.
        </ConfirmDialog>
      )}
    </nav>
  );
}

function Tab(props: { name: string; count?: number; current: boolean; onGo: () => void }) {
  const { name, count, current, onGo } = props;
  return (
    <li>
      <button
        type="button"
        className={styles.tab}
        aria-current={current ? "true" : undefined}
        onClick={onGo}
        data-testid="collection"
      >
        <span>{name}</span>
        {count !== undefined && <small>{formatCount(count)}</small>}
      </button>
    </li>
  );
}
