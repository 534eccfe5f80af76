import { queryOptions } from "@tanstack/react-query";

import { requestJson } from "./http";
import type { SearchAnswer } from "./types";

/** As the server has it. */
export const MAX_SEARCH_CHARS = 500;
export const MAX_K = 50;
export const DEFAULT_K = 10;

/** What is looked for, how many passages, and where; an empty field limits nothing. */
export interface Search {
  q: string;
  k: number;
  docId: string;
  collectionId: string;
}

export const searchQuery = ({ q, k, docId, collectionId }: Search) =>
  queryOptions({
    queryKey: ["search", q, k, docId, collectionId],
    queryFn: ({ signal }) => {
      const query = new URLSearchParams({
        q,
        k: String(k),
        ...(docId && { doc_id: docId }),
        ...(collectionId && { collection_id: collectionId }),
      });
      return requestJson<SearchAnswer>(`/search?${query.toString()}`, { signal });
    },
    enabled: q !== "",
    staleTime: 30_000,
  });
