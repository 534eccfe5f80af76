import { useInfiniteQuery, useQuery } from "@tanstack/react-query";

import { collectionsQuery } from "../../api/collections";
import { ALL_DOCUMENTS, documentQuery, documentsQuery } from "../../api/documents";
import { MAX_K } from "../../api/search";
import { Field, Select } from "../../ui/field";
import styles from "./search-page.module.css";
import type { Setting } from "./setting";

interface Props {
  name: string;
  setting: Setting;
  onChange: (setting: Setting) => void;
}

/** How many passages, and in which collection or document. */
export function SettingForm({ name, setting, onChange }: Props) {
  const { data: collections = [] } = useQuery(collectionsQuery);
  const { data: listed = [] } = useInfiniteQuery(documentsQuery({ ...ALL_DOCUMENTS, status: "ready" }));
  const { docId, collectionId, k } = setting;
  const missing = docId !== "" && !listed.some(({ doc_id: id }) => id === docId);
  const { data: fetched } = useQuery({ ...documentQuery(docId), enabled: missing });
  const documents = missing ? [{ doc_id: docId, title: fetched?.title ?? "…" }, ...listed] : listed;
  return (
    <fieldset className={styles.setting}>
      <legend>{name}</legend>
      <Field
        label="Passages (k)"
        type="number"
        min={1}
        max={MAX_K}
        value={k}
        onChange={({ currentTarget: { valueAsNumber: value } }) => {
          if (value >= 1 && value <= MAX_K) onChange({ ...setting, k: Math.trunc(value) });
        }}
        data-testid="setting-k"
      />
      <Select
        label="Collection"
        value={collectionId}
        options={[["", "All"], ...collections.map((one) => [one.collection_id, one.name] as const)]}
        onChange={({ currentTarget: { value } }) => onChange({ ...setting, collectionId: value })}
        data-testid="setting-collection"
      />
      <Select
        label="Document"
        value={docId}
        options={[["", "All"], ...documents.map((one) => [one.doc_id, one.title] as const)]}
        onChange={({ currentTarget: { value } }) => onChange({ ...setting, docId: value })}
        data-testid="setting-document"
      />
    </fieldset>
  );
}
