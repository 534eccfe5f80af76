import { useQuery, useQueryClient } from "@tanstack/react-query";

import { getDocument, rememberDocument } from "../../api/documents";
import type { Document } from "../../api/types";
import { announce } from "../../ui/announcer";

const POLL_MS = 1_000;
/** However many files wait, only these are asked about; the others follow as these become ready. */
const POLLED_AT_ONCE = 4;

export const isBusy = (document: Document): boolean => document.status === "queued" || document.status === "processing";

/** Keep the list true while documents are being read. */
export function useProgress(documents: readonly Document[]): void {
  const client = useQueryClient();
  const busy = documents.filter(isBusy);
  const front = [
    ...busy.filter((item) => item.status === "processing"),
    ...busy.filter((item) => item.status === "queued"),
  ]
    .slice(0, POLLED_AT_ONCE)
    .map((item) => item.doc_id);
  useQuery({
    queryKey: ["progress", front],
    enabled: front.length > 0,
    refetchInterval: POLL_MS,
    gcTime: 0,
    queryFn: async ({ signal }) => {
      const now = await Promise.all(front.map((docId) => getDocument(docId, signal).catch(() => null)));
      for (const document of now) {
        if (!document) continue;
        rememberDocument(client, document);
        if (document.status === "ready") announce(`${document.title} is ready.`);
        if (document.status === "failed") announce(`${document.title} could not be read.`);
      }
      return now;
    },
  });
}
