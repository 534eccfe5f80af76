import type { Batch, Document } from "../../api/types";
import { formatBytes, plural } from "../../ui/format";
import type { Shipment } from "./shipment";

const percent = (share: number): string => `${Math.floor(share * 100)} %`;

/** How far a document is, or what became of it. */
export function describeDocument(document: Document): string {
  const { status, bytes, pages, error } = document;
  switch (status) {
    case "queued":
      return "Waiting to be read";
    case "processing":
      return describeStage(document);
    case "failed":
      return error?.message ?? "This file could not be read.";
    case "cancelled":
      return "Cancelled";
    case "ready":
      return [pages ? plural(pages, "page") : "", formatBytes(bytes), reindexing(document)].filter(Boolean).join(" · ");
  }
}

/** What is being done with a document now. */
export function describeStage({ stage, progress, pages, chunks }: Document): string {
  switch (stage) {
    case "recognising":
      return `Recognising ${pages ? plural(pages, "page") : "its pages"}… ${percent(progress)}`;
    case "indexing":
      return `Indexing… ${percent(progress)}${chunks > 0 ? ` · ${plural(chunks, "passage")}` : ""}`;
    case "reading":
      return `Reading… ${pages ? `${plural(pages, "page")} so far` : percent(progress)}`;
    case null:
      return `Reading… ${percent(progress)}`;
  }
}

const reindexing = ({ reindex }: Document): string =>
  reindex === null ? "" : reindex === "wanted" ? "being indexed anew" : "its index is being rebuilt";

export const settledOf = ({ ready, failed, cancelled }: Batch): number => ready + failed + cancelled;

/** How many files there are to come in all: those that this page still sends count, too. */
export const totalOf = (batch: Batch | null, shipment: Shipment | null): number => {
  const known = batch ? Math.max(batch.documents, batch.entries ?? 0) : 0;
  return shipment?.state === "sending" ? Math.max(known, shipment.total - shipment.refused.length) : known;
};

/** From 0 to 1, of all that is to come; null while nothing can be said. */
export function shareOf(batch: Batch | null, shipment: Shipment | null): number | null {
  const total = totalOf(batch, shipment);
  if (!batch || total === 0) return shipment ? 0 : null;
  return Math.min(1, (batch.progress * batch.documents) / total);
}

/** Where a batch stands, in a few words each. */
export function describeBatch(batch: Batch | null, shipment: Shipment | null): string[] {
  if (!batch) return [shipment?.problem ? "Not sent" : "Beginning…"];
  const total = totalOf(batch, shipment);
  const sending = shipment?.state === "sending";
  return [
    sending ? `${shipment.arrived} of ${shipment.total} sent` : "",
    batch.status === "unpacking" ? "Unpacking" : "",
    `${settledOf(batch)} of ${plural(total, "file")} done`,
    batch.pages > 0 ? plural(batch.pages, "page") : "",
    batch.chunks > 0 ? plural(batch.chunks, "passage") : "",
    shipment && shipment.existed > 0 ? `${shipment.existed} already there` : "",
  ].filter(Boolean);
}
