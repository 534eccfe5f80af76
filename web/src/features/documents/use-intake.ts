import { useQuery, useQueryClient, type QueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { LorestreamError } from "@lorestream/client";

import { batchesQuery } from "../../api/batches";
import { forgetDocument, getDocument, rememberDocuments, rememberNew, refreshLists } from "../../api/documents";
import { server } from "../../api/http";
import type { Document } from "../../api/types";
import { announce } from "../../ui/announcer";
import { outcome } from "./outcome";
import { UploadQueue } from "./upload-queue";
import { Watch } from "./watch";

/** Lists are read again no more often than this while a batch is at work. */
const REFRESH_MS = 3_000;
const POLL_MS = 2_000;
/** However many files wait, only these are asked about; the others follow as these become ready. */
const POLLED_AT_ONCE = 4;

/** What is on its way to the server, and what the server makes of it. */
export interface Intake {
  uploads: UploadQueue;
  watch: Watch;
}

/** The intake of this login, on whichever page; what is under way ends with it. */
export function useIntake(): Intake {
  const client = useQueryClient();
  const [intake] = useState(() => connect(client));
  const { uploads, watch } = intake;
  const { data: batches } = useQuery({ ...batchesQuery, retry: false });
  useEffect(() => watch.start(), [watch]);
  useEffect(() => watch.seeBatches(batches ?? []), [watch, batches]);
  useEffect(() => {
    const warn = (event: BeforeUnloadEvent) => {
      const { uploads: single, shipments } = uploads.getState();
      const underWay =
        single.some(({ state }) => state !== "rejected") || shipments.some(({ state }) => state === "sending");
      if (underWay) event.preventDefault();
    };
    addEventListener("beforeunload", warn);
    return () => {
      removeEventListener("beforeunload", warn);
      uploads.clear();
    };
  }, [uploads]);
  return intake;
}

function connect(client: QueryClient): Intake {
  let refreshed = 0;
  const refresh = () => {
    if (Date.now() - refreshed < REFRESH_MS) return;
    refreshed = Date.now();
    refreshLists(client);
  };
  const watch = new Watch(
    server,
    {
      onDocuments: (documents) => {
        rememberDocuments(client, documents);
        for (const document of documents) if (document.batch_id === null) announceEnd(document);
        if (documents.some(({ batch_id: id }) => id !== null)) refresh();
      },
      onSettled: (batch) => {
        announce(`${batch.name}: ${outcome(batch, batch.refused.length)}.`);
        refreshLists(client);
        void client.invalidateQueries({ queryKey: ["collections"] });
      },
    },
    (batchId) => uploads.isSending(batchId),
  );
  const uploads: UploadQueue = new UploadQueue({
    onSent: ({ document, existed }) => {
      rememberNew(client, document);
      announce(existed ? `${document.filename} is already in your library.` : `${document.filename} uploaded.`);
    },
    onBatch: watch.follow,
    onShipped: refresh,
  });
  return { uploads, watch };
}

function announceEnd(document: Document): void {
  if (document.status === "ready") announce(`${document.title} is ready.`);
  if (document.status === "failed") announce(`${document.title} could not be read.`);
}

/** Keep a list true: the first of its unsettled documents is followed, a few others are asked about now and then. */
export function useProgress(watch: Watch, documents: readonly Document[]): void {
  const client = useQueryClient();
  const atWork = new Set(watch.getState().batches.map(({ batch }) => batch.batch_id));
  const busy = documents.filter(
    ({ status, batch_id: id }) => (status === "queued" || status === "processing") && !atWork.has(id ?? ""),
  );
  const front = [
    ...busy.filter(({ status }) => status === "processing"),
    ...busy.filter(({ status }) => status === "queued").toReversed(),
  ]
    .slice(0, POLLED_AT_ONCE)
    .map(({ doc_id: id }) => id);
  const key = front.join(" ");
  useEffect(() => watch.seeDocuments(key === "" ? [] : key.split(" ")), [watch, key]);
  const [, ...others] = front;
  useQuery({
    queryKey: ["progress", others],
    enabled: others.length > 0,
    refetchInterval: POLL_MS,
    gcTime: 0,
    queryFn: async ({ signal }) => {
      const now = await Promise.all(
        others.map((docId) =>
          getDocument(docId, signal).catch((error: unknown) => {
            if (error instanceof LorestreamError && error.status === 404) forgetDocument(client, docId);
            return null;
          }),
        ),
      );
      const known = now.filter((document) => document !== null);
      rememberDocuments(client, known);
      known.forEach(announceEnd);
      return known;
    },
  });
}
