import { queryOptions } from "@tanstack/react-query";

import { requestJson, sendJson } from "./http";
import type { Batch, BatchList } from "./types";

export const batchPath = (batchId: string): string => `/batches/${encodeURIComponent(batchId)}`;

/** The newest batches; one that is still at work after so many others is not looked for. */
export const batchesQuery = queryOptions({
  queryKey: ["batches"],
  queryFn: ({ signal }) => requestJson<BatchList>("/batches/?limit=20", { signal }),
  select: (page) => page.items,
});

export const createBatch = (name: string, collectionId: string | null): Promise<Batch> =>
  sendJson<Batch>("/batches/", "POST", { name, ...(collectionId && { collection_id: collectionId }) });

export const cancelBatch = (batchId: string): Promise<Batch> =>
  requestJson<Batch>(`${batchPath(batchId)}/cancel`, { method: "POST" });

export const isAtWork = ({ status }: Pick<Batch, "status">): boolean => status === "unpacking" || status === "working";
