import { expect, it } from "vitest";

import type { Batch, Document } from "../../api/types";
import { describeBatch, describeDocument, shareOf } from "./describe";
import { outcome } from "./outcome";
import type { Shipment } from "./shipment";

const document = (change: Partial<Document>): Document => ({
  ...{
    doc_id: "d",
    filename: "a.pdf",
    title: "A",
    media_type: "application/pdf",
    bytes: 2_000,
    pages: null,
    chunks: 0,
  },
  ...{ status: "processing", stage: null, progress: 0.42, error: null, reindex: null, batch_id: null, created_at: "" },
  ...change,
});
const batch = (change: Partial<Batch>): Batch => ({
  ...{ batch_id: "b", name: "papers", status: "working", entries: null, documents: 4, queued: 1, processing: 1 },
  ...{ ready: 1, failed: 1, cancelled: 0, pages: 7, chunks: 1, progress: 0.5, refused: [], created_at: "" },
  ...change,
});
const shipment: Shipment = {
  ...{ key: 1, name: "papers", collectionId: null, batchId: "b", state: "sending", total: 8, arrived: 4, existed: 0 },
  ...{ refused: [], unsent: [], problem: null },
};

it("says of every state of a document where it stands", () => {
  const failed = { code: "encrypted", message: "The file is encrypted." };
  const said = [
    document({ status: "queued" }),
    document({ stage: "reading" }),
    document({ stage: "reading", pages: 3 }),
    document({ stage: "recognising", pages: 12 }),
    document({ stage: "indexing", chunks: 1 }),
    document({ status: "failed", error: failed }),
    document({ status: "cancelled" }),
    document({ status: "ready", pages: 12, reindex: "damaged" }),
  ].map(describeDocument);
  expect(said).toEqual([
    "Waiting to be read",
    "Reading… 42 %",
    "Reading… 3 pages so far",
    "Recognising 12 pages… 42 %",
    "Indexing… 42 % · 1 passage",
    "The file is encrypted.",
    "Cancelled",
    "12 pages · 2.0 KB · its index is being rebuilt",
  ]);
});

it("counts in a batch what is still to be sent", () => {
  expect(describeBatch(batch({}), shipment)).toEqual(["4 of 8 sent", "2 of 8 files done", "7 pages", "1 passage"]);
  expect(shareOf(batch({}), shipment)).toBe(0.25);
  expect(shareOf(batch({}), null)).toBe(0.5);
  expect(shareOf(null, shipment)).toBe(0);
  expect(describeBatch(batch({ status: "unpacking", entries: 300 }), null)[1]).toBe("2 of 300 files done");
});

it("says what became of a batch", () => {
  expect(outcome(batch({ ready: 12, failed: 1, cancelled: 2 }), 2)).toBe(
    "12 documents ready, 3 not readable, 2 cancelled",
  );
});
