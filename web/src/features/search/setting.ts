import { DEFAULT_K, MAX_K } from "../../api/search";

/** How to search: how many passages, and where; empty fields limit nothing. */
export interface Setting {
  k: number;
  collectionId: string;
  docId: string;
}

/** What the page's address says: `k`, `collection`, `doc`, and for the second one `k2`, `collection2`, `doc2`. */
export function settingIn(query: URLSearchParams, suffix = ""): Setting {
  const k = Math.trunc(Number(query.get(`k${suffix}`)));
  return {
    k: k >= 1 && k <= MAX_K ? k : DEFAULT_K,
    collectionId: query.get(`collection${suffix}`) ?? "",
    docId: query.get(`doc${suffix}`) ?? "",
  };
}

export function toQuery({ k, collectionId, docId }: Setting, suffix = ""): Record<string, string> {
  return {
    [`k${suffix}`]: k === DEFAULT_K ? "" : String(k),
    [`collection${suffix}`]: collectionId,
    [`doc${suffix}`]: docId,
  };
}
